"""Flags of `python -m ladagan_tf.evaluation.classifier`."""

from absl import flags


def define():
    """Defines them."""
    flags.DEFINE_string(
        "dataset",
        None,
        "Labelled images to learn: a folder made by ladagan_tf.prepare, tfds:NAME[@SPLIT], or "
        "shapes. Required.",
        required=True,
    )
    flags.DEFINE_integer(
        "resolution", None, "Side in pixels; the prepared folder's by default, else required."
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )
    flags.DEFINE_string(
        "out",
        None,
        "File to write, ending in .keras; <prepared folder>.classifier.keras by default.",
    )
    flags.DEFINE_float("kimg", 80.0, "Thousands of images to train on; 80 by default.")
    flags.DEFINE_integer("seed", 0, "Of weights and data order; 0 by default.")
