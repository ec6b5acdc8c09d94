"""Trains a compact autoencoder on a prepared set: GAT's latent space without any download.

    python -m ladagan_tf.train_vae --dataset=data/emoji-64

Writes <prepared folder>.vae.keras and, beside it, a sheet of held-out images above their
reconstructions.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import train_vae as train_vae_flags

if __name__ == "__main__":
    command.parse(train_vae_flags)  # before TensorFlow is imported

from ladagan_tf.flags import common
from ladagan_tf.locks import locked
from ladagan_tf.systems import listed
from ladagan_tf.training.vae import train_vae
from ladagan_tf.weights.vae_weights import default_path

FLAGS = flags.FLAGS


def main():
    """Trains, saves and tells how good reconstructions are."""
    widths = listed("widths", int, "whole numbers, as 16,32,64", some=True)
    folder = common.open_dataset()
    out = FLAGS.out or default_path(folder)
    with locked(out):
        network = train_vae(
            folder, out, FLAGS.kimg, FLAGS.seed, widths, FLAGS.kl_weight, FLAGS.precision
        )
    about = network.about
    side = about["resolution"] // network.factor
    print(
        f"{out}: {side} x {side} x {network.latent_channels} latents, "
        f"{about['held_out_psnr_db']:.1f} dB on {about['held_out_images']} held-out images (worst "
        f"tenth {about['held_out_psnr_db_worst_tenth']:.1f}), latent std {about['latent_std']:.3f}"
    )


if __name__ == "__main__":
    command.run(main)
