"""Flags of `python -m ladagan_tf.train_vae`."""

from absl import flags

from ladagan_tf.flags import common


def define():
    """Defines them."""
    common.define_learned_set("Images")
    flags.DEFINE_string(
        "out",
        None,
        "File to write, ending in .keras; <prepared folder>.vae.keras by default. A sheet of "
        "reconstructions is written beside it, ending in .png.",
    )
    flags.DEFINE_float(
        "kimg", 16.0, "Thousands of images to train on.", upper_bound=common.MOST_KIMG
    )
    flags.DEFINE_list(
        "widths",
        ["16", "32", "64"],
        "Channels per level, finest first, multiples of 4; every level but the first halves the "
        "side: with three, 64 px become 16 x 16 latents of 4 channels.",
    )
    flags.DEFINE_float("kl_weight", 1e-3, "Weight of the KL divergence per latent value.")
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16"],
        "What to train in. The saved network is float32.",
    )
    common.define_seed("Of weights, data order and noise.")
    flags.adopt_module_key_flags(common)
