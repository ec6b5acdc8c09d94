"""Flags of `python -m ladagan_tf.export`."""

from absl import flags

from ladagan_tf.flags import common

FORMATS = ("saved_model", "onnx", "litert", "keras")


def define():
    """Defines them."""
    flags.DEFINE_string("run_dir", None, "Run to export. Give this or --model.")
    flags.DEFINE_string(
        "model", None, "Generator to export, a .keras file. Give this or --run_dir."
    )
    flags.DEFINE_string(
        "checkpoint",
        "best",
        "Checkpoint of --run_dir: best (the latest if none was scored), latest, or its "
        "thousands of images (kimg).",
    )
    flags.DEFINE_boolean("ema", True, "Export the averaged weights of --run_dir, or those trained.")
    common.define_vae()
    flags.adopt_module_key_flags(common)
    flags.DEFINE_list("format", "saved_model", f"Formats among {', '.join(FORMATS)}.")
    flags.DEFINE_string(
        "out", None, "Folder to make; it must not exist yet. Required.", required=True
    )
    flags.DEFINE_string(
        "push",
        None,
        "Also upload the folder: hf:USER/REPO on the Hugging Face hub. Off by default.",
    )
