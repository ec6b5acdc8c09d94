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


def check_in_range(labels, num_classes):
    """Raises ValueError for labels (B,) that are no integers, or that are of no class.

    The second is known outside graphs only. Unchecked, a CPU wraps -1 around or raises, and a GPU
    takes zeros.
    """
    dtype = keras.backend.standardize_dtype(getattr(labels, "dtype", "int32"))
    check("int" in dtype, f"labels are {dtype}; give integers, the numbers of classes")
    if callable(getattr(labels, "numpy", None)):
        values = labels.numpy()
        wrong = values[(values < 0) | (values >= num_classes)].reshape(-1)
        check(not len(wrong), f"labels: {wrong[:1]} is no class; give 0 to {num_classes - 1}")


def as_indices(labels):
    """Labels of any integer dtype as int32, which TensorFlow takes rows by."""
    return ops.cast(labels, "int32")


def check_one_each(vectors, z):
    """Raises ValueError unless vectors of labels (B, W) are as many as rows of z, if known."""
    given, wanted = tuple(vectors.shape)[:-1], tuple(z.shape[:1])
    check(
        len(given) == 1 and (None in given + wanted or given == wanted),
        f"labels of shape {given}: give one for each of the {wanted[0]} samples",
    )


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

    Raises:
        ValueError: outside graphs, for labels of no class.
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
        check_in_range(labels, self.num_classes)
        # Behind a product TensorFlow's gradient of the gather is one dense tensor: slices, of which
        # repeated labels have several, have no norm and no sum over micro-batches.
        return ops.take(ops.multiply(self.table, 1.0), as_indices(labels), axis=0)

    def compute_output_shape(self, labels_shape):
        return labels_shape[0], self.width

    def get_config(self):
        config = {"num_classes": self.num_classes, "width": self.width, "stddev": self.stddev}
        return {**super().get_config(), **config}
