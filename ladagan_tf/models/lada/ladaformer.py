"""LadaGAN's transformer block (arXiv 2401.09596, Sec. III), with the switches of its ablation."""

import math

import keras
from keras import ops

from ladagan_tf.models.attention.kinds import make_attention
from ladagan_tf.models.checks import check
from ladagan_tf.models.lada.norms import LayerNormalization, SelfModulatedLayerNorm
from ladagan_tf.models.lada.sizes import MODULATIONS
from ladagan_tf.models.one_by_one import one_by_one
from ladagan_tf.models.orthogonal import dense


def exact_gelu(x):
    """x * Phi(x) with the error function, not its tanh approximation; x of any shape."""
    return _gelu(x) if one_by_one() else ops.gelu(x, approximate=False)


@ops.custom_gradient
def _gelu(x):
    """The same with its gradient Phi(x) + x Phi'(x) written out: half as many passes over x as what
    autodiff makes of it, and exact when it is differentiated again.

    In half precision Phi is exact to one unit of 1 at negative x, not of Phi.
    """
    # The erfc in ops.gelu takes seven times as long in bfloat16. LiteRT, which has no erf, knows
    # its own GELU by just this form.
    twice_cdf = 1.0 + ops.erf(x * math.sqrt(0.5))

    def gradient(upstream):
        density = ops.exp(ops.square(x) * -0.5) / math.sqrt(2 * math.pi)
        return upstream * (0.5 * twice_cdf + x * density)

    return (0.5 * x) * twice_cdf, gradient


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Ladaformer(keras.layers.Layer):
    """Transformer block around additive attention (LadaGAN, Sec. III-B, III-C) or a rival of it.

    generator:      y = x + attention(SLN(x, z));  out =     MLP(SLN(y, z))
    discriminator:  y = x + attention(LN(x));      out = y + MLP(LN(y))

    The defaults are the discriminator's; each difference, and each term, is a switch.

    Args:
        mlp_width: int, hidden units of the MLP (exact GELU).
        num_heads: int, must divide the token width.
        modulation: "layer_norm", or a `SelfModulatedLayerNorm`: "sln" (LadaGAN's own) or
            "vitgan_sln" (the one that reads a mapped latent).
        conditional: bool, its norms, which must be "sln", read a class's vector too.
        attention_residual: bool, add x to what the attention gives.
        mlp_residual: bool, add y to what the MLP gives.
        attention: one of `models.attention.ATTENTIONS`.
        score: "full" or "per_head", see `AdditiveAttention`.
        rank: int, see `LinformerAttention`.
        window: int, see `SwinAttention`.

    Call arguments:
        x: float tensor (B, N, D), the tokens.
        z: float tensor (B, Z), the latent; only when modulated.
        r: float tensor (B, Z), the class's vector; only when conditional.

    Returns:
        Tokens (B, N, D) and attention weights (B, H, N), or None for "linformer".

    Raises:
        ValueError: if `modulation` or `attention` is unknown or its sizes do not fit D and N.
    """

    def __init__(
        self,
        mlp_width,
        num_heads=4,
        *,
        modulation="layer_norm",
        conditional=False,
        attention_residual=True,
        mlp_residual=True,
        attention="additive",
        score="full",
        rank=64,
        window=8,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check(
            modulation in MODULATIONS,
            f"modulation={modulation!r} is not one of {', '.join(MODULATIONS)}",
        )
        self.mlp_width = mlp_width
        self.num_heads = num_heads
        check(
            modulation == "sln" or not conditional,
            f"conditional=True with modulation={modulation!r}: only sln reads a class",
        )
        self.modulation = modulation
        self.conditional = conditional
        self.attention_residual = attention_residual
        self.mlp_residual = mlp_residual
        self.attention_kind = attention
        self.score = score
        self.rank = rank
        self.window = window

    @property
    def modulated(self):
        """Whether the norms read a latent."""
        return self.modulation != "layer_norm"

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
            dtype=self.dtype_policy,
            name="attention",
        )

    def _norm(self, name, x_shape, z_shape):
        if self.modulated:
            own = self.modulation == "sln"
            norm = SelfModulatedLayerNorm(own, self.conditional, dtype=self.dtype_policy, name=name)
            norm.build(x_shape, z_shape)
        else:
            norm = LayerNormalization(dtype=self.dtype_policy, name=name)
            norm.build(x_shape)
        return norm

    def call(self, x, z=None, r=None):
        latent = (z, r) if self.conditional else (z,) if self.modulated else ()
        y, weights = self.attention(self.attention_norm(x, *latent))  # (B, N, D), (B, H, N)
        y = x + y if self.attention_residual else y  # (B, N, D)
        out = self.contract(self.expand(self.mlp_norm(y, *latent)))  # (B, N, D)
        return (y + out if self.mlp_residual else out), weights

    def compute_output_shape(self, x_shape, z_shape=None, r_shape=None):
        return self._make_attention().compute_output_shape(x_shape)

    def get_config(self):
        return {
            **super().get_config(),
            "mlp_width": self.mlp_width,
            "num_heads": self.num_heads,
            "modulation": self.modulation,
            "conditional": self.conditional,
            "attention_residual": self.attention_residual,
            "mlp_residual": self.mlp_residual,
            "attention": self.attention_kind,
            "score": self.score,
            "rank": self.rank,
            "window": self.window,
        }
