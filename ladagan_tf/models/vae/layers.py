"""The blocks of the SD-1.x autoencoder (Rombach et al., arXiv 2112.10752): group norm, resnets.

Layers carry the names of the published checkpoints ("norm1", "to_out.0", ..), so that the path of
a variable is the name of its tensor; see `models.vae.names`.
"""

import keras
from keras import ops

EPSILON = 1e-6


def conv(filters, size, dtype, name, strides=1, padding="same"):
    """A square convolution with bias, in Keras's own initialisation.

    Args:
        filters: int, output channels.
        size: int, side of the kernel.
        dtype, name, strides, padding: see `keras.layers.Conv2D`.
    """
    return keras.layers.Conv2D(
        filters, size, strides=strides, padding=padding, dtype=dtype, name=name
    )


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GroupNorm(keras.layers.Layer):
    """Group norm (arXiv 1803.08494), epsilon 1e-6, in float32 whatever the policy computes in.

    Args:
        groups: int, must divide the channels.

    Call arguments:
        x: float tensor (B, H, W, C).
        moments: mean and variance to normalise with, as `moments` returns them; None takes x's.

    Returns:
        Float tensor (B, H, W, C).

    Raises:
        ValueError: if `groups` does not divide the channels.
    """

    def __init__(self, groups=32, **kwargs):
        super().__init__(autocast=False, **kwargs)  # or moments would arrive in half precision
        self.groups = groups

    def build(self, x_shape):
        if x_shape[-1] % self.groups:
            raise ValueError(f"groups={self.groups}: it must divide the {x_shape[-1]} channels")
        shape = (x_shape[-1],)
        self.gamma = self.add_weight(shape, "ones", name="gamma", autocast=False)
        self.beta = self.add_weight(shape, "zeros", name="beta", autocast=False)

    def moments(self, x):
        """Mean and biased variance of every channel's group, float32 (B, 1, 1, C)."""
        x = ops.cast(x, self.variable_dtype)
        mean = self._group_mean(x)
        return mean, self._group_mean(ops.square(x - mean))

    def _group_mean(self, x):
        # Channel means first: a reduction over a five-dimensional view is slower on a CPU.
        width = x.shape[-1]
        size = width // self.groups
        # Times ones: ops.repeat is thirty operations of a graph.
        mean = ops.reshape(ops.mean(x, axis=(1, 2)), (-1, self.groups, size))
        mean = ops.mean(mean, axis=-1, keepdims=True) * ops.ones((size,), mean.dtype)  # (B, G, C/G)
        return ops.reshape(mean, (-1, 1, 1, width))

    def call(self, x, moments=None):
        mean, variance = moments or self.moments(x)  # (B, 1, 1, C) each
        # Centred before it is scaled: nearly constant groups have means of many deviations.
        x = ops.cast(x, self.variable_dtype) - mean  # (B, H, W, C)
        x = x * (ops.rsqrt(variance + EPSILON) * self.gamma) + self.beta
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, x_shape, moments_shape=None):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class ResnetBlock(keras.layers.Layer):
    """x + conv(silu(norm(conv(silu(norm(x)))))), with a 1x1 convolution of x if widths differ.

    Args:
        filters: int, channels of the output.
        groups: int, of the group norms.

    Call arguments:
        x: float tensor (B, H, W, C).

    Returns:
        Float tensor (B, H, W, filters).
    """

    def __init__(self, filters, groups=32, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.groups = groups

    def build(self, x_shape):
        policy, inner = self.dtype_policy, (*x_shape[:-1], self.filters)
        self.norm1 = GroupNorm(self.groups, dtype=policy, name="norm1")
        self.conv1 = conv(self.filters, 3, policy, "conv1")
        self.norm2 = GroupNorm(self.groups, dtype=policy, name="norm2")
        self.conv2 = conv(self.filters, 3, policy, "conv2")
        self.conv_shortcut = None
        if x_shape[-1] != self.filters:
            self.conv_shortcut = conv(self.filters, 1, policy, "conv_shortcut")
            self.conv_shortcut.build(x_shape)
        self.norm1.build(x_shape)
        self.conv1.build(x_shape)
        self.norm2.build(inner)
        self.conv2.build(inner)

    def call(self, x):
        h = self.conv1(ops.silu(self.norm1(x)))  # (B, H, W, F)
        h = self.conv2(ops.silu(self.norm2(h)))  # (B, H, W, F)
        if self.conv_shortcut is not None:
            x = self.conv_shortcut(x)  # (B, H, W, F)
        return x + h

    def compute_output_shape(self, x_shape):
        return (*x_shape[:-1], self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "groups": self.groups}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class SpatialAttention(keras.layers.Layer):
    """x + softmax attention of all positions to all, one head; weights of it in float32.

    Args:
        groups: int, of the group norm before it.

    Call arguments:
        x: float tensor (B, H, W, C). It forms (B, HW, HW) weights.

    Returns:
        Float tensor (B, H, W, C).
    """

    def __init__(self, groups=32, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, x_shape):
        policy, width = self.dtype_policy, x_shape[-1]
        self.group_norm = GroupNorm(self.groups, dtype=policy, name="group_norm")
        self.group_norm.build(x_shape)
        self.to_q, self.to_k, self.to_v, self.to_out = (
            keras.layers.Dense(width, dtype=policy, name=name)
            for name in ("to_q", "to_k", "to_v", "to_out.0")
        )
        for layer in (self.to_q, self.to_k, self.to_v, self.to_out):
            layer.build((x_shape[0], None, width))

    def call(self, x):
        shape = ops.shape(x)
        # -1 is the batch, so that N is known where H and W are: exports then have fixed shapes.
        tokens = ops.reshape(self.group_norm(x), (-1, shape[1] * shape[2], shape[3]))  # (B, N, C)
        q, k, v = self.to_q(tokens), self.to_k(tokens), self.to_v(tokens)  # (B, N, C)
        scores = ops.matmul(q * x.shape[-1] ** -0.5, ops.transpose(k, (0, 2, 1)))  # (B, N, N)
        weights = ops.softmax(ops.cast(scores, self.variable_dtype), axis=-1)  # (B, N, N)
        h = self.to_out(ops.matmul(ops.cast(weights, self.compute_dtype), v))  # (B, N, C)
        return x + ops.reshape(h, (-1, *shape[1:]))  # (B, H, W, C)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Downsample(keras.layers.Layer):
    """Halves the grid: a strided 3x3 convolution with zeros at the bottom and the right only.

    Call arguments:
        x: float tensor (B, H, W, C), even H and W.

    Returns:
        Float tensor (B, H/2, W/2, C).
    """

    def build(self, x_shape):
        self.conv = conv(x_shape[-1], 3, self.dtype_policy, "conv", strides=2, padding="valid")
        self.conv.build(x_shape)

    def call(self, x):
        x = ops.pad(x, ((0, 0), (0, 1), (0, 1), (0, 0)))  # (B, H+1, W+1, C)
        return self.conv(x)  # (B, H/2, W/2, C)

    def compute_output_shape(self, x_shape):
        return (x_shape[0], *(side and side // 2 for side in x_shape[1:3]), x_shape[3])


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Upsample(keras.layers.Layer):
    """Doubles the grid by repeating pixels, then a 3x3 convolution.

    Call arguments:
        x: float tensor (B, H, W, C).

    Returns:
        Float tensor (B, 2H, 2W, C).
    """

    def build(self, x_shape):
        self.conv = conv(x_shape[-1], 3, self.dtype_policy, "conv")
        self.conv.build(x_shape)

    def call(self, x):
        _, height, width, channels = ops.shape(x)
        x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)  # (B, 2H, 2W, C)
        # Repeating forgets sides that are known, which LiteRT's convolutions need.
        return self.conv(ops.reshape(x, (-1, 2 * height, 2 * width, channels)))

    def compute_output_shape(self, x_shape):
        return (x_shape[0], *(side and side * 2 for side in x_shape[1:3]), x_shape[3])
