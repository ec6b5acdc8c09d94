"""Flags of `python -m ladagan_tf.export`."""

from absl import flags

from ladagan_tf.flags import common

FORMATS = ("saved_model", "onnx", "litert", "keras", "float16")
ZOO = "zoo"


def define():
    """Defines them."""
    flags.DEFINE_string("run_dir", None, "Run to export. Give this or --model.")
    common.define_model("Generator to export; a SavedModel is one already. Give this or --run_dir.")
    flags.DEFINE_string(
        "checkpoint",
        "best",
        "Checkpoint of --run_dir: best (the latest if none was scored), latest, or its "
        "thousands of images (kimg).",
    )
    flags.DEFINE_boolean("ema", True, "Export the averaged weights of --run_dir, or those trained.")
    common.define_average()
    common.define_vae()
    flags.adopt_module_key_flags(common)
    flags.DEFINE_list(
        "format",
        "saved_model",
        f"Formats among {', '.join(FORMATS)}; float16 is a .keras file of half the size. Or {ZOO}: "
        "float16 with all that is known of a run, as ladagan_tf/zoo/ holds it.",
    )
    flags.DEFINE_string(
        "data_licence",
        None,
        "Licence of the training images in words, for the card; required by --format=zoo.",
    )
    flags.DEFINE_string(
        "out", None, "Folder to make; it must not exist yet. Required.", required=True
    )
    flags.DEFINE_string(
        "push",
        None,
        "Also upload the folder: hf:USER/REPO on the Hugging Face hub. Off by default.",
    )
