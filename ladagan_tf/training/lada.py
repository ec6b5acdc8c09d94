"""LadaGAN's objective (arXiv 2401.09596, Sec. III-D; order of steps: official trainer.py)."""

import dataclasses
import typing

from keras import ops

from ladagan_tf.models.pixels import clipped_share, scale_images
from ladagan_tf.training import losses
from ladagan_tf.training.augment import augmentation_draws, diff_augment, parse_policy
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.draws import Draw

LOSSES = ("nsl", "hinge")


@dataclasses.dataclass(frozen=True)
class LadaObjective:
    """What LadaGAN minimises in one step.

    D: loss(D(x), D(G(z))) + r1_weight * R1 [+ bcr_weight * bCR];  G: loss(D(G(z)))
    [+ range_weight * mean squared distance of pixels from [-1, 1], not in the paper].
    Without bCR both networks see augmented images and R1 is taken at the augmented reals; with it
    the adversarial terms and R1 use clean images, and D is asked to give augmented ones the same
    logits.

    Args:
        noise_dim: int, size of the latent.
        resolution: int, side of the images.
        loss: "nsl", the non-saturating logistic loss, or "hinge".
        r1_weight: float, weight of the R1 penalty, at every step; 0 switches it off.
        policy: DiffAugment steps, e.g. "color,translation"; "" for none.
        bcr: bool, balanced consistency regularisation.
        bcr_weight: float, its weight, the same for real and generated images.
        range_weight: float, weight of `losses.range_penalty` in G's loss; 0 switches it off.

    Raises:
        ValueError: for an unknown loss or augmentation, or bCR without augmentation.
    """

    noise_dim: int = 128
    resolution: int = 32
    loss: str = "nsl"
    r1_weight: float = 1e-4
    policy: str = "color,translation"
    bcr: bool = False
    bcr_weight: float = 0.1
    range_weight: float = 0.0

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r} is not one of {', '.join(LOSSES)}")
        steps = parse_policy(self.policy)  # also checks it
        if self.bcr and not steps:
            raise ValueError("bcr=True with policy='': consistency needs an augmentation")

    # The EMA generator's batch norm statistics are averages too (official code).
    averages_statistics = True
    needs: typing.ClassVar = {}  # nothing but images of the input pipeline
    observed = ("clipped",)  # scalars of the two losses that say how it goes, and are no part of it

    @property
    def steps(self):
        return parse_policy(self.policy)

    @property
    def metrics(self):
        """Names of the scalars the two losses report."""
        bcr = ("bcr",) if self.bcr else ()
        return ("d_loss", "r1", *bcr, "d_total", "real_logits", "fake_logits", "g_loss")

    def batch_draws(self):
        """Draws that both phases share: none."""
        return {}

    def batch(self, images, labels, draws):
        """What a step learns from: uint8 images (B, S, S, 3) scaled to [-1, 1], and labels (B,)."""
        return {"real": scale_images(images), "labels": labels}

    def discriminator_draws(self):
        """Draws of the D phase: the latent, and one augmentation for fakes and one for reals."""
        augmentation = augmentation_draws(self.steps, self.resolution)
        return {
            "z": Draw.normal(self.noise_dim),
            "fake": augmentation,
            "real": augmentation,
        }

    def generator_draws(self):
        """Draws of the G phase: a new latent, and an augmentation unless bCR keeps fakes clean."""
        augmentation = {} if self.bcr else augmentation_draws(self.steps, self.resolution)
        return {"z": Draw.normal(self.noise_dim), "fake": augmentation}

    def generate(self, generator, batch, draws):
        """Images for the D phase, in training mode: a decoder's batch norms update."""
        return generator(draws["z"], training=True)  # (B, S, S, 3)

    def update_statistics(self, generator, batch, draws, total):
        """Nothing: batch norms update their statistics while they run. See `GatObjective`."""

    def discriminator_loss(self, discriminator, batch, fake, draws):
        """D's loss and its parts. D runs on fakes, then reals, then (bCR) both augmented.

        Args:
            discriminator: keras.Model, images to logits.
            batch: dict with "real" (B, S, S, 3) in [-1, 1].
            fake: generated images (B, S, S, 3), constants here.
            draws: as `discriminator_draws` describes.

        Returns:
            Scalar loss and a dict of scalars.
        """
        real = batch["real"]
        if not self.bcr:
            fake = diff_augment(fake, draws["fake"], self.steps)
            real = diff_augment(real, draws["real"], self.steps)
        fake_logits = discriminator(fake, training=True)  # (B, 25)

        def on_real(images):
            return discriminator(images, training=True)

        if self.r1_weight:
            real_logits, gradient = input_gradient(on_real, real, discriminator)
            r1 = self.r1_weight * losses.r1_penalty(gradient)
        else:
            real_logits, r1 = on_real(real), ops.zeros(())
        if self.loss == "nsl":
            adversarial = losses.non_saturating_discriminator(real_logits, fake_logits)
        else:
            adversarial = losses.hinge_discriminator(real_logits, fake_logits)
        total = adversarial + r1
        parts = {"d_loss": adversarial, "r1": r1, "real_logits": ops.mean(real_logits)}
        if self.bcr:
            parts["bcr"] = self.bcr_weight * self._consistency(
                discriminator, real, fake, real_logits, fake_logits, draws
            )
            total = total + parts["bcr"]
        return total, {**parts, "d_total": total}

    def _consistency(self, discriminator, real, fake, real_logits, fake_logits, draws):
        augmented = ops.concatenate(  # one batch: real and fake share these BN statistics
            [
                diff_augment(real, draws["real"], self.steps),
                diff_augment(fake, draws["fake"], self.steps),
            ]
        )  # (2B, S, S, 3)
        logits = discriminator(ops.stop_gradient(augmented), training=True)  # (2B, 25)
        real_augmented, fake_augmented = ops.split(logits, 2)
        return losses.consistency(real_logits, real_augmented) + losses.consistency(
            fake_logits, fake_augmented
        )

    def generator_loss(self, generator, discriminator, batch, draws):
        """G's loss through the updated D, in training mode.

        Args:
            generator, discriminator: keras.Models.
            batch: what `batch` returned.
            draws: as `generator_draws` describes.

        Returns:
            Scalar loss and a dict of scalars.
        """
        images = self.generate(generator, batch, draws)  # (B, S, S, 3)
        fake = diff_augment(images, draws["fake"], () if self.bcr else self.steps)
        logits = discriminator(fake, training=True)  # (B, 25)
        if self.loss == "nsl":
            loss = losses.non_saturating_generator(logits)
        else:
            loss = losses.hinge_generator(logits)
        parts = {"g_loss": loss, "fake_logits": ops.mean(logits), "clipped": clipped_share(images)}
        if self.range_weight:
            loss = loss + self.range_weight * losses.range_penalty(images)
        return loss, parts
