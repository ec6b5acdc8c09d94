"""The formulas of GAT's small layers in NumPy, and the sizes of their tests."""

import numpy as np
from keras import ops

B, G, C, H = 2, 3, 16, 2
T, D = G * G, C // H


def number(tensor):
    return ops.convert_to_numpy(tensor)


def assert_close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(number(actual), number(expected), rtol=tolerance, atol=tolerance)


def silu(x):
    return x / (1.0 + np.exp(-x))


def rms_norm(x, epsilon=1e-6):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)


def affine(layer, x):
    return x @ number(layer.kernel) + number(layer.bias)
