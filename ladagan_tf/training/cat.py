"""CAT's objective (arXiv 2605.26449), *unconfirmed*: no official code is public.

That the generator's stages are judged each at its own scale and pulled towards its last output is
the authors' page's; the terms are a third party's reading (VAE-Traversals), each an argument here.
With scale k of K, f = softplus and means over the batch,

    L_D = mean_k f(D_k(fake) - D_k(real)) + alignment(real, scale K) + gamma / 2 (R1 + R2)
    R1  = ((sum_k D_k(x + s e) - sum_k D_k(x)) / s)^2 at a share of the batch; R2 alike at fakes
    L_G = mean_k f(D_k(real) - D_k(fake)) + lambda L_cons
    L_cons = mean over k < K of w_k MSE(x_k, x_K), w_k = 1 / (K - k)
"""

import dataclasses

from keras import ops

from ladagan_tf.training import PYRAMIDS
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.latent_objective import SIGMA, LatentObjective, diagnostics
from ladagan_tf.training.latent_views import color_means, pyramid
from ladagan_tf.training.schedules import AS_CONFIGURED


def consistency(stages, weights=None, stop_anchor=True):
    """L_cons: how far the stages are from the last, their common anchor.

    Args:
        stages: float tensor (B, S, S, K, C), before any augmentation.
        weights: K - 1 floats w_k; None for 1 / (K - k).
        stop_anchor: bool, no gradient into the last stage.

    Returns:
        Scalar, mean over k of w_k times the mean squared difference; 0 of one stage.
    """
    count = stages.shape[3]
    if count == 1:
        return ops.zeros(())
    anchor = stages[:, :, :, -1:]  # (B, S, S, 1, C)
    if stop_anchor:
        anchor = ops.stop_gradient(anchor)
    weights = weights or [1.0 / (count - k) for k in range(1, count)]
    squares = ops.mean(ops.square(stages[:, :, :, :-1] - anchor), axis=(0, 1, 2, 4))  # (K - 1,)
    return ops.mean(ops.convert_to_tensor(weights, squares.dtype) * squares)


@dataclasses.dataclass(frozen=True)
class CatObjective(LatentObjective):
    """What CAT minimises in one step, see the module.

    Args:
        consistency_weight: float, lambda.
        consistency_weights: K - 1 floats w_k, the earliest stage's first; empty for 1 / (K - k).
        stop_anchor: bool, see `consistency`.
        kernel: "mean" or "bilinear", see `pyramid`.
        others: see `LatentObjective`.
    """

    r1_weight: float = 0.5
    r2_weight: float = 0.5
    penalty_every: int = 4
    consistency_weight: float = 0.1
    consistency_weights: tuple = ()
    stop_anchor: bool = True
    kernel: str = "mean"

    def __post_init__(self):
        super().__post_init__()
        if self.kernel not in PYRAMIDS:
            raise ValueError(f"kernel={self.kernel!r} is not one of {', '.join(PYRAMIDS)}")
        given = len(self.consistency_weights)
        if given not in (0, self.levels - 1):
            raise ValueError(
                f"consistency_weights={list(self.consistency_weights)}: {given} given; "
                f"levels={self.levels} has {self.levels - 1} stages before the last"
            )

    @property
    def metrics(self):
        """Names of the scalars the two losses report."""
        return (*super().metrics, "consistency", "g_total")

    def _perturbations(self):
        sides = [self.latent_size // 2**halvings for halvings in reversed(range(self.levels))]
        return {n: [Draw.normal(s, s, self.channels) for s in sides] for n in ("r1", "r2")}

    def _means(self, stages):
        return color_means(stages)

    def _seen(self, stages, draws, means, strengths, noise=None):
        """Of stages (B, S, S, K, C), or of the one that all are: K times (B, s_k, s_k, C)."""
        stages = self._augmented(stages, draws, means, strengths)
        scales = pyramid(stages, self.levels, self.kernel)
        if noise is None:
            return scales
        return [x + SIGMA * e for x, e in zip(scales, noise, strict=True)]

    def generator_loss(self, generator, discriminator, batch, draws, strengths=AS_CONFIGURED):
        """See `LatentObjective.generator_loss`; with the consistency of the stages."""
        fake = self.generate(generator, batch, draws)  # (B, S, S, K, C)
        loss = self._against_real(discriminator, batch, fake, draws, strengths)
        pull = consistency(fake, self.consistency_weights, self.stop_anchor)
        total = loss + self.consistency_weight * pull
        parts = {"g_loss": loss, "consistency": pull, "g_total": total}
        return total, parts | diagnostics(ops.stop_gradient(fake))
