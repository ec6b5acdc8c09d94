"""What changes in the course of a run: learning rates, penalty weights, how much is augmented.

A schedule is a function of the images seen, so that a run that continues needs no state for it.
What adapts follows what happened, and is part of a checkpoint: how much is augmented, and how the
levels of GAT's noise are spaced.
"""

import dataclasses
import math
import typing

import keras
from keras import ops

from ladagan_tf.training.latent_views import CLEANEST

INTERVAL = 4  # steps that an adaptation looks back on, as in StyleGAN2-ADA
LARGEST_LOG_SHARE = 3.0  # of `NoiseSpacing`, so that no level ever meets the next


class Strengths(typing.NamedTuple):
    """What of an objective may change from step to step: floats, or float32 scalars.

    Attributes:
        rate: factor of both learning rates.
        penalty: factor of the weights of R1 and R2.
        augment: probability with which an image is augmented at all; read where the objective
            augments only sometimes.
        noise: standard deviations of GAT's noise by level, float32 (K,); None for the objective's.
    """

    rate: typing.Any = 1.0
    penalty: typing.Any = 1.0
    augment: typing.Any = 1.0
    noise: typing.Any = None


AS_CONFIGURED = Strengths()


@dataclasses.dataclass(frozen=True)
class Schedules:
    """`Strengths` by images seen; R3GAN (arXiv 2501.05441) moves all of them along a cosine.

    Args:
        shape: "constant", "linear" or "cosine", one of `training.SCHEDULES`.
        kimg: float, thousands of images until the end, from which on they stay.
        rate, penalty, augment: pairs of floats, at the start and at the end; with a constant shape
            those of the start count.
    """

    shape: str = "constant"
    kimg: float = 1.0
    rate: tuple = (1.0, 1.0)
    penalty: tuple = (1.0, 1.0)
    augment: tuple = (1.0, 1.0)

    def at(self, images):
        """`Strengths` of the step before which `images` (a number or a float32 scalar) were seen.

        What does not change is a float, so that a compiled step is the same as without a schedule.
        """
        return Strengths(
            *(self._between(*pair, images) for pair in (self.rate, self.penalty, self.augment))
        )

    def _between(self, start, end, images):
        if self.shape == "constant" or start == end:
            return float(start)
        progress = ops.minimum(images / (1000.0 * self.kimg), 1.0)
        if self.shape == "cosine":
            progress = 0.5 - 0.5 * ops.cos(math.pi * progress)
        return start + (end - start) * progress


class AdaptiveAugmentation(keras.layers.Layer):
    """The probability of augmentation that keeps D at a chosen sureness of reals.

    StyleGAN2-ADA (Karras et al. 2020, Sec. 3): where the mean sign of D at reals, over the last
    `INTERVAL` steps, is above the target, D overfits, and the probability p rises; else it falls.
    It starts at 0 and needs `kimg` thousand images to reach 1.

    Args:
        target: float in (0, 1); the paper's is 0.6.
        kimg: float.
    """

    strength = "augment"

    def __init__(self, target, kimg=500.0, **kwargs):
        super().__init__(**kwargs)
        self.target = target
        self.kimg = kimg
        self.p = self.add_weight((), "zeros", trainable=False, name="p")
        self.signs = self.add_weight((), "zeros", trainable=False, name="signs")
        self.built = True

    def value(self):
        """The probability, a float32 scalar."""
        return self.p * 1.0  # no variable, which a compiled step would not take as an argument

    def update(self, metrics, images, step):
        """Takes in a step.

        Args:
            metrics: dict of the step's scalars, with "real_sign", mean over the batch of the sign
                of D at reals.
            images: images of the step.
            step: its number in the run, from 0.
        """
        p, signs = self.value(), self.signs + metrics["real_sign"]
        due = (step + 1) % INTERVAL == 0
        way = ops.cast(INTERVAL * images, "float32") / (1000.0 * self.kimg)
        moved = p + way * ops.sign(signs / INTERVAL - self.target)
        self.p.assign(ops.where(due, ops.clip(moved, 0.0, 1.0), p))
        self.signs.assign(ops.where(due, 0.0, signs))


class NoiseSpacing(keras.layers.Layer):
    """Levels of GAT's noise such that G is pulled by the same factor more at each output.

    Neither paper nor official code learns them, and a loss cannot: D's is least with no noise
    between the ends, G's with as much as at the first. So gradients are balanced, as GradNorm does
    for tasks (Chen et al. 2018, arXiv 1711.02257): where the gradient of G's loss at an output lies
    above the geometric progression from the first output's to the last's, it gets more noise, where
    below, less. A D that is equally sensitive everywhere keeps the official code's levels, for what
    it sees is scaled by 1 - t_k. Those are where they begin, a_k = m^(1 - c_k) with c_k =
    k / (K - 1); the ends stay, and no level passes another: c_k is a sum of shares, a softmax of
    `spacing`.

    Args:
        levels: int, K >= 3.
        min_information: float, m, see `latent_views.noise_levels`.
        rate: float, by how much a step moves the log of a share at most, for each of the two levels
            that a share lies between.
    """

    strength = "noise"

    def __init__(self, levels, min_information, rate=0.01, **kwargs):
        super().__init__(**kwargs)
        self.min_information = min_information
        self.rate = rate
        self.spacing = self.add_weight((levels - 1,), "zeros", trainable=False, name="spacing")
        self.built = True

    def value(self):
        """The levels t_k, float32 (K,), falling from 1 - m + 0.01 to 0.01."""
        shares = ops.softmax(self.spacing * 1.0)
        places = ops.concatenate([ops.zeros((1,)), ops.cumsum(shares)])  # c_k
        information = ops.power(self.min_information, ops.relu(1.0 - places))
        return 1.0 - information + CLEANEST

    def update(self, metrics, images, step):
        """Takes in a step.

        Args:
            metrics: dict of the step's scalars, with "pull_1" to "pull_K", mean squares of the
                gradient of G's loss at each output.
            images, step: not needed.
        """
        pulls = [metrics[f"pull_{k + 1}"] for k in range(self.spacing.shape[0] + 1)]
        logs = ops.log(ops.stack(pulls) + 1e-30)
        progression = logs[0] + (logs[-1] - logs[0]) * ops.linspace(0.0, 1.0, len(pulls))
        excess = ops.clip((logs - progression)[1:-1], -1.0, 1.0)
        nothing = ops.zeros((1,))
        # Level k is noisier the larger the share after it and the smaller the one before it.
        moves = ops.concatenate([nothing, excess]) - ops.concatenate([excess, nothing])
        moved = self.spacing + self.rate * moves
        self.spacing.assign(ops.clip(moved, -LARGEST_LOG_SHARE, LARGEST_LOG_SHARE))


def adaptations(objective, augment_target=0.0, augment_kimg=500.0):
    """What of a run adapts: dict of layers with `strength`, `value` and `update`.

    Args:
        objective: what is minimised, see `training.step`.
        augment_target, augment_kimg: see `AdaptiveAugmentation`; a target of 0 for none.
    """
    found = {}
    if augment_target:
        found["augmentation"] = AdaptiveAugmentation(augment_target, augment_kimg)
    if getattr(objective, "noise_schedule", None) == "learned":
        found["spacing"] = NoiseSpacing(objective.levels, objective.min_information)
    return found


def adapted(strengths, layers):
    """`Strengths` with what the layers of `adaptations` have found in place of a schedule's."""
    return strengths._replace(**{layer.strength: layer.value() for layer in layers.values()})
