"""Flags of the commands that train a small network of one prepared set."""

from absl import flags


def define(what):
    """Defines them; `what` says of which images they are, for the help."""
    flags.DEFINE_string(
        "dataset",
        None,
        f"{what} to learn: a folder made by ladagan_tf.prepare, tfds:NAME[@SPLIT], or shapes. "
        "Required.",
        required=True,
    )
    flags.DEFINE_integer(
        "resolution", None, "Side in pixels; the prepared folder's by default, else required."
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )
