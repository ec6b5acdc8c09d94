"""LadaGAN's generator and discriminator (arXiv 2401.09596, Sec. III)."""

import keras
from keras import ops

from ladagan_tf.models.layers import (
    DownBlock,
    Ladaformer,
    PositionEmbedding,
    UpBlock,
    conv,
    leaky_relu,
)
from ladagan_tf.models.norms import dense
from ladagan_tf.models.sizes import check, check_resolution, check_widths

GRID = (8, 16, 32)  # side of the token grid of each generator block
DISCRIMINATOR_GRID = 16
LOGITS = 25


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Generator(keras.Model):
    """LadaGAN generator: latents to images in one pass (Sec. III-B, spec 1.4).

    Three modulated Ladaformer blocks on 8x8, 16x16 and 32x32 tokens, joined by pixel shuffle and a
    3x3 convolution; then a head: for `decoder_widths=()` pixel shuffle straight to the resolution
    (patch head), else one up-sampling convolution stage per entry (convolutional decoder).

    Args:
        resolution: int, side of the images: 32, 64, 128 or 256.
        noise_dim: int, size Z of the latent.
        widths: 3 ints, token widths D of the three blocks. The first two must be multiples of 4,
            and the last of (resolution / 32)^2 under a patch head.
        num_heads: 3 ints, each dividing its width.
        mlp_widths: 3 ints, hidden units of the blocks' MLPs.
        decoder_widths: channels of the decoder stages, log2(resolution / 32) of them, or empty.
        score: "full" or "per_head", see `AdditiveAttention`.
        dtype: Keras dtype policy; the image convolution always computes in float32.

    Call arguments:
        z: float tensor (B, Z), standard normal latents.
        training: bool, the decoder's batch norms use (and update with) batch statistics.

    Returns:
        Float32 images (B, resolution, resolution, 3), nominally in [-1, 1] but not clipped: the
        network has no final activation.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted.
    """

    def __init__(
        self,
        resolution=32,
        noise_dim=128,
        widths=(1024, 256, 64),
        num_heads=(4, 4, 4),
        mlp_widths=(512, 512, 512),
        decoder_widths=(),
        score="full",
        **kwargs,
    ):
        kwargs.setdefault("name", "generator")
        super().__init__(**kwargs)
        self.resolution = resolution
        self.noise_dim = noise_dim
        self.widths = tuple(widths)
        self.num_heads = tuple(num_heads)
        self.mlp_widths = tuple(mlp_widths)
        self.decoder_widths = tuple(decoder_widths)
        self.score = score
        self._check_sizes()

        policy = self.dtype_policy
        self.latent_to_tokens = dense(
            GRID[0] ** 2 * self.widths[0], policy, "latent_to_tokens", use_bias=False
        )
        # Empty lists first: Keras tracks layers, and the summary shows them, in order of appending.
        self.positions, self.blocks, self.convs = [], [], []
        for i, side in enumerate(GRID):
            self.positions.append(PositionEmbedding(dtype=policy, name=f"positions_{side}"))
            self.blocks.append(
                Ladaformer(
                    self.mlp_widths[i],
                    self.num_heads[i],
                    modulated=True,
                    score=score,
                    dtype=policy,
                    name=f"block_{side}",
                )
            )
            if i + 1 < len(GRID):
                self.convs.append(
                    conv(self.widths[i + 1], 3, policy, f"conv_{2 * side}", use_bias=True)
                )
        self.decoder = [
            UpBlock(width, dtype=policy, name=f"decoder_{2 * GRID[-1] * 2**i}")
            for i, width in enumerate(self.decoder_widths)
        ]
        self.to_rgb = conv(3, 3, "float32", "to_rgb", use_bias=True)
        self.build((None, noise_dim))

    def _check_sizes(self):
        check_resolution(self.resolution)
        for field in ("widths", "num_heads", "mlp_widths"):
            check_widths(field, getattr(self, field), 3, "(one per block)")
        for width, heads in zip(self.widths, self.num_heads, strict=True):
            check(
                width % heads == 0,
                f"num_heads={list(self.num_heads)}: {heads} does not divide the width {width}",
            )
        for width in self.widths[:2]:
            check(width % 4 == 0, f"widths={list(self.widths)}: {width} is not a multiple of 4")
        factor = self.resolution // GRID[-1]
        if self.decoder_widths:
            check_widths(
                "decoder_widths",
                self.decoder_widths,
                factor.bit_length() - 1,
                f"(one per doubling from {GRID[-1]} to resolution {self.resolution}), or none",
            )
        else:
            check(
                self.widths[-1] % factor**2 == 0,
                f"widths={list(self.widths)}: the patch head of resolution {self.resolution} needs "
                f"a last width that is a multiple of {factor**2}",
            )

    def build(self, input_shape):
        if self.built:
            return
        self.latent_to_tokens.build(input_shape)
        for i, side in enumerate(GRID):
            tokens = (None, side**2, self.widths[i])
            self.positions[i].build(tokens)
            self.blocks[i].build(tokens, input_shape)
            if i < len(self.convs):
                self.convs[i].build((None, 2 * side, 2 * side, self.widths[i] // 4))
        side, channels = GRID[-1], self.widths[-1]
        for stage in self.decoder:
            stage.build((None, side, side, channels))
            side, channels = 2 * side, stage.filters
        factor = self.resolution // side  # 1 behind a decoder
        self.to_rgb.build((None, self.resolution, self.resolution, channels // factor**2))
        self.built = True

    def call(self, z, training=False):
        return self._forward(z, training)[0]

    def attention_maps(self, z):
        """Images and where the generator looks, with moving statistics as at inference.

        Args:
            z: float tensor (B, Z).

        Returns:
            Images (B, resolution, resolution, 3) and a list of three attention maps (B, H, N) for
            the 8x8, 16x16 and 32x32 tokens, row by row; each map sums to 1 over N.
        """
        return self._forward(ops.cast(z, self.compute_dtype), training=False)

    def _forward(self, z, training):
        maps = []
        x = self.latent_to_tokens(z)  # (B, 64 D0)
        x = ops.reshape(x, (-1, GRID[0] ** 2, self.widths[0]))  # (B, 64, D0)
        for i, side in enumerate(GRID):
            x, weights = self.blocks[i](self.positions[i](x), z)  # (B, N, D), (B, H, N)
            maps.append(weights)
            x = ops.reshape(x, (-1, side, side, self.widths[i]))
            if i < len(self.convs):
                x = self.convs[i](ops.depth_to_space(x, 2))  # (B, 2 side, 2 side, D')
                x = ops.reshape(x, (-1, 4 * side**2, self.widths[i + 1]))
        for stage in self.decoder:
            x = stage(x, training=training)
        factor = self.resolution // x.shape[1]
        if factor > 1:
            x = ops.depth_to_space(x, factor)  # (B, S, S, D2 / factor^2)
        return self.to_rgb(x), maps  # (B, S, S, 3)

    def compute_output_shape(self, input_shape):
        return input_shape[0], self.resolution, self.resolution, 3

    def get_config(self):
        return {
            **super().get_config(),
            "resolution": self.resolution,
            "noise_dim": self.noise_dim,
            "widths": self.widths,
            "num_heads": self.num_heads,
            "mlp_widths": self.mlp_widths,
            "decoder_widths": self.decoder_widths,
            "score": self.score,
        }


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Discriminator(keras.Model):
    """LadaGAN discriminator: images to 25 patch logits (Sec. III-C, spec 1.5).

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

        policy = self.dtype_policy
        self.from_rgb = conv(self.widths[0], 3, policy, "from_rgb")
        self.down_blocks = [
            DownBlock(width, dtype=policy, name=f"down_{resolution >> (i + 1)}")
            for i, width in enumerate(self.widths[1:])
        ]
        self.positions = PositionEmbedding(dtype=policy, name="positions_16")
        self.block = Ladaformer(mlp_width, num_heads, score=score, dtype=policy, name="block_16")
        self.head_conv_1 = conv(self.out_widths[0], 3, policy, "head_conv_1", use_bias=True)
        self.head_conv_2 = conv(self.out_widths[1], 1, policy, "head_conv_2")
        self.to_logits = conv(1, 4, "float32", "to_logits", padding="valid")
        self.build((None, resolution, resolution, 3))

    def build(self, input_shape):
        if self.built:
            return
        side = self.resolution
        self.from_rgb.build(input_shape)
        for width, block in zip(self.widths, self.down_blocks, strict=False):
            block.build((None, side, side, width))
            side //= 2
        tokens = (None, DISCRIMINATOR_GRID**2, self.widths[-1])
        self.positions.build(tokens)
        self.block.build(tokens)
        side //= 2
        self.head_conv_1.build((None, side, side, 4 * self.widths[-1]))
        self.head_conv_2.build((None, side, side, self.out_widths[0]))
        self.to_logits.build((None, side, side, self.out_widths[1]))
        self.built = True

    def call(self, images, training=False):
        x = leaky_relu(self.from_rgb(images))  # (B, S, S, e0)
        for block in self.down_blocks:
            x = block(x, training=training)  # (B, 16, 16, e) after the last
        side, width = DISCRIMINATOR_GRID, self.widths[-1]
        x = ops.reshape(x, (-1, side**2, width))  # (B, 256, e)
        x, _ = self.block(self.positions(x))  # (B, 256, e)
        x = ops.space_to_depth(ops.reshape(x, (-1, side, side, width)), 2)  # (B, 8, 8, 4e)
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
        }
