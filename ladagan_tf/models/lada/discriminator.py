"""LadaGAN's discriminator (arXiv 2401.09596, Sec. III-C)."""

import keras
from keras import ops

from ladagan_tf.models.checks import check, check_widths
from ladagan_tf.models.lada.ladaformer import Ladaformer
from ladagan_tf.models.lada.layers import DownBlock, PositionEmbedding, he_normal, leaky_relu
from ladagan_tf.models.lada.sizes import NORMS, check_resolution
from ladagan_tf.models.orthogonal import square_conv

DISCRIMINATOR_GRID = 16
LOGITS = 25


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Discriminator(keras.Model):
    """LadaGAN discriminator: images to 25 patch logits (Sec. III-C).

    A convolution, residual down blocks to 16x16, one Ladaformer block, pixel unshuffle to 8x8 and a
    convolutional head that ends in a 5x5 grid of logits.

    Args:
        resolution: int, side of the images: 32, 64, 128 or 256.
        widths: channels of the first convolution and of each down block: 2, 3, 4 or 5 ints for
            resolution 32, 64, 128 or 256.
        out_widths: 2 ints, channels of the head's 3x3 and 1x1 convolutions.
        num_heads: int, must divide the last of `widths`.
        mlp_width: int, hidden units of the block's MLP.
        score: "full" or "per_head", see `AdditiveAttention`.
        ladaformer: bool, the block with its positions; without it D is convolutional only.
        scale_cue: bool, a fourth input channel of ones. Without it everything before the first
            batch norm is homogeneous: D cannot see how large the values of a whole batch are.
        norm: "batch", "none" or "group", of the down blocks; see `DownBlock`.
        dtype: Keras dtype policy; the last convolution always computes in float32.

    Call arguments:
        images: float tensor (B, resolution, resolution, 3) in [-1, 1].
        training: bool, the batch norms use (and update with) batch statistics.

    Returns:
        Float32 logits (B, 25), positive for real.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted.
    """

    def __init__(
        self,
        resolution=32,
        widths=(128, 256),
        out_widths=(512, 1024),
        num_heads=4,
        mlp_width=512,
        score="full",
        ladaformer=True,
        scale_cue=False,
        norm="batch",
        **kwargs,
    ):
        kwargs.setdefault("name", "discriminator")
        super().__init__(**kwargs)
        self.resolution = resolution
        self.widths = tuple(widths)
        self.out_widths = tuple(out_widths)
        self.num_heads = num_heads
        self.mlp_width = mlp_width
        self.score = score
        self.ladaformer = ladaformer
        self.scale_cue = scale_cue
        self.norm = norm
        check_resolution(resolution)
        check_widths(
            "widths",
            self.widths,
            (resolution // DISCRIMINATOR_GRID).bit_length(),
            f"(the first convolution and one per halving from {resolution} to "
            f"{DISCRIMINATOR_GRID})",
        )
        check_widths("out_widths", self.out_widths, 2, "(the head's two convolutions)")
        check(
            num_heads > 0 and self.widths[-1] % num_heads == 0,
            f"num_heads={num_heads} does not divide the last of widths={list(self.widths)}",
        )

        check(norm in NORMS, f"norm={norm!r} is not one of {', '.join(NORMS)}")

        policy = self.dtype_policy
        start = {"kernel": he_normal()} if norm == "none" else {}
        self.from_rgb = square_conv(self.widths[0], 3, policy, "from_rgb", **start)
        self.down_blocks = [
            DownBlock(width, norm, dtype=policy, name=f"down_{resolution >> (i + 1)}")
            for i, width in enumerate(self.widths[1:])
        ]
        if ladaformer:
            self.positions = PositionEmbedding(dtype=policy, name="positions_16")
            self.block = Ladaformer(
                mlp_width, num_heads, score=score, dtype=policy, name="block_16"
            )
        self.head_conv_1 = square_conv(self.out_widths[0], 3, policy, "head_conv_1", use_bias=True)
        self.head_conv_2 = square_conv(self.out_widths[1], 1, policy, "head_conv_2")
        self.to_logits = square_conv(1, 4, "float32", "to_logits", padding="valid")
        self.build((None, resolution, resolution, 3))

    def build(self, input_shape):
        if self.built:
            return
        side = self.resolution
        channels = 4 if self.scale_cue else 3
        self.from_rgb.build((*input_shape[:-1], channels))
        for width, block in zip(self.widths, self.down_blocks, strict=False):
            block.build((None, side, side, width))
            side //= 2
        tokens = (None, DISCRIMINATOR_GRID**2, self.widths[-1])
        if self.ladaformer:
            self.positions.build(tokens)
            self.block.build(tokens)
        side //= 2
        self.head_conv_1.build((None, side, side, 4 * self.widths[-1]))
        self.head_conv_2.build((None, side, side, self.out_widths[0]))
        self.to_logits.build((None, side, side, self.out_widths[1]))
        self.built = True

    def call(self, images, training=False):
        if self.scale_cue:
            images = ops.concatenate([images, ops.ones_like(images[..., :1])], axis=3)
        x = leaky_relu(self.from_rgb(images))  # (B, S, S, e0)
        for block in self.down_blocks:
            x = block(x, training=training)  # (B, 16, 16, e) after the last
        if self.ladaformer:
            side, width = DISCRIMINATOR_GRID, self.widths[-1]
            x = ops.reshape(x, (-1, side**2, width))  # (B, 256, e)
            x, _ = self.block(self.positions(x))  # (B, 256, e)
            x = ops.reshape(x, (-1, side, side, width))  # (B, 16, 16, e)
        x = ops.space_to_depth(x, 2)  # (B, 8, 8, 4e)
        x = leaky_relu(self.head_conv_2(self.head_conv_1(x)))  # (B, 8, 8, o1)
        return ops.reshape(self.to_logits(x), (-1, LOGITS))  # (B, 25)

    def compute_output_shape(self, input_shape):
        return input_shape[0], LOGITS

    def get_config(self):
        return {
            **super().get_config(),
            "resolution": self.resolution,
            "widths": self.widths,
            "out_widths": self.out_widths,
            "num_heads": self.num_heads,
            "mlp_width": self.mlp_width,
            "score": self.score,
            "ladaformer": self.ladaformer,
            "scale_cue": self.scale_cue,
            "norm": self.norm,
        }
