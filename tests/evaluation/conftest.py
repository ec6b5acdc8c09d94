"""A set whose classes a classifier learns at once, and feature networks without any weights."""

import keras
import numpy as np
import pytest
from small_generators import noise  # noqa: F401

from ladagan_tf.data.preparation import prepare
from ladagan_tf.evaluation.classifier import train_classifier
from ladagan_tf.evaluation.features import Extractor


@pytest.fixture(scope="session")
def two_tone(tmp_path_factory):
    """Prepared set of 121 noisy images of 16 px, dark ones and bright ones."""
    folder = tmp_path_factory.mktemp("two_tone")
    rng = np.random.default_rng(0)
    labels = np.arange(121) % 2
    images = rng.integers(0, 100, (121, 16, 16, 3)) + 130 * labels[:, None, None, None]
    np.savez(folder / "images.npz", images=images.astype(np.uint8), labels=labels)
    return prepare(str(folder / "images.npz"), folder / "set", resolution=16).folder


@pytest.fixture(scope="session")
def classifier_file(two_tone, tmp_path_factory):
    path = tmp_path_factory.mktemp("classifier") / "two_tone.keras"
    train_classifier(two_tone, path, kimg=1.28)
    return path


@pytest.fixture
def means():
    """Extractor: the mean of each channel, and as two logits how dark and how bright they are.

    `means.calls` counts the batches it is traced or called for.
    """

    class Features:
        calls = 0

        def __call__(self, images):
            self.calls += 1
            x = keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2))
            bright = keras.ops.mean(x, axis=1, keepdims=True) - 114.0
            return {"features": x, "logits": keras.ops.concatenate([-bright, bright], axis=1)}

    about = {"network": "channel means", "sha256": "0" * 64, "resize": "none"}
    return Extractor("classifier", Features(), 3, None, about, ("dark", "bright"))
