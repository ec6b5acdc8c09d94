"""What the model tests share: TensorFlow where a test is about it, and random weights."""

import keras
import numpy as np
import pytest


@pytest.fixture
def tf():
    """The TensorFlow module; tests that need it are skipped under another Keras backend."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("about tf.function, XLA or GradientTape: needs the TensorFlow backend")
    return pytest.importorskip("tensorflow")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def randomised(rng):
    """`randomised(layer)`: the layer, every weight a small normal number, variances positive."""

    def fill(layer):
        for weight in layer.weights:
            value = 0.5 * rng.standard_normal(weight.shape)
            weight.assign(np.abs(value) + 0.5 if "variance" in weight.name else value)
        return layer

    return fill


@pytest.fixture
def built(randomised):
    """`built(layer, *shapes)`: built for the shapes and filled with random weights."""

    def make(layer, *shapes):
        layer.build(*shapes)
        return randomised(layer)

    return make
