"""The blocks LadaGAN is built from (arXiv 2401.09596, Sec. III): Ladaformer, up and down blocks."""

import keras
from keras import ops

from ladagan_tf.models.attention_kinds import make_attention
from ladagan_tf.models.norms import (
    BatchNormalization,
    LayerNormalization,
    SelfModulatedLayerNorm,
    dense,
)

LEAKY_SLOPE = 0.2


def conv(filters, size, dtype, name, strides=1, padding="same", use_bias=False):
    """A square convolution as LadaGAN initialises it: orthogonal kernel, zero bias."""
    return keras.layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding=padding,
        use_bias=use_bias,
        kernel_initializer="orthogonal",
        dtype=dtype,
        name=name,
    )


def exact_gelu(x):
    """x * Phi(x) with the error function, not its tanh approximation."""
    return ops.gelu(x, approximate=False)


def leaky_relu(x):
    return ops.leaky_relu(x, LEAKY_SLOPE)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Ladaformer(keras.layers.Layer):
    """Transformer block around additive attention (LadaGAN, Sec. III-B, III-C) or a rival of it.

    modulated (generator):      y = x + attention(SLN(x, z));  out =     MLP(SLN(y, z))
    otherwise (discriminator):  y = x + attention(LN(x));      out = y + MLP(LN(y))

    Args:
        mlp_width: int, hidden units of the MLP (exact GELU).
        num_heads: int, must divide the token width.
        modulated: bool, norms are SLNs driven by the latent `z`, and the MLP has no residual.
        score: "full" or "per_head", see `AdditiveAttention`.
        attention: one of `attention_kinds.ATTENTIONS`.
        rank: int, see `LinformerAttention`.
        window: int, see `SwinAttention`.
        shifted: bool, see `SwinAttention`.

    Call arguments:
        x: float tensor (B, N, D), the tokens.
        z: float tensor (B, Z), the latent; only when modulated.

    Returns:
        Tokens (B, N, D) and attention weights (B, H, N), or None for "linformer".

    Raises:
        ValueError: if `attention` is unknown or its sizes do not fit D and N.
    """

    def __init__(
        self,
        mlp_width,
        num_heads=4,
        modulated=False,
        score="full",
        attention="additive",
        rank=64,
        window=8,
        shifted=False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mlp_width = mlp_width
        self.num_heads = num_heads
        self.modulated = modulated
        self.score = score
        self.attention_kind = attention
        self.rank = rank
        self.window = window
        self.shifted = shifted

    def build(self, x_shape, z_shape=None):
        policy = self.dtype_policy
        self.attention_norm = self._norm("attention_norm", x_shape, z_shape)
        self.mlp_norm = self._norm("mlp_norm", x_shape, z_shape)
        self.attention = self._make_attention()
        self.attention.build(x_shape)
        self.expand = dense(self.mlp_width, policy, "expand", activation=exact_gelu)
        self.expand.build(x_shape)
        self.contract = dense(x_shape[-1], policy, "contract")
        self.contract.build((*x_shape[:-1], self.mlp_width))

    def _make_attention(self):
        return make_attention(
            self.attention_kind,
            self.num_heads,
            score=self.score,
            rank=self.rank,
            window=self.window,
            shifted=self.shifted,
            dtype=self.dtype_policy,
            name="attention",
        )

    def _norm(self, name, x_shape, z_shape):
        if self.modulated:
            norm = SelfModulatedLayerNorm(dtype=self.dtype_policy, name=name)
            norm.build(x_shape, z_shape)
        else:
            norm = LayerNormalization(dtype=self.dtype_policy, name=name)
            norm.build(x_shape)
        return norm

    def call(self, x, z=None):
        latent = (z,) if self.modulated else ()
        mixed, weights = self.attention(self.attention_norm(x, *latent))  # (B, N, D), (B, H, N)
        y = x + mixed  # (B, N, D)
        out = self.contract(self.expand(self.mlp_norm(y, *latent)))  # (B, N, D)
        return (out if self.modulated else y + out), weights

    def compute_output_shape(self, x_shape, z_shape=None):
        return self._make_attention().compute_output_shape(x_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "mlp_width": self.mlp_width,
            "num_heads": self.num_heads,
            "modulated": self.modulated,
            "score": self.score,
            "attention": self.attention_kind,
            "rank": self.rank,
            "window": self.window,
            "shifted": self.shifted,
        }


@keras.saving.register_keras_serializable(package="ladagan_tf")
class PositionEmbedding(keras.layers.Layer):
    """Adds a learned table (N, D), orthogonal at the start, to tokens (B, N, D)."""

    def build(self, x_shape):
        self.table = self.add_weight(x_shape[1:], initializer="orthogonal", name="table")

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
        self.conv = conv(self.filters, 3, self.dtype_policy, "conv", use_bias=True)
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

    main:   3x3 stride 2, BN, leaky ReLU, 3x3, BN, leaky ReLU
    direct: 2x2 average pool, 1x1, BN, leaky ReLU            (LadaGAN, Sec. III-C)

    Args:
        filters: int, output channels of both paths.

    Call arguments:
        x: float tensor (B, H, W, C), H and W even.
        training: bool, passed to the batch norms.

    Returns:
        Float tensor (B, H/2, W/2, filters).
    """

    def __init__(self, filters, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters

    def build(self, x_shape):
        batch, height, width, _ = x_shape
        policy = self.dtype_policy
        inner = (batch, height // 2, width // 2, self.filters)
        self.main_conv_1 = conv(self.filters, 3, policy, "main_conv_1", strides=2)
        self.main_conv_2 = conv(self.filters, 3, policy, "main_conv_2")
        self.direct_conv = conv(self.filters, 1, policy, "direct_conv")
        self.main_conv_1.build(x_shape)
        self.main_conv_2.build(inner)
        self.direct_conv.build((*inner[:-1], x_shape[-1]))
        self.pool = keras.layers.AveragePooling2D(2, dtype=policy, name="pool")
        self.main_norm_1 = BatchNormalization(dtype=policy, name="main_norm_1")
        self.main_norm_2 = BatchNormalization(dtype=policy, name="main_norm_2")
        self.direct_norm = BatchNormalization(dtype=policy, name="direct_norm")
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
        return {**super().get_config(), "filters": self.filters}
