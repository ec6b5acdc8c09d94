"""DINOv2's weights, through KerasHub: an optional package, imported only where they are asked for.

KerasHub has no published hashes of its presets: what was loaded is told by the hash of its tensors.
"""

import pathlib

import keras

from ladagan_tf import extras
from ladagan_tf.errors import InputError, reason
from ladagan_tf.models.features.dinov2 import SIDE
from ladagan_tf.weights.reading import content_sha256

BASE, LARGE = "dinov2_base", "dinov2_large"  # ViT-B/14 and ViT-L/14, without registers


def load(preset, flag):
    """The network of a KerasHub preset, for images of 224 px.

    Args:
        preset: name of a preset, e.g. "dinov2_base"; a folder that holds one; a folder with
            config.json and model.safetensors of Hugging Face; or hf://USER/REPO.
        flag: what asked for it, e.g. "teacher=dinov2", for messages.

    Returns:
        (keras_hub.models.DINOV2Backbone, str): the network, in float32, and the SHA-256 (hex) of
        its tensors.

    Raises:
        InputError: if KerasHub cannot be imported, there is no such preset, it is another network,
            or it cannot be downloaded.
    """
    with extras.needed(flag, "teacher"):
        import keras_hub
    if "/" in preset and "://" not in preset and not pathlib.Path(preset).is_dir():
        raise InputError(f"{flag}:{preset}: no such folder")
    options = {"image_shape": (SIDE, SIDE, 3), "dtype": "float32"}  # else Keras's own policy
    try:
        backbone = keras_hub.models.DINOV2Backbone.from_preset(preset, **options)
    except Exception as error:  # each place that presets come from has its own family
        raise InputError(
            f"{flag}: DINOv2 cannot be loaded from {preset} ({reason(error)}); give "
            f"{flag}:FOLDER, a KerasHub preset of DINOv2 on this machine"
        ) from error
    return backbone, content_sha256(tensors(backbone))


def tensors(backbone):
    """Dict, path -> array: all weights but the positions that are made from the learned ones."""
    prefix = f"{backbone.name}_"  # of a preset that was saved with a name
    return {
        weight.path.removeprefix(prefix): keras.ops.convert_to_numpy(weight)
        for weight in backbone.weights
        if weight.name != "interpolated_position_embeddings"
    }
