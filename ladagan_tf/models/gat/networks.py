"""GAT's generator and discriminator, transformers on a VAE's latents (arXiv 2509.24935).

With the other modulation the generator is CAT's; `models.gat.scales` has CAT's discriminator.
"""

import math
from collections.abc import Sequence

import keras
from keras import ops

from ladagan_tf.models.checks import check, check_positive, check_shape
from ladagan_tf.models.classes import ClassTable, checked_names
from ladagan_tf.models.gat.blocks import DiscriminatorBlock, GeneratorBlock, LevelHead
from ladagan_tf.models.gat.initializers import linear, normal
from ladagan_tf.models.gat.layers import EqualLinear, RMSNorm
from ladagan_tf.models.gat.mapping import Mapping
from ladagan_tf.models.gat.sizes import check_taps, evenly_spaced_taps
from ladagan_tf.models.gat.transformer import GatTransformer
from ladagan_tf.models.presets import FromPreset


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GatGenerator(FromPreset, GatTransformer):
    """GAT generator: noise and a class to latents, in `levels` cumulative outputs.

    A mapping network turns z and the class into a style. The tokens start as a fixed table of
    positions and pass `depth` blocks that the style scales and gates. Behind each of `levels`
    blocks a head adds its part to the latents: output k is the sum of the first k heads, the last
    one is the sample, the earlier ones are shown to the discriminator under noise.

    Args:
        latent_size: int, S, side of the latents: the images' side / 8 for the usual VAE.
        channels: int, of the latents.
        patch: int, p, side of one token's square of latents; divides S.
        width: int, C, a multiple of 4 times `num_heads`.
        depth: int, L, number of blocks.
        num_heads: int.
        num_classes: int.
        noise_dim: int, Z, size of z and of the class's vector.
        levels: int, K, number of outputs.
        taps: K block indices behind which the heads read, the last L - 1; None spaces them evenly,
            for which K must divide L.
        remat: bool, store only the blocks' inputs and compute the rest again to differentiate.
            TensorFlow then has no second derivatives, which the exact R1 and R2 need; JAX has.
        fused: bool, see `GatAttention`; of no meaning to additive attention.
        trainable_positions: bool, train the table of positions, as the official loop does in
            effect; the default keeps it fixed, as it was meant.
        official_guidance: bool, see `Mapping`.
        attention: "dot_product", GAT's own, or "additive", see `GatAdditiveAttention`, whose cost
            is linear in the number of tokens.
        modulation: "scale_gate", GAT's, or "shift_scale_gate", CAT's, see `GeneratorBlock`.
        class_names: what the classes are called, a text for each; empty if they have no names.
        dtype: Keras dtype policy; styles and latents are always computed in float32.

    Call arguments:
        z: float tensor (B, Z), standard normal noise.
        labels: int tensor (B,), classes in [0, num_classes).
        psi: float or scalar tensor, truncation: 1 none, 0 the class's mean style. (The official
            code counts the other way: its 0.3 is 0.7 here.)
        guidance: float or scalar tensor, 1 none; above 1 away from the mean over all classes.
        return_levels: bool, return all levels.

    Returns:
        Float32 latents (B, S, S, channels), on the scale that the VAE's are trained on, not
        clipped; or the list of K such tensors, the last of them the sample.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted.
    """

    makes_images = False
    truncates = guides = True  # its call takes psi and guidance

    def __init__(
        self,
        latent_size: int = 32,
        channels: int = 4,
        patch: int = 2,
        width: int = 768,
        depth: int = 12,
        num_heads: int = 12,
        num_classes: int = 1000,
        noise_dim: int = 64,
        levels: int = 4,
        taps: Sequence[int] | None = None,
        remat: bool = False,
        fused: bool = True,
        trainable_positions: bool = False,
        official_guidance: bool = False,
        attention: str = "dot_product",
        modulation: str = "scale_gate",
        class_names: Sequence[str] = (),
        **kwargs,
    ):
        kwargs.setdefault("name", "generator")
        super().__init__(
            latent_size=latent_size,
            channels=channels,
            patch=patch,
            width=width,
            depth=depth,
            num_heads=num_heads,
            num_classes=num_classes,
            remat=remat,
            fused=fused,
            trainable_positions=trainable_positions,
            attention=attention,
            **kwargs,
        )
        check_positive(num_classes=num_classes, levels=levels, noise_dim=noise_dim)
        self.levels = levels
        self.noise_dim = noise_dim
        self.taps = evenly_spaced_taps(depth, levels) if taps is None else tuple(taps)
        check_taps(self.taps, depth, levels)
        self.official_guidance = official_guidance
        self.modulation = modulation
        self.class_names = checked_names(class_names, num_classes)

        self.mapping = Mapping(
            num_classes, noise_dim, width, official_guidance, dtype=self.precise, name="mapping"
        )
        self.blocks = self._blocks(GeneratorBlock, modulation=modulation)
        head = {"modulation": modulation, "dtype": self.dtype_policy}
        self.heads = [
            LevelHead(self.grid, patch, channels, **head, name=f"head_{i}") for i in range(levels)
        ]
        self.build((None, noise_dim), (None,))

    @property
    def paper(self):
        """Whose generator this is."""
        return "GAT" if self.modulation == "scale_gate" else "CAT"

    @property
    def resolution(self):
        """Side of what is generated: of the latents, not of the decoded images."""
        return self.latent_size

    def build(self, z_shape, labels_shape):
        if self.built:
            return
        style_shape = (None, self.width)
        self.positions = self._add_positions(self.grid)
        self.mapping.build(z_shape, labels_shape)
        for layer in (*self.blocks, *self.heads):
            layer.build((None, self.grid**2, self.width), style_shape)
        self.built = True

    def call(self, z, labels, psi=1.0, guidance=1.0, return_levels=False):
        style = self.style(z, labels, psi, guidance)  # (B, C)
        levels = self.synthesize(style)  # K times (B, S, S, c)
        return levels if return_levels else levels[-1]

    def style(self, z, labels, psi=1.0, guidance=1.0):
        """Styles (B, C), what the call makes first, from its z, labels, psi and guidance."""
        return self.mapping(z, labels, psi=psi, guidance=guidance)

    @property
    def mean_style(self):
        """The mapping's weight (num_classes, C); training assigns `updated_mean_style` to it."""
        return self.mapping.mean_style

    def updated_mean_style(self, styles, labels, total=lambda sums: sums):
        """See `Mapping.updated_mean_style`."""
        return self.mapping.updated_mean_style(styles, labels, total)

    def synthesize(self, style):
        """All levels from styles.

        Args:
            style: float tensor (B, C).

        Returns:
            List of K float32 tensors (B, S, S, channels).
        """
        # One set of tokens for all samples, until the first block's gate tells them apart.
        x = ops.expand_dims(self.positions, 0)  # (1, T, C)
        latents, levels = 0.0, []
        for i, block in enumerate(self.blocks):
            x = self._run(block, x, style)  # (B, T, C)
            if i in self.taps:
                latents = latents + self.heads[len(levels)](x, style)  # (B, S, S, c)
                levels.append(latents)
        return levels

    def compute_output_shape(self, z_shape, labels_shape=None):
        return z_shape[0], self.latent_size, self.latent_size, self.channels

    def get_config(self):
        return {
            **super().get_config(),
            "levels": self.levels,
            "noise_dim": self.noise_dim,
            "taps": self.taps,
            "official_guidance": self.official_guidance,
            "modulation": self.modulation,
            "class_names": self.class_names,
        }


