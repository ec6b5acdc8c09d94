"""GAT's transformer blocks and the generator's heads (arXiv 2509.24935)."""

import keras
from keras import ops

from ladagan_tf.models.checks import check
from ladagan_tf.models.classes import at_least_float32, rms_normalize
from ladagan_tf.models.gat.additive import GatAdditiveAttention
from ladagan_tf.models.gat.attention import GatAttention
from ladagan_tf.models.gat.initializers import LAYER_SCALE, MODULATION_GAIN, linear
from ladagan_tf.models.gat.layers import RMSNorm, SwiGLU
from ladagan_tf.models.gat.sizes import check_modulation

ATTENTIONS = ("dot_product", "additive")


def modulation_parts(modulation, gated=True):
    """How many parts of C numbers a modulation takes of the style.

    Args:
        modulation: one of `sizes.MODULATIONS`.
        gated: bool, of a branch of a block; else of a head, which has no gate.
    """
    return 1 + gated + (modulation == "shift_scale_gate")


def modulated(x, parts):
    """RMS(x) * (1 + scale) + shift; of (shift, scale), or of scale alone.

    Args:
        x: float tensor (B, T, C).
        parts: list of one or two float tensors (B, 1, C).
    """
    *shift, scale = parts
    return sum(shift, rms_normalize(x) * (1.0 + scale))


