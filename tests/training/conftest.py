"""Networks small enough for finite differences, on the same interface as LadaGAN's."""

import keras
import numpy as np
import pytest

SIZE, Z, LOGITS = 8, 4, 25


@pytest.fixture
def tf():
    """The TensorFlow module; tests that need it are skipped under another Keras backend."""
    if keras.backend.backend() != "tensorflow":
        pytest.skip("about tf.function, XLA or tf.distribute: needs the TensorFlow backend")
    return pytest.importorskip("tensorflow")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def tiny_generator():
    """`tiny_generator()`: latents (B, 4) to images (B, 8, 8, 3), one dense layer."""

    def make(seed=1):
        return keras.Sequential(
            [
                keras.Input((Z,)),
                keras.layers.Dense(
                    SIZE * SIZE * 3,
                    "tanh",
                    kernel_initializer=keras.initializers.Orthogonal(seed=seed),
                ),
                keras.layers.Reshape((SIZE, SIZE, 3)),
            ]
        )

    return make


@pytest.fixture
def tiny_discriminator():
    """`tiny_discriminator()`: images (B, 8, 8, 3) to 25 logits, two dense layers, no batch norm."""

    def make(seed=2, hidden=6):
        def dense(units, activation=None):
            init = keras.initializers.RandomNormal(0.0, 0.3, seed=seed)
            return keras.layers.Dense(units, activation, kernel_initializer=init)

        layers = [keras.layers.Flatten(), dense(hidden, "tanh"), dense(LOGITS)]
        return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *layers])

    return make


@pytest.fixture
def batch(rng):
    """Four real images in [-1, 1]."""
    images = rng.uniform(-1, 1, (4, SIZE, SIZE, 3)).astype("float32")
    return {"real": keras.ops.convert_to_tensor(images)}


@pytest.fixture
def plain_draws(rng):
    """Draws of one phase without augmentation."""
    z = rng.standard_normal((4, Z)).astype("float32")
    return {"z": keras.ops.convert_to_tensor(z), "fake": {}, "real": {}}


@pytest.fixture
def draw(rng):
    """`draw(specification, count)`: values as an objective's draws describe them."""

    def one(spec, count):
        if spec.kind == "normal":
            value = rng.standard_normal((count, *spec.shape)).astype("float32")
        elif spec.kind == "uniform":
            value = rng.random((count, *spec.shape), dtype="float32")
        else:
            value = rng.integers(spec.low, spec.high, count, dtype="int32")
        return keras.ops.convert_to_tensor(value)

    def fill(specification, count=4):
        return keras.tree.map_structure(lambda spec: one(spec, count), specification)

    return fill
