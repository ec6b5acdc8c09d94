"""AdversarialModel: a generator against a discriminator, each with an optimizer of its own."""

import functools

import tensorflow as tf

from ladagan_tf.models.transfer import name_of
from ladagan_tf.training.autodiff import after
from ladagan_tf.training.model import (
    DISCRIMINATOR_PHASE,
    GENERATOR_PHASE,
    TrainedModel,
    replicas_in_sync,
)
from ladagan_tf.training.schedules import adaptations, adapted
from ladagan_tf.training.step import discriminator_gradients, generator_gradients


class AdversarialModel(TrainedModel):
    """Trains a generator against a discriminator, one update of each per batch.

    A step: D's gradients on this batch and D's update; G's gradients through the updated D and G's
    update; statistics (batch norm's, mean styles); the averages. See `TrainedModel`.

    Args:
        generator, discriminator: built keras.Models.
        averaged: a generator of the same sizes; its weights are set to `generator`'s.
        objective: what to minimise, e.g. `LadaObjective`.
        seed, spike_factor, key_bits: see `TrainedModel`.
    """

    phases = ("discriminator", "generator")
    steadied_by = (
        "Lower --g_lr and --d_lr, set --clip_norm, raise --r1_weight, or use a wider --precision"
    )

    def __init__(self, generator, discriminator, averaged, objective, *args, **kwargs):
        kwargs["discriminator"] = discriminator
        super().__init__(generator, averaged, objective, *args, **kwargs)

    def compile(self, g_optimizer, d_optimizer, augment_target=0.0, augment_kimg=500.0, **how):
        """Sets how to train.

        Args:
            g_optimizer, d_optimizer: keras optimizers; built here.
            augment_target, augment_kimg: floats, see `AdaptiveAugmentation`, which takes the place
                of the schedule of augmentation; 0 for none.
            **how: see `TrainedModel.compile`.
        """
        super().compile(g_optimizer, d_optimizer=d_optimizer, **how)
        self.adaptations = adaptations(self.objective, augment_target, augment_kimg)

    def gradient_functions(self):
        given = self.objective, self.generator, self.discriminator
        functions = discriminator_gradients, generator_gradients
        return {
            n: functools.partial(f, *given) for n, f in zip(self.phases, functions, strict=True)
        }

    def state(self):
        return super().state() | {
            f"{part}/{i:03d}/{v.name}": v
            for part, layer in self.adaptations.items()
            for i, v in enumerate(layer.variables)
        }

    def strengths(self, images):
        return adapted(super().strengths(images), self.adaptations)

    def scheduled(self, images):
        strengths, names = self.strengths(images), {}
        if self.objective.augment_sometimes:
            names["augment_p"] = strengths.augment
        if strengths.noise is not None:
            names |= {f"noise_level_{k}": t for k, t in enumerate(strengths.noise, 1)}
        penalty = strengths.penalty
        later = {} if isinstance(penalty, float) else {"penalty_factor": penalty}
        names |= super().scheduled(images) | later
        return {name: float(f"{float(value):.6g}") for name, value in names.items()}

    def drawn_step(self, batch, drawn):
        return self.adversarial_step(
            batch,
            drawn(self.objective.discriminator_draws(), DISCRIMINATOR_PHASE),
            drawn(self.objective.generator_draws(), GENERATOR_PHASE),
        )

    def adversarial_step(self, batch, discriminator_draws, generator_draws):
        """One update of D, then of G, then of the EMA, from explicit draws.

        Args:
            batch: dict of tensors with b samples, what the objective's `batch` returned.
            discriminator_draws, generator_draws: as the objective describes them.

        Returns:
            Dict of scalar metrics of this step, also added to the window.
        """
        images, seen, strengths = self._begin(batch)
        gradients, d_metrics = self._differentiated(
            "discriminator", batch, discriminator_draws, strengths
        )
        d_norms = self._apply("discriminator", gradients)

        # From here on D is the updated one. G would run before, beside D's phase, and take memory.
        generator_draws = after(gradients, generator_draws)
        gradients, g_metrics = self._differentiated("generator", batch, generator_draws, strengths)
        self.objective.update_statistics(self.generator, batch, generator_draws, _sum_over_replicas)
        g_norms = self._apply("generator", gradients)

        self._average_replica_statistics()
        for layer in self.adaptations.values():
            layer.update({**d_metrics, **g_metrics}, images, self.step)
        return self._end({**d_metrics, **d_norms, **g_metrics, **g_norms}, images, seen)

    def _average_replica_statistics(self):
        if replicas_in_sync() == 1 or not self.objective.averages_statistics:
            return
        frozen = getattr(self.discriminator, "frozen", ())  # alike everywhere, and to stay so
        statistics = [
            *self.generator.non_trainable_variables,
            *(v for v in self.discriminator.non_trainable_variables if name_of(v) not in frozen),
        ]
        if statistics:
            replica = tf.distribute.get_replica_context()
            values = [tf.identity(v) for v in statistics]
            for variable, value in zip(
                statistics, replica.all_reduce(tf.distribute.ReduceOp.MEAN, values), strict=True
            ):
                variable.assign(value)


def _sum_over_replicas(tree):
    if replicas_in_sync() == 1:
        return tree
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tree)
