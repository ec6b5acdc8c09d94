"""GAT's objective (arXiv 2509.24935; order of operations of the official train.py).

D sees the stages of a sample side by side in the channels, each under noise of its level.
"""

import dataclasses

from keras import ops

from ladagan_tf.training import NOISE_SIDES
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.latent_objective import SIGMA, LatentObjective, diagnostics
from ladagan_tf.training.latent_views import add_noise, color_means, noise_levels
from ladagan_tf.training.schedules import AS_CONFIGURED

BASE_WIDTH = 768  # at which learning rates are given


def width_aware_rate(base, width):
    """Learning rate of a network of `width` channels: base * 768 / width (official train.py)."""
    return base * BASE_WIDTH / width


@dataclasses.dataclass(frozen=True)
class GatObjective(LatentObjective):
    """What GAT minimises in one step.

    D: softplus(-(D(x) - D(G(z)))) + alignment + R1 + R2;  G: softplus(-(D(G(z)) - D(x))).
    Pairs share the class of the real sample. Both are augmented in latent space and noised at
    several levels before D sees them.

    Args:
        exact_penalties: bool, squared norms of input gradients, which need second derivatives,
            instead of one random finite difference.
        noise_guidance: bool, noise the levels; else D sees the stages as they are.
        noise_schedule, min_information: see `latent_views.noise_levels`; learned levels are those
            of the step's `Strengths`.
        noise_side: "both"; or "fake" or "real", for D to see only those under noise, the others as
            they are.
        reuse_z: bool, take D's z in the G phase too, as the official code does.
        others: see `LatentObjective`.
    """

    exact_penalties: bool = False
    noise_guidance: bool = True
    noise_schedule: str = "exponential"
    min_information: float = 0.125
    noise_side: str = "both"
    reuse_z: bool = False

    def __post_init__(self):
        super().__post_init__()
        if self.noise_side not in NOISE_SIDES:
            raise ValueError(
                f"noise_side={self.noise_side!r} is not one of {', '.join(NOISE_SIDES)}"
            )
        if self.noise_schedule == "learned":
            if not self.noise_guidance:
                raise ValueError("noise_guidance=False: there are no levels that could be learned")
            if self.noise_side == "real":
                raise ValueError(
                    "noise_side=real: noise_schedule=learned looks at what noise does to fakes"
                )
        noise_levels(self.levels, self.noise_schedule, self.min_information)  # checks them

    @property
    def observed(self):
        """See `LatentObjective.observed`; with learned levels also how each output is pulled."""
        if self.noise_schedule != "learned":
            return super().observed
        return *super().observed, *(f"pull_{k + 1}" for k in range(self.levels))

    def generator_loss(self, generator, discriminator, batch, draws, strengths=AS_CONFIGURED):
        """See `LatentObjective.generator_loss`.

        With learned levels also "pull_k", mean over the batch and the elements of the square of a
        sample's gradient of the loss at output k.
        """
        if self.noise_schedule != "learned":
            return super().generator_loss(generator, discriminator, batch, draws, strengths)
        fake = self.generate(generator, batch, draws)  # (B, S, S, K, C)
        outputs = ops.stop_gradient(fake)

        def against_real(stages):
            return self._against_real(discriminator, batch, stages, draws, strengths)

        value, gradient = input_gradient(against_real, outputs, discriminator)
        value, gradient = ops.stop_gradient(value), ops.stop_gradient(gradient)
        # Of the same value and, by the chain rule, gradient: D is differentiated only once.
        loss = value + ops.sum(gradient * (fake - outputs))
        pulls = ops.mean(ops.square(gradient * ops.shape(fake)[0]), axis=(0, 1, 2, 4))  # (K,)
        found = {f"pull_{k + 1}": pulls[k] for k in range(self.levels)}
        return loss, {"g_loss": value} | diagnostics(outputs) | found

    def batch_draws(self):
        """Draws that both phases share: which latents stand for the images, and a z both have."""
        return {**super().batch_draws(), **(super()._z_draws() if self.reuse_z else {})}

    def batch(self, x, labels, draws):
        """See `LatentObjective.batch`; with "z" where both phases have the same."""
        return super().batch(x, labels, draws) | ({"z": draws["z"]} if self.reuse_z else {})

    def _z_draws(self):
        return {} if self.reuse_z else super()._z_draws()

    def _z(self, batch, draws):
        return (batch if self.reuse_z else draws)["z"]

    def _view_draws(self):
        shape = (self.latent_size, self.latent_size, self.levels, self.channels)
        return {"noise": Draw.normal(*shape)} if self.noise_guidance else {}

    def _views(self, side, draws):
        views = super()._views(side, draws)
        if self.noise_side in ("both", side):
            return views
        return {name: draw for name, draw in views.items() if name != "noise"}

    def _perturbations(self):
        if self.exact_penalties:
            return {}
        side = (self.latent_size, self.latent_size)
        return {
            "r1": Draw.normal(*side, 1, self.channels),  # one for all copies of a real
            "r2": Draw.normal(*side, self.levels, self.channels),
        }

    def _means(self, stages):
        return color_means(stages[:, :, :, -1])

    def _seen(self, stages, draws, means, strengths, noise=None):
        """Of stages (B, S, S, K, C), or of the one that all are: (B, S, S, K C)."""
        if noise is not None:
            stages = stages + SIGMA * noise
        if stages.shape[3] < self.levels:
            stages = ops.repeat(stages, self.levels, axis=3)
        stages = self._augmented(stages, draws, means, strengths)
        if "noise" in draws:
            levels = strengths.noise
            if levels is None:
                levels = noise_levels(self.levels, self.noise_schedule, self.min_information)
            stages = add_noise(stages, draws["noise"], levels)
        return ops.reshape(stages, (-1, *stages.shape[1:3], self.levels * self.channels))
