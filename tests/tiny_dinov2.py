"""A DINOv2 of one narrow block with random weights, as a KerasHub preset on disk."""

import keras
import pytest

FEATURES = 12


def save_preset(folder, registers=0, seed=0):
    """Writes the preset; the test is skipped where KerasHub is not installed."""
    keras_hub = pytest.importorskip("keras_hub")
    keras.utils.set_random_seed(seed)
    sizes = {"num_layers": 1, "hidden_dim": FEATURES, "num_heads": 2, "intermediate_dim": 24}
    backbone = keras_hub.models.DINOV2Backbone(
        patch_size=14, image_shape=(518, 518, 3), num_register_tokens=registers, **sizes
    )
    backbone.save_to_preset(str(folder))
    return str(folder)
