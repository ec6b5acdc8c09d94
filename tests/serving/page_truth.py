"""What the demo page must show, and what it must refuse."""

import keras
import numpy as np

from ladagan_tf.sampling import walks

INVALID = ["-1", "one", "", "1.5", "0-3", str(2**63), "9" * 40]


class Truncating(keras.Model):
    """A generator that truncates: psi = 0 makes every image the same."""

    noise_dim, resolution, truncates = 8, 32, True

    def __init__(self):
        super().__init__()
        self.pixels = keras.layers.Dense(32 * 32 * 3)

    def call(self, z, psi=1.0, training=False):
        return keras.ops.reshape(self.pixels(z * psi), (-1, 32, 32, 3))


def expected(source, numbers, labels=None):
    made = walks.image_batches(source, *source.inputs(numbers, labels))
    return np.concatenate([*made]).astype(int)
