"""Moving averages of a generator's weights: how much of a step each takes in."""

import dataclasses

import keras
from keras import ops

from ladagan_tf.sampling.posthoc import exponent
from ladagan_tf.training.step import decay_of_halflife


@dataclasses.dataclass(frozen=True)
class Decay:
    """The same decay at every step.

    Args:
        decay: float in [0, 1).
    """

    decay: float

    @property
    def name(self):
        return f"{self.decay:.12g}"

    def share(self, images, seen):
        """What the average takes of the weights after a step of `images`, before which it has
        `seen` so many: a float or float32 scalar in [0, 1]."""
        return 1.0 - self.decay


@dataclasses.dataclass(frozen=True)
class HalfLife:
    """A half-life in images, see `step.decay_of_halflife`.

    Args:
        kimg: float, the half-life in thousands of images.
        rampup: float, see there.
    """

    kimg: float
    rampup: float = 0.05

    @property
    def name(self):
        return f"{self.kimg:.12g}kimg"

    def share(self, images, seen):
        """See `Decay.share`."""
        images = ops.cast(images, "float32")
        return 1.0 - decay_of_halflife(images, seen, self.kimg, self.rampup)


@dataclasses.dataclass(frozen=True)
class PowerFunction:
    """A length that grows with the training, see `sampling.posthoc`.

    The decay beta(t) = (1 - images / t)^(gamma + 1), t being the images seen after the step (EDM2,
    arXiv 2312.02696, Eq. 127), makes weights of one step last for its images: the average is
    exactly that of the profile.

    Args:
        sigma_rel: float, see `posthoc.exponent`.
    """

    sigma_rel: float

    @property
    def name(self):
        return f"sigma_rel:{self.sigma_rel:.12g}"

    def share(self, images, seen):
        """See `Decay.share`. 1 - beta, of which float32 would leave little behind a subtraction."""
        images, power = ops.cast(images, "float32"), exponent(self.sigma_rel) + 1.0
        return -ops.expm1(power * ops.log1p(-images / (seen + images)))


class AveragedWeights(keras.layers.Layer):
    """An average of all weights of a network, which begins at what they are.

    Args:
        network: keras.Model, built.
    """

    def __init__(self, network, **kwargs):
        super().__init__(**kwargs)
        for weight in network.weights:
            self.add_weight(
                weight.shape, "zeros", weight.dtype, trainable=False, name=weight.name
            ).assign(weight)
        self.built = True