class _Block(keras.layers.Layer):
    """What both blocks have: an attention and an MLP with residuals around them.

    In mixed precision the branches compute in half; the tokens that they add to, the norms and the
    gates stay float32, as under the official code's autocast: of what depends on z and class, half
    precision would lose a sixth.
    """

    def __init__(self, num_heads, grid, fused=True, attention="dot_product", **kwargs):
        super().__init__(autocast=False, **kwargs)
        check(
            attention in ATTENTIONS,
            f"attention={attention!r} is not one of {', '.join(ATTENTIONS)}, which GAT has",
        )
        self.num_heads = num_heads
        self.grid = grid
        self.fused = fused
        self.attention_kind = attention

    def build(self, x_shape):
        common = {"dtype": self.dtype_policy, "name": "attention"}
        if self.attention_kind == "additive":
            self.attention = GatAdditiveAttention(self.num_heads, **common)
        else:
            self.attention = GatAttention(self.num_heads, self.grid, self.fused, **common)
        self.mlp = SwiGLU(dtype=self.dtype_policy, name="mlp")
        self.attention.build(x_shape)
        self.mlp.build(x_shape)

    def _branch(self, layer, x):
        """What a layer makes of tokens, in the precision of the tokens."""
        return ops.cast(layer(x), x.dtype)

    def compute_output_shape(self, x_shape, style_shape=None):
        return tuple(x_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "grid": self.grid,
            "fused": self.fused,
            "attention": self.attention_kind,
        }


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GeneratorBlock(_Block):
    """Transformer block that the style scales and gates, and may shift.

        y   = x + gate_1 * attention(RMS(x) * (1 + scale_1) + shift_1)
        out = y + gate_2 * SwiGLU(RMS(y) * (1 + scale_2) + shift_2)

    with (shift_1, scale_1, gate_1, shift_2, scale_2, gate_2) affine in silu(style), in this order;
    GAT's own, "scale_gate", has no shifts. The norms have no weights.

    Args:
        num_heads, grid, fused: see `GatAttention`.
        attention: "dot_product", or "additive" for `GatAdditiveAttention`.
        modulation: one of `sizes.MODULATIONS`.

    Call arguments:
        x: float tensor (B, T, C); or (1, T, C), the same tokens for every style.
        style: float tensor (B, W).

    Returns:
        Float tensor (B, T, C).
    """

    def __init__(self, *args, modulation="scale_gate", **kwargs):
        super().__init__(*args, **kwargs)
        check_modulation(modulation)
        self.modulation_kind = modulation
        self.parts = 2 * modulation_parts(modulation)  # P, of both branches

    def build(self, x_shape, style_shape):
        super().build(x_shape)
        units = self.parts * x_shape[-1]
        self.modulation = linear(units, self.dtype_policy, "modulation", MODULATION_GAIN)
        self.modulation.build(style_shape)

    def call(self, x, style):
        modulation = ops.cast(self.modulation(ops.silu(style)), x.dtype)  # (B, P C)
        modulation = ops.expand_dims(modulation, 1)  # (B, 1, P C)
        parts = ops.split(modulation, self.parts, axis=-1)  # (B, 1, C) each
        for layer in (self.attention, self.mlp):
            *moved, gate = parts[: self.parts // 2]
            parts = parts[self.parts // 2 :]
            x = x + gate * self._branch(layer, modulated(x, moved))  # (B, T, C)
        return x

    def get_config(self):
        return {**super().get_config(), "modulation": self.modulation_kind}


@keras.saving.register_keras_serializable(package="ladagan_tf")
class DiscriminatorBlock(_Block):
    """Transformer block whose branches are scaled per channel, at first by 0.1.

        y   = x + scale_1 * attention(RMSNorm(x))
        out = y + scale_2 * SwiGLU(RMSNorm(y))

    Args:
        num_heads, grid, fused: see `GatAttention`.
        attention: "dot_product", or "additive" for `GatAdditiveAttention`.

    Call arguments:
        x: float tensor (B, N, C).

    Returns:
        Float tensor (B, N, C).
    """

    def build(self, x_shape):
        super().build(x_shape)
        self.attention_norm = RMSNorm(dtype=self.dtype_policy, name="attention_norm")
        self.mlp_norm = RMSNorm(dtype=self.dtype_policy, name="mlp_norm")
        for norm in (self.attention_norm, self.mlp_norm):
            norm.build(x_shape)
        start = keras.initializers.Constant(LAYER_SCALE)
        # Keras casts the weights of a layer that is called first, whatever its own `autocast`.
        self.attention_scale, self.mlp_scale = (
            self.add_weight(x_shape[-1:], start, name=name, autocast=False)
            for name in ("attention_scale", "mlp_scale")
        )

    def call(self, x):
        x = x + self.attention_scale * self._branch(self.attention, self.attention_norm(x))
        return x + self.mlp_scale * self._branch(self.mlp, self.mlp_norm(x))  # (B, N, C)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class LevelHead(keras.layers.Layer):
    """What one level adds to the latents: scaled norm, p x p x c numbers per token, unpatchify.

    Args:
        grid: int, g.
        patch: int, p.
        channels: int, c, of the latents.
        modulation: one of `sizes.MODULATIONS`: whether the norm is also shifted, by a part of the
            style in front of the scale.

    Call arguments:
        x: float tensor (B, g * g, C).
        style: float tensor (B, W).

    Returns:
        Float tensor (B, g * p, g * p, c), float32 also in mixed precision.
    """

    def __init__(self, grid, patch, channels, modulation="scale_gate", **kwargs):
        super().__init__(autocast=False, **kwargs)
        check_modulation(modulation)
        self.modulation_kind = modulation
        self.parts = modulation_parts(modulation, gated=False)  # P
        self.grid = grid
        self.patch = patch
        self.channels = channels

    def build(self, x_shape, style_shape):
        units = self.parts * x_shape[-1]
        self.modulation = linear(units, self.dtype_policy, "modulation", MODULATION_GAIN)
        # Half precision would show in the latents, of which the discriminator sees differences.
        precise = at_least_float32(self.compute_dtype)
        self.to_patch = linear(self.patch**2 * self.channels, precise, "to_patch")
        self.modulation.build(style_shape)
        self.to_patch.build(x_shape)

    def call(self, x, style):
        modulation = ops.cast(self.modulation(ops.silu(style)), x.dtype)  # (B, P C)
        modulation = ops.expand_dims(modulation, 1)  # (B, 1, P C)
        parts = ops.split(modulation, self.parts, axis=-1)  # (B, 1, C) each
        patches = self.to_patch(modulated(x, parts))  # (B, T, p p c)
        patches = ops.reshape(patches, (-1, self.grid, self.grid, patches.shape[-1]))
        if self.patch == 1:  # which TensorFlow's function refuses
            return patches  # (B, S, S, c)
        return ops.depth_to_space(patches, self.patch)  # (B, S, S, c)

    def compute_output_shape(self, x_shape, style_shape):
        return x_shape[0], self.grid * self.patch, self.grid * self.patch, self.channels

    def get_config(self):
        return {
            **super().get_config(),
            "grid": self.grid,
            "patch": self.patch,
            "channels": self.channels,
            "modulation": self.modulation_kind,
        }