@keras.saving.register_keras_serializable(package="ladagan_tf")
class GatDiscriminator(GatTransformer):
    """GAT discriminator: all levels of one sample, side by side in the channels, to one logit.

    The logit is the inner product of an affine image of the cls token with a vector of the class,
    so it is about how well sample and class belong together. A head on the last tokens is trained
    to predict a frozen teacher's features of real images.

    Args:
        latent_size, channels, patch, width, depth, num_heads, num_classes, levels, remat, fused,
            trainable_positions, attention: as of `GatGenerator`.
        class_dim: int, size of the class's vector.
        projector_dim: int, hidden units of the alignment head.
        teacher_dim: int, the teacher's features; None for no alignment head.
        dtype: Keras dtype policy; class vectors and logits are always computed in float32.

    Call arguments:
        levels: float tensor (B, S, S, levels * channels), the noisiest level first; or the list of
            its levels (B, S, S, channels).
        labels: int tensor (B,), classes in [0, num_classes).
        return_features: bool, return the alignment head's predictions too.
        featured: int, of the first so many samples; None: of all.

    Returns:
        Float32 logits (B, 1), higher for real; or those, predicted features (B, teacher_dim) of the
        whole image and (B, T, teacher_dim) of its patches, row by row.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted; or
            if features are asked for without an alignment head.
    """

    def __init__(
        self,
        latent_size=32,
        channels=4,
        patch=2,
        width=768,
        depth=12,
        num_heads=12,
        num_classes=1000,
        levels=4,
        class_dim=2048,
        projector_dim=2048,
        teacher_dim=768,
        remat=False,
        fused=True,
        trainable_positions=False,
        attention="dot_product",
        **kwargs,
    ):
        kwargs.setdefault("name", "discriminator")
        super().__init__(
            latent_size=latent_size,
            channels=channels,
            patch=patch,
            width=width,
            depth=depth,
            num_heads=num_heads,
            num_classes=num_classes,
            remat=remat,
            fused=fused,
            trainable_positions=trainable_positions,
            attention=attention,
            **kwargs,
        )
        check_positive(num_classes=num_classes, levels=levels)
        check_positive(class_dim=class_dim, projector_dim=projector_dim)
        if teacher_dim is not None:
            check_positive(teacher_dim=teacher_dim)
        self.levels = levels
        self.class_dim = class_dim
        self.projector_dim = projector_dim
        self.teacher_dim = teacher_dim

        policy, precise = self.dtype_policy, self.precise
        self.to_tokens = linear(width, policy, "to_tokens")
        self.blocks = self._blocks(DiscriminatorBlock)
        self.norm = RMSNorm(dtype=precise, name="norm")
        self.to_class = linear(class_dim, precise, "to_class")
        self.classes = ClassTable(num_classes, class_dim, dtype=precise, name="classes")
        self.class_1 = EqualLinear(class_dim, dtype=precise, name="class_1")
        self.class_2 = EqualLinear(class_dim, dtype=precise, name="class_2")
        outputs = () if teacher_dim is None else (projector_dim, projector_dim, teacher_dim)
        self.projector = [linear(n, policy, f"projector_{i}") for i, n in enumerate(outputs)]
        self.build((None, latent_size, latent_size, self.seen_channels), (None,))

    paper = "GAT"

    @property
    def grids(self):
        """Sides of the grids of tokens that the blocks are run on, one after the other: tuple."""
        return (self.grid,)

    @property
    def seen_channels(self):
        """Channels of what one token is a square of."""
        return self.levels * self.channels

    @property
    def stages(self):
        """What comes before the head: dict from a block's name to its weights, from the latents on.

        The first one makes the tokens: with their positions and the cls token.
        """
        first = [*self.to_tokens.weights, *self.token_weights]
        return {"to_tokens": first} | {block.name: block.weights for block in self.blocks}

    def build(self, levels_shape, labels_shape):
        if self.built:
            return
        tokens = (None, self.grid**2 + 1, self.width)
        self._add_tokens()
        self.to_tokens.build((None, self.grid**2, self.patch**2 * self.seen_channels))
        for layer in (*self.blocks, self.norm):
            layer.build(tokens)
        self.to_class.build((None, self.width))
        self.classes.build(labels_shape)
        for layer in (self.class_1, self.class_2):
            layer.build((None, self.class_dim))
        inputs = (self.width, self.projector_dim, self.projector_dim)
        for layer, width in zip(self.projector, inputs, strict=False):
            layer.build((None, self.grid**2 + 1, width))
        self.built = True

    @property
    def token_weights(self):
        """The weights of `_add_tokens`."""
        return [self.positions, self.cls]

    def _add_tokens(self):
        """The weights of what the first block reads, beside the embedding's."""
        self.positions = self._add_positions(self.grid)
        self.cls = self.add_weight((1, self.width), normal(), name="cls", autocast=False)

    def call(self, levels, labels, return_features=False, featured=None):
        check(
            self.projector or not return_features,
            "return_features=True: teacher_dim=None made this discriminator without features",
        )
        vectors = self.class_vectors(labels)
        return self._judge(self.embed(levels), vectors, return_features, featured)

    def _judge(self, x, class_vectors, return_features=False, featured=None):
        """Logits, and features, of what `embed` returned, by the classes' vectors."""
        for block in self.blocks:
            x = self._run(block, x)  # (B, 1 + T, C)
        cls = self.to_class(self.norm(x[:, 0]))  # (B, class_dim)
        logits = ops.sum(cls * class_vectors, axis=-1, keepdims=True)  # (B, 1)
        if not return_features:
            return logits
        x = x[:featured]
        *hidden, last = self.projector  # it reads the tokens as they are, before the norm
        for layer in hidden:
            x = ops.silu(layer(x))  # (B, 1 + T, projector_dim)
        features = ops.cast(last(x), self.precise)  # (B, 1 + T, teacher_dim)
        return logits, features[:, 0], features[:, 1:]

    def embed(self, levels):
        """What the first block reads: the cls token, then the patches with their positions."""
        x = ops.concatenate(levels, axis=-1) if isinstance(levels, list | tuple) else levels
        return self._tokens(x, self.positions, self.cls)

    def _tokens(self, x, positions, cls):
        """A cls token (1, C) and the patches of x (B, s, s, c) at their positions (T, C)."""
        side = self.patch * math.isqrt(positions.shape[0])
        check_shape("levels", x, side, side, x.shape[-1])
        if self.patch > 1:  # TensorFlow's function refuses 1
            x = ops.space_to_depth(x, self.patch)  # (B, g, g, p p c)
        x = ops.reshape(x, (-1, positions.shape[0], x.shape[-1]))  # (B, T, p p c)
        x = ops.cast(self.to_tokens(x), self.precise)  # (B, T, C)
        x = x + ops.cast(positions, x.dtype)  # (B, T, C)
        cls = ops.broadcast_to(ops.cast(cls, x.dtype), (ops.shape(x)[0], 1, self.width))
        return ops.concatenate([cls, x], axis=1)  # (B, 1 + T, C)

    def class_vectors(self, labels):
        """The vectors (B, class_dim) that logits are inner products with."""
        return self.class_2(ops.silu(self.class_1(self.classes(labels))))

    def compute_output_shape(self, levels_shape, labels_shape=None):
        return levels_shape[0], 1

    def get_config(self):
        return {
            **super().get_config(),
            "levels": self.levels,
            "class_dim": self.class_dim,
            "projector_dim": self.projector_dim,
            "teacher_dim": self.teacher_dim,
        }
