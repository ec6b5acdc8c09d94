"""What LadaGAN has around its Ladaformers (arXiv 2401.09596, Sec. III): convolutions, positions."""

import keras
from keras import ops

from ladagan_tf.models.lada.norms import BatchNormalization, GroupNormalization
from ladagan_tf.models.orthogonal import ORTHOGONAL, square_conv

LEAKY_SLOPE = 0.2
# E[u^2] / E[leaky_relu(u)^2] for a symmetric u (He et al. 2015, Sec. 2.2).
LEAKY_GAIN = 2.0 / (1.0 + LEAKY_SLOPE**2)


def leaky_relu(x):
    """max(x, 0.2 x), of any shape."""
    return ops.leaky_relu(x, LEAKY_SLOPE)


def unchanged(x, training=False):
    """x: where there is no norm."""
    return x


def he_normal(scale=1.0):
    """Normal kernels after which a leaky ReLU gives `scale` times the mean square of its input.

    Whatever the input's correlations: the weights are independent, the mean square of a sum of
    n products is n times that of one, and the weights' is scale * LEAKY_GAIN / n (He et al. 2015).
    """
    return keras.initializers.VarianceScaling(scale * LEAKY_GAIN, "fan_in", "untruncated_normal")


@keras.saving.register_keras_serializable(package="ladagan_tf")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned table (N, D), orthogonal at the start, to tokens (B, N, D)."""

    def build(self, x_shape):
        self.table = self.add_weight(x_shape[1:], ORTHOGONAL, name="table")

    def call(self, x):
        return x + self.table

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class UpBlock(keras.layers.Layer):
    """Decoder stage: nearest x2, 3x3 convolution, batch norm, leaky ReLU (LadaGAN, Sec. III-B).

    Args:
        filters: int, output channels.

    Call arguments:
        x: float tensor (B, H, W, C).
        training: bool, passed to the batch norm.

    Returns:
        Float tensor (B, 2H, 2W, filters).
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, x_shape):
        self.conv = square_conv(self.filters, 3, self.dtype_policy, "conv", use_bias=True)
        self.conv.build(x_shape)
        self.norm = BatchNormalization(dtype=self.dtype_policy, name="norm")
        self.norm.build((*x_shape[:-1], self.filters))

    def call(self, x, training=False):
        # Repeating, unlike a resize, has a gradient that XLA can compile.
        x = ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2)  # (B, 2H, 2W, C)
        return leaky_relu(self.norm(self.conv(x), training=training))  # (B, 2H, 2W, filters)

    def compute_output_shape(self, x_shape):
        batch, height, width, _ = x_shape
        return batch, 2 * height, 2 * width, self.filters

    def get_config(self):
        return {**super().get_config(), "filters": self.filters}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class DownBlock(keras.layers.Layer):
    """Residual down-sampling by 2: the mean of a convolutional and a pooled path.

    main:   k x k stride 2, BN, leaky ReLU, k x k, BN, leaky ReLU
    direct: 2x2 average pool, 1x1, BN, leaky ReLU            (LadaGAN, Sec. III-C)

    Without norms the kernels have to hold the size of what passes through, and biases take the
    place of the norms' offsets. The start is that of Fixup (Zhang et al. 2019, Sec. 3.2), on which
    R3GAN (Huang et al. 2024) builds its networks: the last convolution of the residual path is
    zero, the others keep the mean square. Here that is the main path; the direct one then makes up
    for the mean with nothing, 4 times the mean square. Fixup's factor L^(-1/(2m-2)) for the first
    of m = 2 convolutions in each of L blocks is left out: L is at most 4 here.

    Args:
        filters: int, output channels of both paths.
        norm: "batch"; "group", see `GroupNormalization`; or "none".
        kernel: int, k, odd; 3 in the paper.

    Call arguments:
        x: float tensor (B, H, W, C), H and W even.
        training: bool, passed to the norms.

    Returns:
        Float tensor (B, H/2, W/2, filters).
    """

    def __init__(self, filters, norm="batch", kernel=3, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.norm = norm
        self.kernel = kernel

    def build(self, x_shape):
        batch, height, width, _ = x_shape
        policy = self.dtype_policy
        inner = (batch, height // 2, width // 2, self.filters)
        bare = self.norm == "none"
        first = last = direct = {}
        if bare:  # only then: an initializer takes a number of Keras's seed when it is made
            kernels = he_normal(), "zeros", he_normal(4.0)
            first, last, direct = ({"use_bias": True, "kernel": kernel} for kernel in kernels)
        size = self.filters, self.kernel, policy
        self.main_conv_1 = square_conv(*size, "main_conv_1", strides=2, **first)
        self.main_conv_2 = square_conv(*size, "main_conv_2", **last)
        self.direct_conv = square_conv(self.filters, 1, policy, "direct_conv", **direct)
        self.main_conv_1.build(x_shape)
        self.main_conv_2.build(inner)
        self.direct_conv.build((*inner[:-1], x_shape[-1]))
        self.pool = keras.layers.AveragePooling2D(2, dtype=policy, name="pool")
        if bare:
            self.main_norm_1 = self.main_norm_2 = self.direct_norm = unchanged
            return
        make = {"batch": BatchNormalization, "group": GroupNormalization}[self.norm]
        self.main_norm_1 = make(dtype=policy, name="main_norm_1")
        self.main_norm_2 = make(dtype=policy, name="main_norm_2")
        self.direct_norm = make(dtype=policy, name="direct_norm")
        for norm in (self.main_norm_1, self.main_norm_2, self.direct_norm):
            norm.build(inner)

    def call(self, x, training=False):
        main = leaky_relu(self.main_norm_1(self.main_conv_1(x), training=training))
        main = leaky_relu(self.main_norm_2(self.main_conv_2(main), training=training))
        direct = self.direct_norm(self.direct_conv(self.pool(x)), training=training)
        return (main + leaky_relu(direct)) * 0.5  # (B, H/2, W/2, filters)

    def compute_output_shape(self, x_shape):
        batch, height, width, _ = x_shape
        return batch, height // 2, width // 2, self.filters

    def get_config(self):
        own = {"filters": self.filters, "norm": self.norm, "kernel": self.kernel}
        return {**super().get_config(), **own}
