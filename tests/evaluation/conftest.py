"""A set whose classes a classifier learns at once, and feature networks without any weights."""

import numpy as np
import pytest
from feature_networks import make_means
from small_generators import noise  # noqa: F401

from ladagan_tf.data.preparation import prepare
from ladagan_tf.evaluation.classifier import train_classifier


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
    """See `make_means`."""
    return make_means()
