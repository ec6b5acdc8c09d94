"""How LadaGAN starts: orthogonal kernels and tables, zero biases (official code, `g_initializer`).

The paper does not say; the authors' config.json does, and their attention has no other choice. The
rivals of additive attention (`models.attention`) start in the same way, so that only the mechanism
differs.
"""

import keras

ORTHOGONAL = "orthogonal"  # of Keras: Q of a QR decomposition of normal draws, gain 1


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


def square_conv(filters, size, dtype, name, strides=1, padding="same", use_bias=False):
    """A square convolution as LadaGAN initialises it: orthogonal kernel, zero bias.

    Args:
        filters: int, output channels.
        size: int, side of the kernel.
        dtype, name, strides, padding, use_bias: see `keras.layers.Conv2D`.
    """
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer=ORTHOGONAL,
        dtype=dtype,
        name=name,
    )
