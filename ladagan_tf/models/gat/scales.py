"""CAT's discriminator (arXiv 2605.26449): every output of the generator judged at its own scale.

*Unconfirmed*: no official code is public. Parameters and multiply-adds of the generator follow from
the published numbers; this discriminator is a third party's reading (VAE-Traversals).
"""

import keras
from keras import ops

from ladagan_tf.models.checks import check
from ladagan_tf.models.gat.initializers import normal
from ladagan_tf.models.gat.networks import GatDiscriminator


@keras.saving.register_keras_serializable(package="ladagan_tf")
class CatDiscriminator(GatDiscriminator):
    """GAT's discriminator on K scales of a sample, without exchange between them: K logits.

    Scale k of K has 2^(k - K) of the latents' side. One embedding makes patches of all scales; each
    has positions and rotations of its own grid, a learned vector that is added to all its tokens,
    and its own cls token. The blocks, GAT's, are run on one scale after the other, which is one run
    on all tokens with a block-diagonal mask, for less. The alignment head reads the last scale.

    Args:
        levels: int, K. Side and patch must allow K - 1 halvings.
        others: see `GatDiscriminator`.

    Call arguments:
        levels: list of K float tensors (B, s_k, s_k, channels), s_k = S 2^(k - K), the smallest
            first.
        labels: int tensor (B,), classes in [0, num_classes).
        return_features: bool, return the alignment head's predictions too.
        featured: int, of the first so many samples; None: of all.

    Returns:
        Float32 logits (B, K), higher for real; or those, predicted features (B, teacher_dim) of the
        whole image and (B, T, teacher_dim) of its patches, row by row.

    Raises:
        ValueError: as of `GatDiscriminator`; or unless there are K scales.
    """

    paper = "CAT"

    @property
    def grids(self):
        return tuple(self.grid // 2**halvings for halvings in reversed(range(self.levels)))

    @property
    def seen_channels(self):
        return self.channels

    @property
    def token_weights(self):
        return [*self.tables, *self.scale_vectors, *self.cls]

    def _add_tokens(self):
        smallest = self.patch * 2 ** (self.levels - 1)
        check(
            self.latent_size % smallest == 0,
            f"levels={self.levels}: the latent_size {self.latent_size} is no multiple of "
            f"patch={self.patch} times 2^{self.levels - 1}, as the smallest scale needs",
        )
        scales = list(enumerate(self.grids))
        self.tables = [self._add_positions(grid, f"positions_{k}") for k, grid in scales]
        self.scale_vectors, self.cls = (
            [self.add_weight((1, self.width), normal(), name=f"{name}_{k}", autocast=False)
             for k, _ in scales]
            for name in ("scale", "cls")
        )  # fmt: skip

    def call(self, levels, labels, return_features=False, featured=None):
        check(len(levels) == self.levels, f"{len(levels)} scales given, of levels={self.levels}")
        check(
            self.projector or not return_features,
            "return_features=True: teacher_dim=None made this discriminator without features",
        )
        vectors = self.class_vectors(labels)  # (B, class_dim)
        *coarse, finest = self.embed(levels)
        logits = [self._judge(x, vectors) for x in coarse]  # (B, 1) each
        if not return_features:
            return ops.concatenate([*logits, self._judge(finest, vectors)], axis=-1)  # (B, K)
        last, *features = self._judge(finest, vectors, return_features, featured)
        return ops.concatenate([*logits, last], axis=-1), *features

    def embed(self, levels):
        """What the first block reads of each scale, K times (B, 1 + T_k, C)."""
        own = zip(levels, self.tables, self.cls, self.scale_vectors, strict=True)
        return [self._tokens(x, table, cls) + vector for x, table, cls, vector in own]

    def compute_output_shape(self, levels_shape, labels_shape=None):
        return levels_shape[0][0], self.levels
