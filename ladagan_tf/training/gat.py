"""GAT's objective (arXiv 2509.24935; order of operations of the official train.py).

Stages are float tensors (B, S, S, K, C): the generator's K cumulative outputs, the noisiest level
first, or K copies of a real latent. D sees the stages of a sample side by side in the channels.
"""

import collections.abc
import dataclasses

from keras import ops

from ladagan_tf.models.precision import computing_in
from ladagan_tf.training import losses
from ladagan_tf.training.augment import sometimes
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.latent_views import (
    add_noise,
    augment_stages,
    color_means,
    latent_augmentation_draws,
    left_alone,
)
from ladagan_tf.training.schedules import AS_CONFIGURED

SIGMA = 0.01  # of the perturbation that R1 and R2 are approximated with
BASE_WIDTH = 768  # at which learning rates are given


def width_aware_rate(base, width):
    """Learning rate of a network of `width` channels: base * 768 / width (official train.py)."""
    return base * BASE_WIDTH / width


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


@dataclasses.dataclass(frozen=True)
class GatObjective:
    """What GAT minimises in one step.

    D: softplus(-(D(x) - D(G(z)))) + alignment + R1 + R2;  G: softplus(-(D(G(z)) - D(x))).
    Pairs share the class of the real sample. Both are augmented in latent space and noised at
    several levels before D sees them.

    Args:
        noise_dim: int, size of z.
        latent_size, channels: ints, S and C of the latents.
        levels: int, K, outputs of the generator.
        scaling_factor: float, of the autoencoder; latents are learned times it.
        r1_weight, r2_weight: floats, weights of the penalties at real and generated samples (the
            paper's gamma / 2), at every step; 0 switches one off.
        penalty_every: int, take them at one of so many samples; must divide the batch.
        exact_penalties: bool, squared norms of input gradients, which need second derivatives,
            instead of one random finite difference.
        precise_penalties: bool, compute D in float32 in its own phase where a penalty is taken:
            the finite difference divides by 0.01 what bfloat16 knows to 8 bits.
        teacher: function from (batch, draws of the augmentation, S) to a frozen network's features
            (B, F) and (B, T, F) of the real images, shifted and mirrored alike, as
            `training.teachers` has them; or None for no alignment.
        alignment_weight: float.
        noise_guidance: bool, noise the levels; else D sees the stages as they are.
        augment: bool.
        augment_sometimes: bool, augment each sample with the probability of the step's `Strengths`;
            else all.
        reuse_z: bool, take D's z in the G phase too, as the official code does.
    """

    noise_dim: int = 64
    latent_size: int = 32
    channels: int = 4
    levels: int = 4
    scaling_factor: float = 0.18215
    r1_weight: float = 0.05
    r2_weight: float = 0.05
    penalty_every: int = 1
    exact_penalties: bool = False
    precise_penalties: bool = True
    teacher: collections.abc.Callable | None = None
    alignment_weight: float = 1.0
    noise_guidance: bool = True
    augment: bool = True
    augment_sometimes: bool = False
    reuse_z: bool = False

    def __post_init__(self):
        if self.augment_sometimes and not self.augment:
            raise ValueError("augment=False: there is no augmentation to apply with a probability")

    # The EMA generator takes over what is not trained, the mean styles, as it is.
    averages_statistics = False
    # Not the share of clipped values: pixels are decoded for samples only, never in a step.
    observed = ("real_sign",)

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
        return ("d_loss", "r1", "r2", *alignment, "d_total", "margin", "g_loss")

    def batch_draws(self):
        """Draws that both phases share: which latents stand for the images."""
        z = {"z": Draw.normal(self.noise_dim)} if self.reuse_z else {}
        return {"posterior": Draw.normal(self.latent_size, self.latent_size, self.channels), **z}

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
        batch |= {"raw": x["images"]} if "images" in x else {}
        return batch | ({"z": draws["z"]} if self.reuse_z else {})

    def _z_draws(self):
        return {} if self.reuse_z else {"z": Draw.normal(self.noise_dim)}

    def _z(self, batch, draws):
        return batch["z"] if self.reuse_z else draws["z"]

    def _view_draws(self):
        """Draws of what one set of stages goes through before D sees it."""
        shape = (self.latent_size, self.latent_size, self.levels, self.channels)
        augmentation = latent_augmentation_draws(self.latent_size) if self.augment else {}
        augmentation |= {"chosen": Draw.uniform()} if self.augment_sometimes else {}
        return augmentation | ({"noise": Draw.normal(*shape)} if self.noise_guidance else {})

    def discriminator_draws(self):
        """Draws of the D phase: z, a view of fakes and of reals, and the perturbations."""
        side = (self.latent_size, self.latent_size)
        draws = {**self._z_draws(), "fake": self._view_draws(), "real": self._view_draws()}
        if not self.exact_penalties:
            draws["r1"] = Draw.normal(*side, 1, self.channels)  # one for all copies of a real
            draws["r2"] = Draw.normal(*side, self.levels, self.channels)
        return draws

    def generator_draws(self):
        """Draws of the G phase: a new z and new views."""
        return {**self._z_draws(), "fake": self._view_draws(), "real": self._view_draws()}

    def generate(self, generator, batch, draws):
        """Stages (B, S, S, K, C) for the D phase, of the classes of the real batch."""
        z = self._z(batch, draws)
        return _stacked(generator(z, batch["labels"], return_levels=True))

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

    def discriminator_loss(self, discriminator, batch, fake, draws, strengths=AS_CONFIGURED):
        """D's loss and its parts.

        Args:
            discriminator: models.gat.networks.GatDiscriminator.
            batch: what `batch` returned.
            fake: generated stages (B, S, S, K, C), constants here.
            draws: as `discriminator_draws` describes.
            strengths: Strengths of this step.

        Returns:
            Scalar loss and a dict of scalars.
        """
        precise = self.precise_penalties and (self.r1_weight or self.r2_weight)
        with computing_in(discriminator, "float32" if precise else None):
            labels, latents = batch["labels"], batch["real"]
            real = ops.expand_dims(latents, 3)  # (B, S, S, 1, C), which all levels see
            of_real = labels, draws["real"], color_means(latents)
            of_fake = labels, draws["fake"], color_means(fake[:, :, :, -1])

            def judge(stages, given, **asked):
                labels, views, means = given
                return discriminator(self._seen(stages, views, means, strengths), labels, **asked)

            parts, total = {}, 0.0
            if self.teacher:
                real_logits, *features = judge(real, of_real, return_features=True)  # (B, 1)
                views = draws["real"]
                if self.augment_sometimes:
                    views = left_alone(views, views["chosen"] >= strengths.augment)
                parts["alignment"] = self._alignment(features, batch, views)
                total = total + self.alignment_weight * parts["alignment"]
            else:
                real_logits = judge(real, of_real)  # (B, 1)
            fake_logits = judge(fake, of_fake)  # (B, 1)
            loss = losses.relativistic(real_logits, fake_logits)

            def penalty(name, weight, stages, given, logits):
                if not weight:
                    return ops.zeros(())
                noise = {} if self.exact_penalties else draws[name]
                stages, given, logits, noise = losses.every_nth(
                    (stages, given, logits, noise), self.penalty_every
                )
                if self.exact_penalties:
                    _, gradient = input_gradient(lambda x: judge(x, given), stages, discriminator)
                    return weight * strengths.penalty * losses.r1_penalty(gradient)
                moved = judge(stages + SIGMA * noise, given)
                measured = losses.finite_difference_penalty(logits, moved, SIGMA)
                return weight * strengths.penalty * measured

            r1 = penalty("r1", self.r1_weight, real, of_real, real_logits)
            r2 = penalty("r2", self.r2_weight, fake, of_fake, fake_logits)
            total = total + loss + r1 + r2
            margins = real_logits - fake_logits
            parts |= {"d_loss": loss, "r1": r1, "r2": r2, "margin": ops.mean(margins)}
            return total, {**parts, "d_total": total, "real_sign": ops.mean(ops.sign(margins))}

    def _alignment(self, features, batch, draws):
        """Whole image and mean over patches count alike (REPA, arXiv 2410.06940; official code)."""
        cls, patches = self.teacher(batch, draws, self.latent_size)
        return losses.cosine_alignment(
            ops.expand_dims(features[0], 1), ops.expand_dims(cls, 1)
        ) + losses.cosine_alignment(features[1], patches)

    def generator_loss(self, generator, discriminator, batch, draws, strengths=AS_CONFIGURED):
        """G's loss through the updated D.

        Args:
            generator: models.gat.networks.GatGenerator.
            discriminator: models.gat.networks.GatDiscriminator.
            batch: what `batch` returned.
            draws: as `generator_draws` describes.
            strengths: Strengths of this step.

        Returns:
            Scalar loss and a dict of scalars.
        """
        labels, latents = batch["labels"], batch["real"]
        fake = self.generate(generator, batch, draws)  # (B, S, S, K, C)
        seen = self._seen(fake, draws["fake"], color_means(fake[:, :, :, -1]), strengths)
        fake_logits = discriminator(seen, labels)
        real = ops.expand_dims(latents, 3)  # (B, S, S, 1, C)
        seen = self._seen(real, draws["real"], color_means(latents), strengths)
        loss = losses.relativistic(fake_logits, discriminator(seen, labels))
        return loss, {"g_loss": loss}

    def _seen(self, stages, draws, means, strengths):
        """What D gets of stages (B, S, S, K, C), or of the one that all are: (B, S, S, K C)."""
        if stages.shape[3] < self.levels:
            stages = ops.repeat(stages, self.levels, axis=3)
        if self.augment:
            augmented = augment_stages(stages, draws, means)
            if self.augment_sometimes:
                augmented = sometimes(augmented, stages, draws["chosen"], strengths.augment)
            stages = augmented
        if self.noise_guidance:
            stages = add_noise(stages, draws["noise"])
        return ops.reshape(stages, (-1, *stages.shape[1:3], self.levels * self.channels))


def _stacked(levels):
    """The generator's list of K levels (B, S, S, C) as stages (B, S, S, K, C)."""
    return ops.stack(levels, axis=3)
