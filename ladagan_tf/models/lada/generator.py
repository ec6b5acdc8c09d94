"""LadaGAN's generator (arXiv 2401.09596, Sec. III-B), with the switches of its ablation."""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.checks import check, check_positive, check_shape, check_widths, is_one
from ladagan_tf.models.classes import (
    ClassTable,
    check_one_each,
    checked_names,
    rms_normalize,
)
from ladagan_tf.models.lada.ladaformer import Ladaformer
from ladagan_tf.models.lada.layers import PositionEmbedding, UpBlock
from ladagan_tf.models.lada.norms import relu_of_sum
from ladagan_tf.models.lada.sizes import (
    OUTPUTS,
    check_depths,
    check_kernel,
    check_labels,
    check_num_classes,
    check_resolution,
    repeated,
)
from ladagan_tf.models.orthogonal import dense, square_conv, zero_dense
from ladagan_tf.models.presets import FromPreset

GRID = (8, 16, 32)  # side of the token grid of each generator block
MAPPING_LAYERS = 2
MEAN_LATENTS = 1024  # what a mean style is the mean of
CLASS_EPSILON = 1e-8
SOFT_EDGE = 0.1  # how far "softclip" lets a value go beyond [-1, 1]


def soft_clip(x):
    """x within [-1, 1]; beyond, it bends smoothly and stays below 1 + SOFT_EDGE."""
    inside = ops.clip(x, -1.0, 1.0)
    return inside + SOFT_EDGE * ops.tanh((x - inside) / SOFT_EDGE)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Generator(FromPreset, keras.Model):
    """LadaGAN generator: latents to images in one pass (Sec. III-B).

    Modulated Ladaformer blocks on 8x8, 16x16 and 32x32 tokens, one on each in the paper, joined by
    pixel shuffle and a 3x3 convolution; then a head: for `decoder_widths=()` pixel shuffle straight
    to the resolution (patch head), else one up-sampling convolution stage per entry (convolutional
    decoder).

    Args:
        resolution: int, side of the images: 32, 64, 128 or 256.
        noise_dim: int, size Z of the latent.
        widths: 3 ints, token widths D on the three grids. The first two must be multiples of 4,
            and the last of (resolution / 32)^2 under a patch head.
        num_heads: 3 ints, each dividing its width.
        mlp_widths: 3 ints, hidden units of the blocks' MLPs.
        depths: 3 ints, blocks after each other on each grid, 1 in the paper, at most 100. All of a
            grid have its width, heads and MLP; positions are added before the first.
        decoder_widths: channels of the decoder stages, log2(resolution / 32) of them, or empty.
        score: "full" or "per_head", see `AdditiveAttention`.
        attention: the blocks' attention, one of `models.attention.ATTENTIONS`.
        rank: int, see `LinformerAttention`.
        window: int, see `SwinAttention`.
        attention_residual, mlp_residual: bools, see `Ladaformer`.
        positional: bool, the positions; in the paper there are.
        modulation: what the norms of the blocks read: "sln", each the latent through an MLP of its
            own; "vitgan_sln", all a latent that one mapping network of two dense layers made
            (ViTGAN, arXiv 2107.04589, Eq. 20); "layer_norm", nothing. The latent always becomes the
            first tokens too.
        conv: bool, the convolutions between the grids. Without them a width must be a quarter of
            the one before, which is what the pixel shuffle leaves.
        conv_kernel: int, their side, 3 in the paper; odd, at most 31.
        output_range: what pixels go through: "linear", nothing (paper); "tanh"; or "softclip", see
            `soft_clip`. Linear ones are kept in [-1, 1] by nothing but D, whose batch norms hide
            the common scale of a batch.
        num_classes: int; 0 for an unconditional generator. Otherwise each class has a vector, which
            is brought to the length of a latent: r = E / sqrt(mean(E^2) + 1e-8). With "sln" the
            hidden layer of each norm reads it beside the latent; with "vitgan_sln" the first layer
            of the mapping does. All weights that read it start at zero: at first each class has the
            images of the unconditional generator. (Ours; the paper has no classes.)
        class_tokens: bool, the first tokens read the class too; a way without modulation.
        class_names: what the classes are called, a text for each; empty if they have no names.
        dtype: Keras dtype policy; the image convolution always computes in float32, as do the
            classes' vectors.

    Call arguments:
        z: float tensor (B, Z), standard normal latents.
        labels: int tensor (B,), classes in [0, num_classes); only when conditional.
        training: bool, the decoder's batch norms use (and update with) batch statistics.
        psi: float or scalar tensor, truncation of what "vitgan_sln" maps, from 1 (none) to 0 (its
            mean over `MEAN_LATENTS` fixed latents, for each class). The first tokens still are of
            z: `sampling.seeds.latents` truncates that.

    Returns:
        Float32 images (B, resolution, resolution, 3), nominally in [-1, 1] but not clipped: the
        network has no final activation.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted.
    """

    paper = "LadaGAN"

    def __init__(
        self,
        resolution: int = 32,
        noise_dim: int = 128,
        widths: Sequence[int] = (1024, 256, 64),
        num_heads: Sequence[int] = (4, 4, 4),
        mlp_widths: Sequence[int] = (512, 512, 512),
        decoder_widths: Sequence[int] = (),
        score: str = "full",
        attention: str = "additive",
        rank: int = 64,
        window: int = 8,
        attention_residual: bool = True,
        mlp_residual: bool = False,
        modulation: str = "sln",
        conv: bool = True,
        output_range: str = "linear",
        num_classes: int = 0,
        class_tokens: bool = False,
        class_names: Sequence[str] = (),
        depths: Sequence[int] = (1, 1, 1),
        conv_kernel: int = 3,
        positional: bool = True,
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
        self.attention = attention
        self.rank = rank
        self.window = window
        self.attention_residual = attention_residual
        self.mlp_residual = mlp_residual
        self.modulation = modulation
        self.conv = conv
        self.output_range = output_range
        self.num_classes = num_classes
        self.class_tokens = class_tokens
        self.depths = tuple(depths)
        self.conv_kernel = conv_kernel
        self.positional = positional
        self._check_sizes()
        self._check_classes()
        self.class_names = checked_names(class_names, num_classes)

        policy = self.dtype_policy
        self.latent_to_tokens = dense(
            GRID[0] ** 2 * self.widths[0], policy, "latent_to_tokens", use_bias=False
        )
        mapped = MAPPING_LAYERS if modulation == "vitgan_sln" else 0
        self.mapping = [dense(noise_dim, policy, f"mapping_{i}") for i in range(mapped)]
        # Empty lists first: Keras tracks layers, and the summary shows them, in order of appending.
        self.positions, self.blocks, self.convs = [], [], []
        switches = {
            "modulation": modulation,
            "conditional": num_classes > 0 and modulation == "sln",
            "attention_residual": attention_residual,
            "mlp_residual": mlp_residual,
            "attention": attention,
            "score": score,
            "rank": rank,
            "window": window,
            "dtype": policy,
        }
        for i, side in enumerate(GRID):
            mlp_width, heads = self.mlp_widths[i], self.num_heads[i]
            if positional:
                self.positions.append(PositionEmbedding(dtype=policy, name=f"positions_{side}"))
            for name in repeated(f"block_{side}", self.depths[i]):
                self.blocks.append(Ladaformer(mlp_width, heads, **switches, name=name))
            if conv and i + 1 < len(GRID):
                width, name = self.widths[i + 1], f"conv_{2 * side}"
                self.convs.append(square_conv(width, conv_kernel, policy, name, use_bias=True))
        self.decoder = [
            UpBlock(width, dtype=policy, name=f"decoder_{2 * GRID[-1] * 2**i}")
            for i, width in enumerate(self.decoder_widths)
        ]
        self.to_rgb = square_conv(3, 3, "float32", "to_rgb", use_bias=True)
        if num_classes:
            self.classes = ClassTable(num_classes, noise_dim, dtype="float32", name="classes")
        if class_tokens:
            self.class_to_tokens = zero_dense(
                GRID[0] ** 2 * self.widths[0], policy, "class_to_tokens"
            )
        if num_classes and mapped:
            self.class_mapping = zero_dense(noise_dim, policy, "class_mapping")
        self.build((None, noise_dim), *([(None,)] if num_classes else []))

    def _check_sizes(self):
        check_resolution(self.resolution)
        check(
            self.output_range in OUTPUTS,
            f"output_range={self.output_range!r} is not one of {', '.join(OUTPUTS)}",
        )
        for field in ("widths", "num_heads", "mlp_widths", "depths"):
            check_widths(field, getattr(self, field), 3, "(for 8x8, 16x16 and 32x32 tokens)")
        check_positive(noise_dim=self.noise_dim)
        check_depths(depths=self.depths)
        check_kernel(self.conv_kernel)
        for width, heads in zip(self.widths, self.num_heads, strict=True):
            check(
                width % heads == 0,
                f"num_heads={list(self.num_heads)}: {heads} does not divide {width} of "
                f"widths={list(self.widths)}",
            )
        for width in self.widths[:2]:
            check(width % 4 == 0, f"widths={list(self.widths)}: {width} is not a multiple of 4")
        for width, following in zip(self.widths, self.widths[1:], strict=False):
            check(
                self.conv or 4 * following == width,
                f"conv=False with widths={list(self.widths)}: {following} is not a quarter of "
                f"{width}, which is what the pixel shuffle leaves",
            )
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

    def _check_classes(self):
        check_num_classes(self.num_classes)
        check(
            self.num_classes or not self.class_tokens,
            "class_tokens=True with num_classes=0: there are no classes to read",
        )
        check(
            self.modulation != "layer_norm" or self.class_tokens or not self.num_classes,
            f"num_classes={self.num_classes} with modulation='layer_norm': these norms read no "
            "class; give class_tokens=True, sln or vitgan_sln",
        )

    def build(self, input_shape, labels_shape=None):
        if self.built:
            return
        for layer in (self.latent_to_tokens, *self.mapping):
            layer.build(input_shape)
        for i, side in enumerate(GRID):
            tokens = (None, side**2, self.widths[i])
            if self.positional:
                self.positions[i].build(tokens)
            for block in self.blocks_of_grid(i):
                block.build(tokens, input_shape)
            if i < len(self.convs):
                self.convs[i].build((None, 2 * side, 2 * side, self.widths[i] // 4))
        side, channels = GRID[-1], self.widths[-1]
        for stage in self.decoder:
            stage.build((None, side, side, channels))
            side, channels = 2 * side, stage.filters
        factor = self.resolution // side  # 1 behind a decoder
        self.to_rgb.build((None, self.resolution, self.resolution, channels // factor**2))
        if self.num_classes:
            self.classes.build(labels_shape)
        if self.class_tokens:
            self.class_to_tokens.build(input_shape)
        if self.num_classes and self.mapping:
            self.class_mapping.build(input_shape)
        self.built = True

    def blocks_of_grid(self, i):
        """The Ladaformers on the tokens of `GRID[i]`, in their order: a list."""
        start = sum(self.depths[:i])
        return self.blocks[start : start + self.depths[i]]

    def call(self, z, labels=None, training=False, psi=1.0):
        return self._forward(z, labels, training, psi)[0]

    @property
    def truncates(self):
        """Whether there is a mean style, towards which psi truncates."""
        return bool(self.mapping)

    @property
    def has_attention_maps(self):
        """Whether the attention says where it looks."""
        return self.attention != "linformer"

    def attention_maps(self, z, labels=None, psi=1.0):
        """Images and where the generator looks, with moving statistics as at inference.

        Args:
            z: float tensor (B, Z).
            labels: int tensor (B,); only when conditional.
            psi: see the call.

        Returns:
            Images (B, resolution, resolution, 3) and a list of three attention maps (B, H, N) for
            the 8x8, 16x16 and 32x32 tokens, row by row, of the last block on each; each map sums to
            1 over N. Linformer has none, see `has_attention_maps`: the list holds None.
        """
        return self._forward(ops.cast(z, self.compute_dtype), labels, False, psi)

    def _class_vectors(self, labels):
        """r of some labels (B, Z), as long as a latent; None when unconditional."""
        check_labels(self, labels)
        if not self.num_classes:
            return None
        return rms_normalize(self.classes(labels), CLASS_EPSILON)  # (B, Z)

    def _style(self, z, r, psi):
        """What the norms read: the latent, or what the shared mapping makes of it, (B, Z)."""
        style = self._mapped(z, r)  # (B, Z)
        if is_one(psi):
            return style
        check(self.truncates, f"psi={psi}: only modulation='vitgan_sln' has a mean style")
        fixed = np.random.default_rng(0).standard_normal((1, MEAN_LATENTS, self.noise_dim))
        r = None if r is None else ops.expand_dims(r, 1)  # (B, 1, Z)
        mapped = self._mapped(ops.convert_to_tensor(fixed, z.dtype), r)  # (B or 1, M, Z)
        mean = ops.mean(mapped, axis=1)  # (B or 1, Z)
        return mean + ops.cast(psi, z.dtype) * (style - mean)  # (B, Z)

    def _mapped(self, z, r):
        """What the shared mapping makes of latents (..., Z), if there is one."""
        for i, layer in enumerate(self.mapping):
            added = self.class_mapping(r) if self.num_classes and i == 0 else None
            z = relu_of_sum(layer(z), added)  # (..., Z)
        return z

    def _forward(self, z, labels, training, psi):
        check_shape("z", z, self.noise_dim)
        maps, r = [], self._class_vectors(labels)
        if r is not None:
            check_one_each(r, z)
        x = self.latent_to_tokens(z)  # (B, 64 D0)
        if self.class_tokens:
            x = x + self.class_to_tokens(r)  # (B, 64 D0)
        x = ops.reshape(x, (-1, GRID[0] ** 2, self.widths[0]))  # (B, 64, D0)
        z = self._style(z, r, psi)  # (B, Z)
        for i, side in enumerate(GRID):
            x = self.positions[i](x) if self.positional else x  # (B, N, D)
            for block in self.blocks_of_grid(i):
                x, weights = block(x, z, r)  # (B, N, D), (B, H, N)
            maps.append(weights)
            x = ops.reshape(x, (-1, side, side, self.widths[i]))
            if i + 1 < len(GRID):
                x = ops.depth_to_space(x, 2)  # (B, 2 side, 2 side, D / 4)
                x = self.convs[i](x) if self.conv else x  # (B, 2 side, 2 side, D')
                x = ops.reshape(x, (-1, 4 * side**2, self.widths[i + 1]))
        for stage in self.decoder:
            x = stage(x, training=training)
        factor = self.resolution // x.shape[1]
        if factor > 1:
            x = ops.depth_to_space(x, factor)  # (B, S, S, D2 / factor^2)
        bounded = {"linear": lambda x: x, "tanh": ops.tanh, "softclip": soft_clip}
        return bounded[self.output_range](self.to_rgb(x)), maps  # (B, S, S, 3)

    def compute_output_shape(self, input_shape, labels_shape=None):
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
            "attention": self.attention,
            "rank": self.rank,
            "window": self.window,
            "attention_residual": self.attention_residual,
            "mlp_residual": self.mlp_residual,
            "modulation": self.modulation,
            "conv": self.conv,
            "output_range": self.output_range,
            "num_classes": self.num_classes,
            "class_tokens": self.class_tokens,
            "class_names": self.class_names,
            "depths": self.depths,
            "conv_kernel": self.conv_kernel,
            "positional": self.positional,
        }
