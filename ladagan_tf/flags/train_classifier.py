"""Flags of `python -m ladagan_tf.evaluation.classifier`."""

from absl import flags

from ladagan_tf.flags import learned_set


def define():
    """Defines them."""
    learned_set.define("Labelled images")
    flags.adopt_module_key_flags(learned_set)
    flags.DEFINE_string(
        "out",
        None,
        "File to write, ending in .keras; <prepared folder>.classifier.keras by default.",
    )
    flags.DEFINE_float("kimg", 80.0, "Thousands of images to train on; 80 by default.")
    flags.DEFINE_integer("seed", 0, "Of weights and data order; 0 by default.")
