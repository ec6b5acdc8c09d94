"""Flags of `python -m ladagan_tf.train_classifier`."""

from absl import flags

from ladagan_tf.flags import common


def define():
    """Defines them."""
    common.define_learned_set("Labelled images")
    flags.DEFINE_string(
        "out",
        None,
        "File to write, ending in .keras; <prepared folder>.classifier.keras by default.",
    )
    flags.DEFINE_float(
        "kimg", 80.0, "Thousands of images to train on.", upper_bound=common.MOST_KIMG
    )
    common.define_seed("Of weights and data order.")
    flags.adopt_module_key_flags(common)
