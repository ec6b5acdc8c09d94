"""How LadaGAN starts: orthogonal kernels and tables, zero biases (official code, `g_initializer`).

The paper does not say; the authors' config.json does, and their attention has no other choice. The
rivals of additive attention (`models.attention`) start in the same way, so that only the mechanism
differs.
"""

import math

import keras
import numpy as np


class NumpyOrthogonal(keras.initializers.Initializer):
    """Keras's "orthogonal", computed by NumPy from NumPy's global state.

    JAX compiles a decomposition for every shape there is: minutes before a first step. Cholesky's
    factor of A'A is R of A = QR with a positive diagonal, which makes Q uniform, and needs a tenth
    of the time of a Householder decomposition.
    """

    def __call__(self, shape, dtype=None):
        rows, columns = math.prod(shape[:-1]), shape[-1]
        tall = np.random.standard_normal((max(rows, columns), min(rows, columns)))
        wide = np.linalg.solve(np.linalg.cholesky(tall.T @ tall), tall.T)  # Q'
        kernel = wide if rows < columns else wide.T
        return keras.ops.convert_to_tensor(kernel.reshape(shape).astype("float32"), dtype)


# Q of a QR decomposition of normal draws, gain 1.
ORTHOGONAL = NumpyOrthogonal() if keras.backend.backend() == "jax" else "orthogonal"


def dense(units, dtype, name, activation=None, use_bias=True):
    """A dense layer as LadaGAN initialises it: orthogonal kernel, zero bias.

    Args:
        units: int, outputs.
        dtype, name, activation, use_bias: see `keras.layers.Dense`.
    """
    return keras.layers.Dense(
        units,
        activation=activation,
        use_bias=use_bias,
        kernel_initializer=ORTHOGONAL,
        dtype=dtype,
        name=name,
    )


def square_conv(
    filters, size, dtype, name, strides=1, padding="same", use_bias=False, kernel=ORTHOGONAL
):
    """A square convolution as LadaGAN initialises it: orthogonal kernel, zero bias.

    Args:
        filters: int, output channels.
        size: int, side of the kernel.
        dtype, name, strides, padding, use_bias: see `keras.layers.Conv2D`.
        kernel: another initializer of the kernel.
    """
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=kernel,
        dtype=dtype,
        name=name,
    )
