"""A tiny LadaGAN and a conditional model to generate with, and what is compared of pictures."""

import keras
import numpy as np
from keras import ops
from PIL import Image

from ladagan_tf import pictures
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.sampling import seeds

SIZES = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8, 8, 8)}
SIDE = 32


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Coloured(keras.Model):
    """A conditional generator: each class is a grey level, and the latent is not looked at."""

    noise_dim, resolution, num_classes = 8, SIDE, 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def call(self, z, labels, training=False):
        level = ops.cast(labels, "float32") - 1.0  # -1, 0, 1
        return ops.zeros((ops.shape(z)[0], SIDE, SIDE, 3)) + ops.reshape(level, (-1, 1, 1, 1))


def tiny(seed):
    network = Generator(**SIZES)
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.3, w.shape) for w in network.get_weights()])
    return network


def expected(network, numbers):
    return pictures.to_uint8(network(seeds.latents(numbers, 8)))


def assert_same(images, reference):
    """Equal up to the rounding of floats that another batch size brings."""
    assert images.shape == reference.shape and images.dtype == np.uint8
    assert np.max(np.abs(images.astype(int) - reference.astype(int))) <= 1


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))
