"""LadaGAN's discriminator (arXiv 2401.09596, Sec. III-C)."""

import math

import keras
from keras import ops

from ladagan_tf.models.checks import check, check_positive, check_shape, check_widths
from ladagan_tf.models.classes import ClassTable
from ladagan_tf.models.lada.ladaformer import Ladaformer
from ladagan_tf.models.lada.layers import DownBlock, PositionEmbedding, he_normal, leaky_relu
from ladagan_tf.models.lada.sizes import (
    CLASS_HEADS,
    NORMS,
    check_depths,
    check_kernel,
    check_labels,
    check_num_classes,
    check_resolution,
    repeated,
)
from ladagan_tf.models.orthogonal import dense, square_conv

DISCRIMINATOR_GRID = 16
LOGITS = 25
HEAD_KERNEL = 4
EMBEDDING = 128  # numbers of a class's vector in the head "pure"


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Discriminator(keras.Model):
    """LadaGAN discriminator: images to 25 patch logits (Sec. III-C).

    A convolution, residual down blocks to 16x16, a Ladaformer block, pixel unshuffle to 8x8 and a
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
        positional: bool, those positions; in the paper there are.
        depth: int, such blocks after each other, 1 in the paper, at most 100.
        conv_kernel: int, side of the down blocks' larger convolutions, 3 in the paper; odd, at most
            31.
        scale_cue: bool, a fourth input channel of ones. Without it everything before the first
            batch norm is homogeneous: D cannot see how large the values of a whole batch are.
        norm: "batch", "none" or "group", of the down blocks; see `DownBlock`.
        num_classes: int; 0 for an unconditional discriminator.
        class_head: what a class adds (ours; the paper has none). A second 4x4 convolution makes a
            vector u_p of d = `class_dim` numbers of each of the 25 patches p, and the logit is

            - "projection" (Miyato and Koyama 2018, at each patch): a_p + <V_y, u_p> / sqrt(d), of
              the unconditional logit a_p and a vector V_y of the class, which starts at zero;
            - "pooled": a_p + <V_y, mean of all u_p> / sqrt(d);
            - "pure" (Projected GAN, arXiv 2111.01007; R3GAN): <C_y, u_p> / sqrt(d) alone, with
              C_y = leaky ReLU(P E_y + b) of a vector E_y of 128 numbers, at first N(0, 1). There is
              no unconditional logit in it.
        class_dim: int, d.
        dtype: Keras dtype policy; the last convolutions and the classes always compute in float32.

    Call arguments:
        images: float tensor (B, resolution, resolution, 3) in [-1, 1].
        labels: int tensor (B,), classes in [0, num_classes); only when conditional.
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
        num_classes=0,
        class_head="projection",
        class_dim=64,
        depth=1,
        conv_kernel=3,
        positional=True,
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
        self.num_classes = num_classes
        self.class_head = class_head
        self.class_dim = class_dim
        self.depth = depth
        self.conv_kernel = conv_kernel
        self.positional = positional
        check_resolution(resolution)
        check_num_classes(num_classes)
        check(
            class_head in CLASS_HEADS,
            f"class_head={class_head!r} is not one of {', '.join(CLASS_HEADS)}",
        )
        check_positive(class_dim=class_dim)
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
        check_positive(mlp_width=mlp_width, depth=depth)
        check(ladaformer or depth == 1, f"depth={depth} with ladaformer=False: there are no blocks")
        check_depths(depth=depth)
        check_kernel(conv_kernel)
        check(norm in NORMS, f"norm={norm!r} is not one of {', '.join(NORMS)}")

        policy = self.dtype_policy
        start = {"kernel": he_normal()} if norm == "none" else {}
        self.from_rgb = square_conv(self.widths[0], 3, policy, "from_rgb", **start)
        self.down_blocks = [
            DownBlock(width, norm, conv_kernel, dtype=policy, name=f"down_{resolution >> (i + 1)}")
            for i, width in enumerate(self.widths[1:])
        ]
        if ladaformer:
            if positional:
                self.positions = PositionEmbedding(dtype=policy, name="positions_16")
            sizes = {"num_heads": num_heads, "score": score, "dtype": policy}
            blocks = [Ladaformer(mlp_width, **sizes, name=n) for n in repeated("block_16", depth)]
            # Not one list: .keras files of the paper's network name this attribute.
            self.block, self.further_blocks = blocks[0], blocks[1:]
        self.head_conv_1 = square_conv(self.out_widths[0], 3, policy, "head_conv_1", use_bias=True)
        self.head_conv_2 = square_conv(self.out_widths[1], 1, policy, "head_conv_2")
        last = {"size": HEAD_KERNEL, "dtype": "float32", "padding": "valid"}
        if not self.pure:
            self.to_logits = square_conv(1, name="to_logits", **last)
        if num_classes:
            self.to_class = square_conv(class_dim, name="to_class", **last)
            width, start = (EMBEDDING, 1.0) if self.pure else (class_dim, 0.0)
            self.classes = ClassTable(num_classes, width, start, dtype="float32", name="classes")
        if self.pure:
            self.embed = dense(class_dim, "float32", "embed", leaky_relu)
        self.build((None, resolution, resolution, 3), *([(None,)] if num_classes else []))

    @property
    def pure(self):
        """Whether logits are of nothing but how well image and class belong together."""
        return self.num_classes > 0 and self.class_head == "pure"

    @property
    def blocks(self):
        """The Ladaformers in their order: a list, empty without them."""
        return [self.block, *self.further_blocks] if self.ladaformer else []

    @property
    def stages(self):
        """What comes before the head, from the image on: dict, name of a block -> its weights."""
        layers = (self.from_rgb, *self.down_blocks, *self.blocks)
        parts = {layer.name: layer.weights for layer in layers}
        if self.ladaformer and self.positional:
            parts[self.block.name] = [*self.positions.weights, *self.block.weights]
        return parts

    def build(self, input_shape, labels_shape=None):
        if self.built:
            return
        side = self.resolution
        channels = 4 if self.scale_cue else 3
        self.from_rgb.build((*input_shape[:-1], channels))
        for width, block in zip(self.widths, self.down_blocks, strict=False):
            block.build((None, side, side, width))
            side //= 2
        tokens = (None, DISCRIMINATOR_GRID**2, self.widths[-1])
        if self.ladaformer and self.positional:
            self.positions.build(tokens)
        for block in self.blocks:
            block.build(tokens)
        side //= 2
        self.head_conv_1.build((None, side, side, 4 * self.widths[-1]))
        self.head_conv_2.build((None, side, side, self.out_widths[0]))
        for layer in ("to_logits", "to_class"):
            if hasattr(self, layer):
                getattr(self, layer).build((None, side, side, self.out_widths[1]))
        if self.num_classes:
            self.classes.build(labels_shape)
        if self.pure:
            self.embed.build((None, EMBEDDING))
        self.built = True

    def call(self, images, labels=None, training=False):
        check_labels(self, labels)
        check_shape("images", images, self.resolution, self.resolution, 3)
        if self.scale_cue:
            images = ops.concatenate([images, ops.ones_like(images[..., :1])], axis=3)
        x = leaky_relu(self.from_rgb(images))  # (B, S, S, e0)
        for block in self.down_blocks:
            x = block(x, training=training)  # (B, 16, 16, e) after the last
        if self.ladaformer:
            side, width = DISCRIMINATOR_GRID, self.widths[-1]
            x = ops.reshape(x, (-1, side**2, width))  # (B, 256, e)
            x = self.positions(x) if self.positional else x  # (B, 256, e)
            for block in self.blocks:
                x, _ = block(x)  # (B, 256, e)
            x = ops.reshape(x, (-1, side, side, width))  # (B, 16, 16, e)
        x = ops.space_to_depth(x, 2)  # (B, 8, 8, 4e)
        x = leaky_relu(self.head_conv_2(self.head_conv_1(x)))  # (B, 8, 8, o1)
        logits = 0.0 if self.pure else ops.reshape(self.to_logits(x), (-1, LOGITS))  # (B, 25)
        return logits + self._belonging(x, labels) if self.num_classes else logits

    def _belonging(self, x, labels):
        """How well features (B, 8, 8, o1) belong to labels (B,): (B, 25), or (B, 1) if pooled."""
        patches = ops.reshape(self.to_class(x), (-1, LOGITS, self.class_dim))  # (B, 25, d)
        if self.class_head == "pooled":
            patches = ops.mean(patches, axis=1, keepdims=True)  # (B, 1, d)
        vectors = self.classes(labels)  # (B, d), or (B, 128) if pure
        if self.pure:
            vectors = self.embed(vectors)  # (B, d)
        products = ops.matmul(patches, ops.expand_dims(vectors, 2))  # (B, 25 or 1, 1)
        return ops.squeeze(products, 2) / math.sqrt(self.class_dim)

    def compute_output_shape(self, input_shape, labels_shape=None):
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
            "num_classes": self.num_classes,
            "class_head": self.class_head,
            "class_dim": self.class_dim,
            "depth": self.depth,
            "conv_kernel": self.conv_kernel,
            "positional": self.positional,
        }
