"""Flags of measuring that `evaluate.py` and `train.py` share."""

from absl import flags


def define():
    """Defines them."""
    flags.DEFINE_string(
        "features",
        "auto",
        "Feature network: inception, classifier:FILE.keras, classifier (that of the prepared set, "
        "trained once), dinov2 (ViT-L/14; needs keras-hub) or dinov2:PRESET, a name or folder of "
        "KerasHub, none; auto (default): classifier for --dataset=shapes, else inception.",
    )
    flags.DEFINE_string(
        "inception_weights",
        None,
        "File of Inception-2015 weights: the public .pth, the frozen .pb, .safetensors or .npz; by "
        "default the cached one, else it is downloaded.",
    )
    flags.DEFINE_string(
        "cache_dir",
        None,
        "Folder of downloaded weights and of reference statistics; ~/.cache/ladagan_tf by default.",
    )
