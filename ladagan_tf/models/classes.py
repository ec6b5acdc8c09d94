"""Classes: their names, a learned vector of each, and the norm that such vectors go through."""

import keras
from keras import ops

from ladagan_tf.models.checks import check

NORM_EPSILON = 1e-6


def checked_names(names, num_classes):
    """Names of classes as a tuple; ValueError unless there is a text for each of them, or none."""
    names = tuple(names)
    check(
        len(names) in (0, num_classes) and all(isinstance(name, str) for name in names),
        f"class_names: {len(names)} of num_classes={num_classes} classes; give a text for each, or "
        "none",
    )
    return names


def at_least_float32(dtype):
    """The name of a dtype, or float32 if it has fewer bits."""
    return keras.backend.result_type(dtype, "float32")


def rms_normalize(x, epsilon=NORM_EPSILON, weight=1.0):
    """x / sqrt(mean(x^2) + epsilon) * weight over the last axis."""
    dtype = x.dtype
    x = ops.cast(x, at_least_float32(dtype))
    scale = ops.rsqrt(ops.mean(ops.square(x), axis=-1, keepdims=True) + epsilon)
    return ops.cast(x * scale * weight, dtype)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class ClassTable(keras.layers.Layer):
    """A learned vector per class, at first normal.

    Args:
        num_classes: int.
        width: int, size of the vectors.
        stddev: float, of the start; 0.02, or 0 for vectors of zeros.

    Call arguments:
        labels: int tensor (B,) in [0, num_classes).

    Returns:
        Float tensor (B, width).
    """

    def __init__(self, num_classes, width, stddev=0.02, **kwargs):
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.width = width
        self.stddev = stddev

    def build(self, labels_shape=None):
        start = keras.initializers.RandomNormal(stddev=self.stddev) if self.stddev else "zeros"
        self.table = self.add_weight((self.num_classes, self.width), start, name="table")

    def call(self, labels):
        # Behind a product TensorFlow's gradient of the gather is one dense tensor: slices, of which
        # repeated labels have several, have no norm and no sum over micro-batches.
        return ops.take(ops.multiply(self.table, 1.0), labels, axis=0)

    def compute_output_shape(self, labels_shape):
        return labels_shape[0], self.width

    def get_config(self):
        config = {"num_classes": self.num_classes, "width": self.width, "stddev": self.stddev}
        return {**super().get_config(), **config}
