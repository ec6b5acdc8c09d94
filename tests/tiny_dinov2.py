"""A DINOv2 of narrow blocks, one by default, with random weights, as a KerasHub preset on disk."""

import keras
import numpy as np
import pytest

FEATURES = 12


def save_preset(folder, registers=0, seed=0, blocks=1, offsets=0.0):
    """Writes the preset; the test is skipped where KerasHub is not installed.

    Args:
        registers, blocks: int, how many.
        offsets: float, how far positions lie from zero, as trained ones do in some features.
    """
    keras_hub = pytest.importorskip("keras_hub")
    keras.utils.set_random_seed(seed)
    sizes = {"num_layers": blocks, "hidden_dim": FEATURES, "num_heads": 2, "intermediate_dim": 24}
    backbone = keras_hub.models.DINOV2Backbone(
        patch_size=14, image_shape=(518, 518, 3), num_register_tokens=registers, **sizes
    )
    shift = np.linspace(-offsets, offsets, FEATURES, dtype="float32")
    for positions in (
        backbone.embeddings.position_embeddings,
        backbone.embeddings.interpolated_position_embeddings,
    ):
        positions.assign(positions + shift)
    backbone.save_to_preset(str(folder))
    return str(folder)
