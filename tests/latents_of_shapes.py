"""Sets of few shapes and of their latents, with the tiny autoencoder between them."""

import keras

from ladagan_tf.data import dataset_info, latents
from ladagan_tf.data.preparation import prepare
from ladagan_tf.models.pixels import scale_images
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.weights import vae_weights


def fill(folder, count=40):
    """Writes `count` shapes of 16 px, vae.keras, and latents of 8 x 8; returns the folder."""
    prepare("shapes", folder / "shapes", resolution=16, num_images=count, workers=1)
    keras.utils.set_random_seed(0)
    tiny_autoencoder().save(folder / "vae.keras")
    vae, sha256 = vae_weights.load(folder / "vae.keras")
    description = dataset_info.Latents(
        size=8,
        channels=4,
        dtype="float16",
        vae=str(folder / "vae.keras"),
        vae_sha256=sha256,
        encoder_sha256=vae_weights.encoder_sha256(vae),
        scaling_factor=vae.scaling_factor,
        images=True,
    )
    encoding = latents.Encoding(lambda images: vae.encode(scale_images(images)), description)
    latents.prepare_set(folder / "shapes", folder / "latents", encoding)
    return folder


def tiny_autoencoder():
    """An `AutoencoderKL` of new weights that halves a side."""
    return AutoencoderKL(widths=(8, 8), resnets=1, groups=4)
