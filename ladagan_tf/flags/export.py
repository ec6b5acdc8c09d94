"""Flags of `python -m ladagan_tf.export`."""

from absl import flags

from ladagan_tf.flags import common

ZOO = "zoo"


def define():
    """Defines them."""
    common.define_generator("export")
    common.define_sampler()
    flags.adopt_module_key_flags(common)
    flags.DEFINE_list(
        "format",
        "saved_model",
        "Formats among saved_model, onnx, litert, keras, float16, web; float16 is a .keras file of "
        "half the size, web a page that makes images in a browser. Or zoo: float16 with all that "
        "is known of a run, as ladagan_tf/zoo/ holds it.",
    )
    flags.DEFINE_enum(
        "weights",
        "float32",
        ["float32", "float16", "int8"],
        "How onnx, web and litert store weights; computation is in float32. int8 has a scale for "
        "each output channel.",
    )
    flags.DEFINE_float(
        "min_psnr",
        30.0,
        "Refuse --weights=float16 and int8 if pictures have a lower peak signal-to-noise ratio "
        "against the live model's, in dB.",
        lower_bound=0.0,
    )
    flags.DEFINE_string(
        "ort_web",
        None,
        "For --format=web: onnxruntime-web as `npm pack` writes it, or its folder. By default it "
        "is downloaded from npm once.",
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
