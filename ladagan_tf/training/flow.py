"""Flow matching (arXiv 2210.02747, Sec. 4.1; arXiv 2209.03003, eq. 1): a velocity, regressed.

    x_t  = (1 - t) x_0 + t x_1                     x_0 noise, x_1 an image or its latent
    loss = mean of (v(x_t, t) - (x_1 - x_0))^2     t = sigmoid(m + s n), n normal

Times are logit-normal (arXiv 2403.03206, Sec. 3.1), so that most are in the middle, where the
regression is hard. As in the first two papers t = 1 is data; the third counts the other way.
"""

import dataclasses
import typing

from keras import ops

from ladagan_tf.models.pixels import scale_images
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.latent_objective import sample_posterior


@dataclasses.dataclass(frozen=True)
class FlowObjective:
    """What a flow minimises in one step.

    Args:
        size, channels: ints, S and C, of images or of latents.
        scaling_factor: float, of the autoencoder whose latents are learned, times it; None for
            images.
        time_mean, time_std: floats, m and s of the times' logits.
        conditional: bool, whether the velocity takes labels.
    """

    size: int = 32
    channels: int = 3
    scaling_factor: float | None = None
    time_mean: float = 0.0
    time_std: float = 1.0
    conditional: bool = False

    averages_statistics = False  # there are none
    needs: typing.ClassVar = {}  # nothing but images, or moments, of the input pipeline
    metrics = ("velocity_loss",)
    observed = ()

    def batch_draws(self):
        """Draws of what a batch is made of: which latents stand for the images."""
        if self.scaling_factor is None:
            return {}
        return {"posterior": Draw.normal(self.size, self.size, self.channels)}

    def batch(self, x, labels, draws):
        """What a step learns from.

        Args:
            x: uint8 images (B, S, S, 3); or a dict of "moments" (B, S, S, 2C), see
                `latent_objective.sample_posterior`.
            labels: int tensor (B,).
            draws: as `batch_draws` describes.

        Returns:
            Dict of "real", x_1 (B, S, S, C), and "labels".
        """
        if self.scaling_factor is None:
            return {"real": scale_images(x), "labels": labels}
        latents = sample_posterior(x["moments"], draws["posterior"], self.scaling_factor)
        return {"real": latents, "labels": labels}

    def draws(self):
        """Draws of a step: x_0, and n of the time."""
        return {"noise": Draw.normal(self.size, self.size, self.channels), "time": Draw.normal()}

    def own_loss(self, generator, batch, draws, strengths=None):
        """The loss and its parts.

        Args:
            generator: models.flow.networks.FlowGenerator.
            batch: what `batch` returned.
            draws: as `draws` describes.
            strengths: of no meaning here.

        Returns:
            Scalar loss and a dict of scalars.
        """
        x_0, x_1 = draws["noise"], batch["real"]
        t = ops.sigmoid(self.time_mean + self.time_std * draws["time"])  # (B,)
        at = ops.reshape(t, (-1, 1, 1, 1))
        x_t = (1.0 - at) * x_0 + at * x_1
        labels = (batch["labels"],) if self.conditional else ()
        loss = ops.mean(ops.square(generator.velocity(x_t, t, *labels) - (x_1 - x_0)))
        return loss, {"velocity_loss": loss}
