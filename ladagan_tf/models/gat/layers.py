"""GAT's small layers (arXiv 2509.24935): RMS norm, slow dense layer, SwiGLU.

Norms compute in float32 even where the rest computes in half precision.
"""

import keras
from keras import ops

from ladagan_tf.models.classes import NORM_EPSILON, rms_normalize
from ladagan_tf.models.gat.initializers import linear, xavier

EQUAL_MULTIPLIER = 0.01


def swiglu_width(width):
    """Inner units of the SwiGLU of C-channel tokens: two thirds of 4 C, rounded down."""
    return 8 * width // 3


@keras.saving.register_keras_serializable(package="ladagan_tf")
class RMSNorm(keras.layers.Layer):
    """x / sqrt(mean(x^2) + epsilon) times a learned weight per channel, which starts at 1.

    Args:
        epsilon: float.

    Call arguments:
        x: float tensor (..., D).

    Returns:
        Float tensor (..., D).
    """

    def __init__(self, epsilon=NORM_EPSILON, **kwargs):
        super().__init__(autocast=False, **kwargs)
        self.epsilon = epsilon

    def build(self, x_shape):
        self.weight = self.add_weight(x_shape[-1:], "ones", name="weight", autocast=False)

    def call(self, x):
        return rms_normalize(x, self.epsilon, self.weight)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class EqualLinear(keras.layers.Layer):
    """A dense layer that learns 100 times slower: 0.01 * (x W + b).

    W is stored 100 times as large as Xavier would have it, so the layer starts as an ordinary one;
    but an optimizer whose step does not depend on the gradient's size moves it by 0.01 of the step.

    Args:
        units: int, outputs.

    Call arguments:
        x: float tensor (..., inputs).

    Returns:
        Float tensor (..., units).
    """

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, x_shape):
        self.kernel = self.add_weight(
            (x_shape[-1], self.units), xavier(1.0 / EQUAL_MULTIPLIER), name="kernel"
        )
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, x):
        return (ops.matmul(x, self.kernel) + self.bias) * EQUAL_MULTIPLIER

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class SwiGLU(keras.layers.Layer):
    """MLP with a gate: W3 (silu(W1 x) * W2 x), biases everywhere, `swiglu_width` inner units.

    Call arguments:
        x: float tensor (B, N, C).

    Returns:
        Float tensor (B, N, C).
    """

    def build(self, x_shape):
        inner = swiglu_width(x_shape[-1])
        self.expand = linear(2 * inner, self.dtype_policy, "expand")
        self.contract = linear(x_shape[-1], self.dtype_policy, "contract")
        self.expand.build(x_shape)
        self.contract.build((*x_shape[:-1], inner))

    def call(self, x):
        gate, value = ops.split(self.expand(x), 2, axis=-1)  # (B, N, m) each
        return self.contract(ops.silu(gate) * value)  # (B, N, C)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)
