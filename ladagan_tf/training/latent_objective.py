"""What the objectives of GAT and CAT share: latents, pairs, penalties and alignment.

Stages are float tensors (B, S, S, K, C): the generator's K cumulative outputs, the earliest first,
or (B, S, S, 1, C), a real latent that all K are.
"""

import abc
import collections.abc
import dataclasses

import keras
from keras import ops

from ladagan_tf.models.gat.transformer import computing_in
from ladagan_tf.training import losses
from ladagan_tf.training.augment import sometimes
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.latent_views import (
    augment_stages,
    latent_augmentation_draws,
    left_alone,
)
from ladagan_tf.training.schedules import AS_CONFIGURED

SIGMA = 0.01  # of the perturbation that R1 and R2 are approximated with
TINY = 1e-8  # latents' units, below which a stage's update has no direction


def sample_posterior(moments, noise, scaling_factor):
    """Latents drawn from what an autoencoder says of images: (mean + std * noise) * factor.

    Args:
        moments: float tensor (B, S, S, 2C): mean, then standard deviation.
        noise: float32 tensor (B, S, S, C), standard normal.
        scaling_factor: float, see `AutoencoderKL`.

    Returns:
        float32 tensor (B, S, S, C).
    """
    mean, std = ops.split(ops.cast(moments, "float32"), 2, axis=-1)
    return (mean + std * noise) * scaling_factor


def diagnostics(stages):
    """How the stages approach the last (the page of CAT's authors, Fig. 4, 6).

    Args:
        stages: float tensor (B, S, S, K, C).

    Returns:
        Dict of scalars, means over the batch, for k from 1: "stage_distance_k", root mean square of
        x_k - x_K; "stage_rewrite_k", that of x_(k+1) - x_k; "stage_cosine_k", the cosine between
        x_(k+1) - x_k and x_K - x_k, for k < K - 1: the last is 1.
    """
    count = stages.shape[3]
    remaining = stages[:, :, :, -1:] - stages[:, :, :, :-1]  # (B, S, S, K - 1, C)
    updates = stages[:, :, :, 1:] - stages[:, :, :, :-1]

    def product(a, b):
        return ops.mean(a * b, axis=(1, 2, 4))  # (B, K - 1)

    distances = ops.sqrt(product(remaining, remaining))
    rewrites = ops.sqrt(product(updates, updates))
    cosines = product(updates, remaining) / ops.maximum(distances * rewrites, TINY)
    found = {
        f"stage_{name}_{k + 1}": ops.mean(values[:, k])
        for name, values in (("distance", distances), ("rewrite", rewrites), ("cosine", cosines))
        for k in range(count - 1)
    }
    found.pop(f"stage_cosine_{count - 1}", None)
    return found


