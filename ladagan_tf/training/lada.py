"""LadaGAN's objective (arXiv 2401.09596, Sec. III-D; order of steps: official trainer.py)."""

import dataclasses
import functools
import typing

from keras import ops

from ladagan_tf.models.pixels import clipped_share, scale_images
from ladagan_tf.training import LOSSES, losses
from ladagan_tf.training.augment import (
    augmentation_draws,
    diff_augment,
    parse_policy,
    sometimes,
)
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.schedules import AS_CONFIGURED


@dataclasses.dataclass(frozen=True)
class LadaObjective:
    """What LadaGAN minimises in one step.

    D: loss(D(x), D(G(z))) + r1_weight * R1 [+ r2_weight * R2 + bcr_weight * bCR
    + centring_weight * (D(x) + D(G(z)))^2];  G: loss(D(G(z)))
    [+ range_weight * mean squared distance of pixels from [-1, 1], not in the paper].
    Without bCR both networks see augmented images and R1 is taken at the augmented reals; with it
    the adversarial terms and R1 use clean images, and D is asked to give augmented ones the same
    logits. With rpgan each patch's logit is compared with that of the pair's other image, and G's
    phase judges reals too; with R1 and R2 that is the objective of R3GAN (arXiv 2501.05441).
    Conditional networks get the labels of the real batch, for the fakes too, as in R3GAN and GAT;
    an image keeps its label when it is augmented.

    Args:
        noise_dim: int, size of the latent.
        resolution: int, side of the images.
        loss: "nsl", the non-saturating logistic loss; "hinge"; or "rpgan", the relativistic one.
        r1_weight, r2_weight: floats, weights of the penalties at what D sees of reals and of
            generated images, at every step; 0 switches one off.
        penalty_every: int, take them at one of so many images; must divide the batch.
        policy: DiffAugment steps, e.g. "color,translation"; "" for none.
        augment_sometimes: bool, augment each image with the probability of the step's `Strengths`;
            else all.
        augment_pairs: bool, augment the real and the generated image of a pair by the same draw.
        bcr: bool, balanced consistency regularisation.
        bcr_weight: float, its weight, the same for real and generated images.
        range_weight: float, weight of `losses.range_penalty` in G's loss; 0 switches it off.
        centring_weight: float, weight of `losses.centring` in D's relativistic loss; 0: off.
        conditional: bool, whether both networks take labels.

    Raises:
        ValueError: for an unknown loss or augmentation, what needs an augmentation without one, or
            centring of a loss that has a zero.
    """

    noise_dim: int = 128
    resolution: int = 32
    loss: str = "nsl"
    r1_weight: float = 1e-4
    r2_weight: float = 0.0
    penalty_every: int = 1
    policy: str = "color,translation"
    augment_sometimes: bool = False
    augment_pairs: bool = False
    bcr: bool = False
    bcr_weight: float = 0.1
    range_weight: float = 0.0
    centring_weight: float = 0.0
    conditional: bool = False

    def __post_init__(self):
        if self.loss not in LOSSES:
            raise ValueError(f"loss={self.loss!r} is not one of {', '.join(LOSSES)}")
        steps = parse_policy(self.policy)  # also checks it
        if self.bcr and not steps:
            raise ValueError("bcr=True with policy='': consistency needs an augmentation")
        if self.augment_sometimes and not steps:
            raise ValueError("policy='': there is no augmentation to apply with a probability")
        if self.augment_pairs and not steps:
            raise ValueError("policy='': there is no augmentation for augment_pairs")
        if self.centring_weight and self.loss != "rpgan":
            raise ValueError(
                f"centring_weight={self.centring_weight:g}: loss={self.loss!r} has a zero of its "
                "own, only 'rpgan' lacks one"
            )

    # The EMA generator's batch norm statistics are averages too (official code).
    averages_statistics = True
    needs: typing.ClassVar = {}  # nothing but images of the input pipeline
    observed = (
        "clipped",
        "real_sign",
    )  # scalars of the two losses that say how it goes, and are no part of it

    @property
    def steps(self):
        return parse_policy(self.policy)

    @property
    def metrics(self):
        """Names of the scalars the two losses report."""
        r2, bcr = ("r2",) if self.r2_weight else (), ("bcr",) if self.bcr else ()
        extra = (*r2, *bcr, *(("centring",) if self.centring_weight else ()))
        return ("d_loss", "r1", *extra, "d_total", "real_logits", "fake_logits", "g_loss")

    def batch_draws(self):
        """Draws that both phases share: none."""
        return {}

    def batch(self, images, labels, draws):
        """What a step learns from: uint8 images (B, S, S, 3) scaled to [-1, 1], and labels (B,)."""
        return {"real": scale_images(images), "labels": labels}

    def discriminator_draws(self):
        """Draws of the D phase: the latent, and one augmentation for fakes and one for reals."""
        return {"z": Draw.normal(self.noise_dim), **self._pair_draws()}

    def generator_draws(self):
        """Draws of the G phase: a new latent, and new augmentations unless bCR keeps images clean.

        Only a relativistic loss sees reals there.
        """
        views = {"fake": {}, "real": {}} if self.bcr else self._pair_draws()
        if self.loss != "rpgan":
            del views["real"]
        return {"z": Draw.normal(self.noise_dim), **views}

    def _pair_draws(self):
        """Draws of the augmentation of fakes, and what reals have of their own."""
        augmentation = self._augmentation_draws()
        return {"fake": augmentation, "real": {} if self.augment_pairs else augmentation}

    def _augmentation_draws(self):
        draws = augmentation_draws(self.steps, self.resolution)
        return draws | ({"chosen": Draw.uniform()} if self.augment_sometimes else {})

    def generate(self, generator, batch, draws):
        """Images for the D phase, in training mode: a decoder's batch norms update."""
        return generator(draws["z"], *self._labels(batch), training=True)  # (B, S, S, 3)

    def _labels(self, batch):
        """What networks get beside latents or images: labels (B,), or nothing."""
        return (batch["labels"],) if self.conditional else ()

    def update_statistics(self, generator, batch, draws, total):
        """Nothing: batch norms update their statistics while they run."""

    def discriminator_loss(self, discriminator, batch, fake, draws, strengths=AS_CONFIGURED):
        """D's loss and its parts, the sums over `discriminator_terms`, which takes the same.

        Returns:
            Scalar loss and a dict of scalars.
        """
        total, parts = 0.0, {}
        for term, images in self.discriminator_terms(discriminator, batch, fake, draws, strengths):
            loss, found = term(images)
            total = total + loss
            parts |= {name: parts.get(name, 0.0) + value for name, value in found.items()}
        return total, parts

    def discriminator_terms(self, discriminator, batch, fake, draws, strengths=AS_CONFIGURED):
        """D's loss as terms that can be differentiated one after the other, to save memory.

        Of fakes, then of reals, where each side is judged by itself; else one of both. D runs on
        fakes, then reals, then (bCR) both augmented.

        Args:
            discriminator: keras.Model, images to logits.
            batch: dict with "real" (B, S, S, 3) in [-1, 1] and, if conditional, "labels" (B,).
            fake: generated images (B, S, S, 3), constants here.
            draws: as `discriminator_draws` describes.
            strengths: Strengths of this step.

        Returns:
            List of pairs, a function and what it takes: images (B, S, S, 3) or two of them. It
            returns a scalar and a dict of scalars; the loss, and each scalar, are the sums.
        """
        fake = self._seen(fake, draws["fake"], strengths)
        real = self._seen(batch["real"], _of_reals(draws), strengths)
        labels = self._labels(batch)
        judged = functools.partial(
            self._judged, discriminator, labels=labels, factor=strengths.penalty
        )

        def of_fakes(fake):
            logits, r2 = judged(fake, self.r2_weight)  # (B, 25), scalar
            loss = losses.apart(self.loss, logits)
            parts = {"d_loss": loss, "d_total": loss + r2}
            return loss + r2, parts | ({"r2": r2} if self.r2_weight else {})

        def of_reals(real):
            logits, r1 = judged(real, self.r1_weight)
            loss = losses.apart(self.loss, -logits)
            parts = {"d_loss": loss, "r1": r1, "d_total": loss + r1}
            return loss + r1, parts | _opinion(logits, logits)

        def of_both(images):
            fake, real = images
            fake_logits, r2 = judged(fake, self.r2_weight)
            real_logits, r1 = judged(real, self.r1_weight)
            adversarial = losses.adversarial_discriminator(self.loss, real_logits, fake_logits)
            total = adversarial + r1
            verdict = losses.verdict(self.loss, real_logits, fake_logits)
            parts = {"d_loss": adversarial, "r1": r1} | _opinion(real_logits, verdict)
            if self.r2_weight:
                parts["r2"] = r2
                total = total + r2
            if self.centring_weight:
                parts["centring"] = self.centring_weight * losses.centring(real_logits, fake_logits)
                total = total + parts["centring"]
            if self.bcr:
                parts["bcr"] = self.bcr_weight * self._consistency(
                    discriminator, labels, real, fake, real_logits, fake_logits, draws, strengths
                )
                total = total + parts["bcr"]
            return total, {**parts, "d_total": total}

        if self.bcr or self.loss == "rpgan":  # logits of reals are compared with those of fakes
            return [(of_both, (fake, real))]
        return [(of_fakes, fake), (of_reals, real)]

    def _seen(self, images, draws, strengths):
        """What D judges of images: augmented, unless bCR compares both."""
        return images if self.bcr else self._augmented(images, draws, strengths)

    def _augmented(self, images, draws, strengths):
        augmented = diff_augment(images, draws, self.steps)
        if not self.augment_sometimes:
            return augmented
        return sometimes(augmented, images, draws["chosen"], strengths.augment)

    def _judged(self, discriminator, images, weight, labels, factor):
        """Logits (B, 25) and the weighted penalty at the images."""

        def judge(images, *labels):
            return discriminator(images, *labels, training=True)

        if not weight:
            return judge(images, *labels), ops.zeros(())
        logits, penalty = losses.judged_with_penalty(
            judge, images, discriminator, self.penalty_every, labels
        )
        return logits, weight * factor * penalty

    def _consistency(
        self, discriminator, labels, real, fake, real_logits, fake_logits, draws, strengths
    ):
        augmented = ops.concatenate(  # one batch: real and fake share these BN statistics
            [
                self._augmented(real, _of_reals(draws), strengths),
                self._augmented(fake, draws["fake"], strengths),
            ]
        )  # (2B, S, S, 3)
        labels = [ops.concatenate([each, each]) for each in labels]  # (2B,)
        logits = discriminator(ops.stop_gradient(augmented), *labels, training=True)  # (2B, 25)
        real_augmented, fake_augmented = ops.split(logits, 2)
        return losses.consistency(real_logits, real_augmented) + losses.consistency(
            fake_logits, fake_augmented
        )

    def generator_loss(self, generator, discriminator, batch, draws, strengths=AS_CONFIGURED):
        """G's loss through the updated D, in training mode.

        Args:
            generator, discriminator: keras.Models.
            batch: what `batch` returned.
            draws: as `generator_draws` describes.
            strengths: Strengths of this step.

        Returns:
            Scalar loss and a dict of scalars.
        """
        images = self.generate(generator, batch, draws)  # (B, S, S, 3)
        fake = self._seen(images, draws["fake"], strengths)
        labels = self._labels(batch)
        logits = discriminator(fake, *labels, training=True)  # (B, 25)
        real_logits = None
        if self.loss == "rpgan":
            real = self._seen(batch["real"], _of_reals(draws), strengths)
            real_logits = discriminator(real, *labels, training=True)  # (B, 25)
        loss = losses.adversarial_generator(self.loss, logits, real_logits)
        parts = {"g_loss": loss, "fake_logits": ops.mean(logits), "clipped": clipped_share(images)}
        if self.range_weight:
            loss = loss + self.range_weight * losses.range_penalty(images)
        return loss, parts


def _of_reals(draws):
    """Draws of the augmentation of reals: the fakes' where they have none of their own."""
    return {**draws["fake"], **draws["real"]}


def _opinion(real_logits, verdict):
    """Statistics of what D says of reals: their mean logit, and the mean sign of `verdict`."""
    return {"real_logits": ops.mean(real_logits), "real_sign": ops.mean(ops.sign(verdict))}
