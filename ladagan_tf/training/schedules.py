"""What changes in the course of a run: learning rates, penalty weights, how much is augmented.

A schedule is a function of the images seen, so that a run that continues needs no state for it.
Adaptive augmentation alone follows what happened, and is part of a checkpoint.
"""

import dataclasses
import math
import typing

import keras
from keras import ops

INTERVAL = 4  # steps that an adaptation looks back on, as in StyleGAN2-ADA


class Strengths(typing.NamedTuple):
    """What of an objective may change from step to step: floats, or float32 scalars.

    Attributes:
        rate: factor of both learning rates.
        penalty: factor of the weights of R1 and R2.
        augment: probability with which an image is augmented at all; read where the objective
            augments only sometimes.
    """

    rate: typing.Any = 1.0
    penalty: typing.Any = 1.0
    augment: typing.Any = 1.0


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

    def __init__(self, target, kimg=500.0, **kwargs):
        super().__init__(**kwargs)
        self.target = target
        self.kimg = kimg
        self.p = self.add_weight((), "zeros", trainable=False, name="p")
        self.signs = self.add_weight((), "zeros", trainable=False, name="signs")
        self.built = True

    def update(self, sign, images, step):
        """Takes in a step.

        Args:
            sign: float32 scalar, mean over the batch of the sign of D at reals.
            images: images of the step.
            step: its number in the run, from 0.
        """
        p, signs = ops.convert_to_tensor(self.p), self.signs + sign
        due = (step + 1) % INTERVAL == 0
        way = ops.cast(INTERVAL * images, "float32") / (1000.0 * self.kimg)
        moved = p + way * ops.sign(signs / INTERVAL - self.target)
        self.p.assign(ops.where(due, ops.clip(moved, 0.0, 1.0), p))
        self.signs.assign(ops.where(due, 0.0, signs))
