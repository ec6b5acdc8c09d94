"""What the model tests share: TensorFlow where a test is about it, random weights, tiny GATs."""

import math

import keras
import numpy as np
import pytest
from gat_networks import K, S, Z, tiny_discriminator, tiny_generator

from ladagan_tf.models.blank import blank_of


@pytest.fixture(autouse=True)
def seeded():
    """Weights start alike in every run."""
    keras.utils.set_random_seed(0)


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


@pytest.fixture
def z(rng):
    """Noise for three samples of GAT."""
    return rng.standard_normal((3, Z)).astype("float32")


@pytest.fixture
def levels(rng):
    """What GAT's discriminator takes: two levels of three samples, one after the other."""
    return rng.standard_normal((3, S, S, K * 3)).astype("float32")


@pytest.fixture
def generator(randomised):
    """GAT's tiny generator with random weights."""
    with blank_of(math.inf):
        return randomised(tiny_generator())


@pytest.fixture
def discriminator(randomised):
    """GAT's tiny discriminator with random weights."""
    with blank_of(math.inf):
        return randomised(tiny_discriminator())