@dataclasses.dataclass(frozen=True)
class LatentObjective(abc.ABC):
    """A relativistic objective on the stages of a generator of latents.

    D: softplus(-(D(x) - D(G(z)))) + alignment + R1 + R2 [+ centring_weight (D(x) + D(G(z)))^2];
    G: softplus(-(D(G(z)) - D(x))), means over the batch and over D's logits. Pairs share the class
    of the real sample; both are augmented in latent space. A subclass says what D sees of stages,
    in `_seen`, and which stage colours are augmented about.

    Args:
        noise_dim: int, size of z.
        latent_size, channels: ints, S and C of the latents.
        levels: int, K, outputs of the generator.
        scaling_factor: float, of the autoencoder; latents are learned times it.
        r1_weight, r2_weight: floats, weights of the penalties at real and generated samples (the
            papers' gamma / 2), at every step; 0 switches one off.
        penalty_every: int, take them at one of so many samples; must divide the batch. Which ones
            follows from the order of the data, so from (seed, step).
        precise_penalties: bool, compute D in float32 in its own phase where a penalty is taken:
            the finite difference divides by 0.01 what bfloat16 knows to 8 bits.
        teacher: function from (batch, draws of the augmentation, S) to a frozen network's features
            (B, F) and (B, T, F) of the real images, shifted and mirrored alike, as
            `training.teachers` has them; or None for no alignment.
        alignment_weight: float.
        augment: bool.
        augment_sometimes: bool, augment each sample with the probability of the step's `Strengths`;
            else all.
        augment_pairs: bool, augment the real and the generated sample of a pair by the same draw.
        centring_weight: float, weight of `losses.centring` in D's loss; 0: off.
    """

    noise_dim: int = 64
    latent_size: int = 32
    channels: int = 4
    levels: int = 4
    scaling_factor: float = 0.18215
    r1_weight: float = 0.05
    r2_weight: float = 0.05
    penalty_every: int = 1
    precise_penalties: bool = True
    teacher: collections.abc.Callable | None = None
    alignment_weight: float = 1.0
    augment: bool = True
    augment_sometimes: bool = False
    augment_pairs: bool = False
    centring_weight: float = 0.0

    def __post_init__(self):
        if self.augment_sometimes and not self.augment:
            raise ValueError("augment=False: there is no augmentation to apply with a probability")
        if self.augment_pairs and not self.augment:
            raise ValueError("augment=False: there is no augmentation for augment_pairs")

    # The EMA generator takes over what is not trained, the mean styles, as it is.
    averages_statistics = False

    @property
    def observed(self):
        """Names of the scalars that are no part of a loss.

        Not the share of clipped values: pixels are decoded for samples only, never in a step.
        """
        stages = range(1, self.levels)
        return (
            "real_sign",
            *(f"stage_{name}_{k}" for name in ("distance", "rewrite") for k in stages),
            *(f"stage_cosine_{k}" for k in stages[:-1]),
        )

    @property
    def needs(self):
        """What `data.pipeline.make_dataset` is asked for beside moments."""
        if self.teacher is None:
            return {}
        images = self.teacher.needs_images
        return {"with_images": images, "with_teacher": not images}

    @property
    def metrics(self):
        """Names of the scalars the two losses report."""
        alignment = ("alignment",) if self.teacher else ()
        centring = ("centring",) if self.centring_weight else ()
        return ("d_loss", "r1", "r2", *alignment, *centring, "d_total", "margin", "g_loss")

    def batch_draws(self):
        """Draws that both phases share: which latents stand for the images."""
        return {"posterior": Draw.normal(self.latent_size, self.latent_size, self.channels)}

    def batch(self, x, labels, draws):
        """What a step learns from.

        Args:
            x: dict of "moments" (B, S, S, 2C), mean and standard deviation; and what the teacher
                needs: "images", uint8 (B, R, R, 3), or "teacher_cls" and "teacher_patches".
            labels: int tensor (B,), -1 for none.
            draws: as `batch_draws` describes.

        Returns:
            Dict of "real", scaled latents (B, S, S, C), "labels", "raw" for x's "images", and
            the rest.
        """
        rest = {name: value for name, value in x.items() if name not in ("moments", "images")}
        latents = sample_posterior(x["moments"], draws["posterior"], self.scaling_factor)
        batch = {"real": latents, "labels": ops.maximum(labels, 0), **rest}
        return batch | ({"raw": x["images"]} if "images" in x else {})

    def _z_draws(self):
        return {"z": Draw.normal(self.noise_dim)}

    def _z(self, batch, draws):
        return draws["z"]

    def _view_draws(self):
        """Draws of what one set of stages goes through before D sees it, beside `_augmentation`."""
        return {}

    def _views(self, side, draws):
        """What the stages of a side, "fake" or "real", go through: the latter's own draws first."""
        return draws["fake"] if side == "fake" else {**draws["fake"], **draws["real"]}

    def _augmentation(self):
        """Draws of the augmentation of one set of stages."""
        augmentation = latent_augmentation_draws(self.latent_size) if self.augment else {}
        return augmentation | ({"chosen": Draw.uniform()} if self.augment_sometimes else {})

    @abc.abstractmethod
    def _perturbations(self):
        """Draws of what R1 and R2 add to what they are taken at, by their names."""

    def discriminator_draws(self):
        """Draws of the D phase: z, a view of fakes and of reals, and the perturbations."""
        return {**self.generator_draws(), **self._perturbations()}

    def generator_draws(self):
        """Draws of the G phase: a new z and new views."""
        fake = self._augmentation() | self._view_draws()
        real = self._view_draws() if self.augment_pairs else fake
        return {**self._z_draws(), "fake": fake, "real": real}

    def generate(self, generator, batch, draws):
        """Stages (B, S, S, K, C) for the D phase, of the classes of the real batch."""
        z = self._z(batch, draws)
        return ops.stack(generator(z, batch["labels"], return_levels=True), axis=3)

    def update_statistics(self, generator, batch, draws, total):
        """Moves the mean styles, by the z of the G phase.

        Args:
            generator: models.gat.networks.GatGenerator.
            batch, draws: of the G phase.
            total: see `Mapping.updated_mean_style`.
        """
        labels = batch["labels"]
        styles = generator.style(self._z(batch, draws), labels)  # (B, W)
        generator.mean_style.assign(generator.updated_mean_style(styles, labels, total))

    @abc.abstractmethod
    def _seen(self, stages, draws, means, strengths, noise=None):
        """What D gets of stages: augmented, and perturbed if there is `noise`."""

    @abc.abstractmethod
    def _means(self, stages):
        """What the colours of stages are augmented about, see `color_means`."""

    def _augmented(self, stages, draws, means, strengths):
        if not self.augment:
            return stages
        augmented = augment_stages(stages, draws, means)
        if self.augment_sometimes:
            return sometimes(augmented, stages, draws["chosen"], strengths.augment)
        return augmented

    def discriminator_loss(self, discriminator, batch, fake, draws, strengths=AS_CONFIGURED):
        """D's loss and its parts.

        Args:
            discriminator: models.gat.networks.GatDiscriminator, or CAT's.
            batch: what `batch` returned.
            fake: generated stages (B, S, S, K, C), constants here.
            draws: as `discriminator_draws` describes.
            strengths: Strengths of this step.

        Returns:
            Scalar loss and a dict of scalars.
        """
        weights = {"r1": self.r1_weight, "r2": self.r2_weight}
        precise = self.precise_penalties and any(weights.values())
        with computing_in(discriminator, "float32" if precise else None):
            real = ops.expand_dims(batch["real"], 3)  # (B, S, S, 1, C)
            real_views = self._views("real", draws)
            of_real = batch["labels"], real_views, self._means(real)
            of_fake = batch["labels"], self._views("fake", draws), self._means(fake)
            asked = {"real": (real, of_real), "fake": (fake, of_fake)}
            taken_at = {
                name: losses.every_nth(asked[side], self.penalty_every)
                for name, side in (("r1", "real"), ("r2", "fake"))
                if weights[name]
            }
            perturbed = {
                name: (*sample, losses.every_nth(draws[name], self.penalty_every))
                for name, sample in taken_at.items()
                if name in self._perturbations()
            }

            def seen(stages, given, noise=None):
                labels, views, means = given
                return self._seen(stages, views, means, strengths, noise), labels

            # D judges all at once, for no sample sees another: one gradient of each of its weights.
            logits, features = _judged(
                discriminator,
                {name: seen(*sample) for name, sample in (asked | perturbed).items()},
                bool(self.teacher),
            )
            loss = losses.relativistic(logits["real"], logits["fake"])
            parts, total = {}, 0.0
            if self.teacher:
                parts["alignment"] = self._alignment(features, batch, real_views, strengths)
                total = total + self.alignment_weight * parts["alignment"]

            def penalty(name, side):
                if name not in taken_at:
                    return ops.zeros(())
                if name in perturbed:
                    before = losses.every_nth(logits[side], self.penalty_every)
                    measured = losses.finite_difference_penalty(before, logits[name], SIGMA)
                else:
                    stages, given = taken_at[name]
                    _, gradient = input_gradient(
                        lambda x: discriminator(*seen(x, given)), stages, discriminator
                    )
                    measured = losses.r1_penalty(gradient)
                return weights[name] * strengths.penalty * measured

            r1, r2 = penalty("r1", "real"), penalty("r2", "fake")
            total = total + loss + r1 + r2
            if self.centring_weight:
                centring = losses.centring(logits["real"], logits["fake"])
                parts["centring"] = self.centring_weight * centring
                total = total + parts["centring"]
            margins = logits["real"] - logits["fake"]
            parts |= {"d_loss": loss, "r1": r1, "r2": r2, "margin": ops.mean(margins)}
            return total, {**parts, "d_total": total, "real_sign": ops.mean(ops.sign(margins))}

    def discriminator_terms(self, discriminator, batch, fake, draws, strengths=AS_CONFIGURED):
        """One term, see `LadaObjective`: all that D judges is one batch of it."""
        return [
            (lambda x: self.discriminator_loss(discriminator, batch, x, draws, strengths), fake)
        ]

    def _alignment(self, features, batch, draws, strengths):
        """Whole image and mean over patches count alike (REPA, arXiv 2410.06940; GAT's code)."""
        if self.augment_sometimes:
            draws = left_alone(draws, draws["chosen"] >= strengths.augment)
        cls, patches = self.teacher(batch, draws, self.latent_size)
        return losses.cosine_alignment(
            ops.expand_dims(features[0], 1), ops.expand_dims(cls, 1)
        ) + losses.cosine_alignment(features[1], patches)

    def generator_loss(self, generator, discriminator, batch, draws, strengths=AS_CONFIGURED):
        """G's loss through the updated D.

        Args:
            generator: models.gat.networks.GatGenerator.
            discriminator: models.gat.networks.GatDiscriminator, or CAT's.
            batch: what `batch` returned.
            draws: as `generator_draws` describes.
            strengths: Strengths of this step.

        Returns:
            Scalar loss and a dict of scalars.
        """
        fake = self.generate(generator, batch, draws)  # (B, S, S, K, C)
        loss = self._against_real(discriminator, batch, fake, draws, strengths)
        return loss, {"g_loss": loss} | diagnostics(ops.stop_gradient(fake))

    def _against_real(self, discriminator, batch, fake, draws, strengths):
        """What G minimises of D's logits, for stages `fake` (B, S, S, K, C)."""

        def judge(stages, views):
            seen = self._seen(stages, views, self._means(stages), strengths)
            return discriminator(seen, batch["labels"])  # (B, L)

        fake_logits = judge(fake, self._views("fake", draws))
        real_logits = judge(ops.expand_dims(batch["real"], 3), self._views("real", draws))
        return losses.relativistic(fake_logits, real_logits)


def _judged(discriminator, samples, with_features):
    """Logits (b, L) by the names of samples (what D sees, labels), by one pass of D.

    Also the features of the first sample, None unless they are asked for.
    """
    together, labels = keras.tree.map_structure(lambda *x: ops.concatenate(x), *samples.values())
    counts = [sample[1].shape[0] or ops.shape(sample[1])[0] for sample in samples.values()]
    features = None
    if with_features:
        logits, *features = discriminator(
            together, labels, return_features=True, featured=counts[0]
        )
    else:
        logits = discriminator(together, labels)
    return dict(zip(samples, _rows(logits, counts), strict=True)), features


def _rows(values, counts):
    """Consecutive rows of a tensor, so many each."""
    start, found = 0, []
    for count in counts:
        found.append(values[start : start + count])
        start = start + count
    return found
