"""AdversarialModel: two networks, two optimizers, an EMA generator; tf.distribute and XLA."""

import functools

import keras
import tensorflow as tf
from keras import ops

from ladagan_tf.models.transfer import name_of
from ladagan_tf.runs.checkpoints import OBSERVED, average_part
from ladagan_tf.training.averages import AveragedWeights, Decay, HalfLife, PowerFunction
from ladagan_tf.training.schedules import AdaptiveAugmentation, Schedules
from ladagan_tf.training.statistics import BlockNorms, SpikeCounter, Window, tensor_norms
from ladagan_tf.training.step import (
    clip_by_global_norm,
    discriminator_gradients,
    generator_gradients,
    update_average,
)

# Streams of random numbers within one step. Evaluation and sampling use seeds of their own.
DISCRIMINATOR_PHASE, GENERATOR_PHASE, BATCH_PHASE = 0, 1, 2


def draw_key(seed, step, stream, bits=64):
    """The two words that a draw derives from.

    Args:
        seed: int.
        step: int64 scalar tensor.
        stream: int, of the draws of a step.
        bits: 64, or 32 as in runs that began before 2026-11-26: of keys that short, 30 pairs of the
            532,000 steps of a CIFAR-10 run are the same.

    Returns:
        Integer tensor (2,).
    """
    base = tf.random.fold_in([seed, 0], step)
    return tf.random.fold_in(base, tf.constant(stream, tf.int64 if bits == 64 else tf.int32))


def sample_draws(specification, count, seed, step, phase, key_bits=64):
    """Draws what an objective asks for as a pure function of (seed, step, phase).

    Args:
        specification: nested dict of `Draw`.
        count: int or scalar tensor, images.
        seed: int.
        step: int64 scalar tensor.
        phase: int, which stream of the step.
        key_bits: see `draw_key`.

    Returns:
        Nested dict of tensors (count, *shape), float32 or int32.
    """
    flat = keras.tree.flatten(specification)
    drawn = []
    for i, draw in enumerate(flat):
        key = draw_key(seed, step, phase * 1024 + i, key_bits)
        shape = tf.concat([tf.reshape(count, (1,)), tf.constant(draw.shape, tf.int32)], axis=0)
        if draw.kind == "normal":
            value = tf.random.stateless_normal(shape, key)
        elif draw.kind == "uniform":
            value = tf.random.stateless_uniform(shape, key)
        else:
            value = tf.random.stateless_uniform(shape, key, draw.low, draw.high, tf.int32)
        static = count if isinstance(count, int) else None
        drawn.append(tf.ensure_shape(value, (static, *draw.shape)))
    return keras.tree.pack_sequence_as(specification, drawn)


class AdversarialModel(keras.Model):
    """Trains a generator against a discriminator, one update of each per batch.

    A step: draws from (seed, step); D's gradients on this batch and D's update; G's gradients
    through the updated D and G's update; the EMA generator moves towards G. Only the two gradient
    computations are compiled with XLA, because compiling all of `train_step` fails with several
    replicas. Replicas see consecutive parts of the batch and of its draws, and gradients, metrics
    and statistics (batch norm's, mean styles) are reduced over them, so that their weights stay
    equal. Build it, and call `compile`, inside the strategy's scope.

    Args:
        generator, discriminator: built keras.Models.
        averaged: a generator of the same sizes; its weights are set to `generator`'s.
        objective: what to minimise, e.g. `LadaObjective`.
        seed: int, all randomness of the steps derives from (seed, step).
        spike_factor: float, see `statistics.SpikeCounter`.
        key_bits: 64 or 32, see `draw_key`.

    `train_step` takes (what `data.pipeline` yields for the objective's `batch`, int32 labels (B,)).
    """

    def __init__(
        self,
        generator,
        discriminator,
        averaged,
        objective,
        seed=0,
        spike_factor=3.0,
        key_bits=64,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.generator = generator
        self.discriminator = discriminator
        self.averaged = averaged
        self.objective = objective
        self.seed = seed
        self.key_bits = key_bits
        averaged.set_weights(generator.get_weights())
        self.step = self._counter("step", 0)
        self.bad_step = self._counter("bad_step", -1)
        self.d_norms = BlockNorms("d_grad_norm", discriminator)
        self.g_norms = BlockNorms("g_grad_norm", generator)
        self.window = Window([*objective.metrics, *self.d_norms.names, *self.g_norms.names])
        self.observed = Window(objective.observed)
        self.spikes = SpikeCounter(2, spike_factor)
        self.images_before = 0  # beyond steps times the batch, of starts with another batch
        self.built = True

    def _counter(self, name, value):
        return self.add_weight(
            (), keras.initializers.Constant(value), "int64", trainable=False, name=name
        )

    def compile(
        self,
        g_optimizer,
        d_optimizer,
        ema_decay=0.999,
        ema_halflife_kimg=0.0,
        ema_rampup=0.05,
        further_averages=(),
        micro_batches=1,
        clip_norm=0.0,
        schedules=None,
        augment_target=0.0,
        augment_kimg=500.0,
        jit=False,
    ):
        """Sets how to train.

        Args:
            g_optimizer, d_optimizer: keras optimizers; built here.
            ema_decay: float in [0, 1), constant EMA decay per step.
            ema_halflife_kimg: float, if not 0 replaces `ema_decay` by this half-life in kimg.
            ema_rampup: float, see `step.decay_of_halflife`.
            further_averages: profiles of `training.averages`, of averages beside `averaged`; those
                of the same name are one.
            micro_batches: int, parts a replica's batch is computed in, one after the other.
            clip_norm: float, largest joint gradient norm of each network; 0 for none.
            schedules: Schedules of learning rates, penalties and augmentation; None for none.
            augment_target, augment_kimg: floats, see `AdaptiveAugmentation`, which takes the place
                of the schedule of augmentation; 0 for none.
            jit: bool, compile the gradient functions with XLA.
        """
        super().compile(optimizer=None, jit_compile=False)
        self.g_optimizer = g_optimizer
        self.d_optimizer = d_optimizer
        for optimizer in (g_optimizer, d_optimizer):
            _sum_nothing(optimizer)
        g_optimizer.build(self.generator.trainable_variables)
        d_optimizer.build(self.discriminator.trainable_variables)
        optimizers = d_optimizer, g_optimizer
        self.rates = [float(ops.convert_to_numpy(o.learning_rate)) for o in optimizers]
        self.schedules = schedules or Schedules()
        self.augmentation = None
        if augment_target:
            self.augmentation = AdaptiveAugmentation(augment_target, augment_kimg)
        self.skipped = self._counter("skipped", 0) if self.scales_loss else None
        shown = Decay(ema_decay)
        if ema_halflife_kimg:
            shown = HalfLife(ema_halflife_kimg, ema_rampup)
        profiles = {profile.name: profile for profile in further_averages if profile != shown}
        self.profiles = [shown, *profiles.values()]
        self.further_averages = [AveragedWeights(self.generator) for _ in profiles]
        self.micro_batches = micro_batches
        self.clip_norm = clip_norm
        compiled = functools.partial(tf.function, autograph=False, jit_compile=jit)
        given = self.objective, self.generator, self.discriminator
        self._d_gradients, self._g_gradients = (
            compiled(functools.partial(gradients, *given, micro_batches=micro_batches))
            for gradients in (discriminator_gradients, generator_gradients)
        )

    def state(self):
        """Every variable that training changes, by a unique name: what a checkpoint holds.

        Named one by one because TensorFlow's object graph does not see into lists of layers.
        """
        networks = {n: getattr(self, n) for n in ("generator", "discriminator", "averaged")}
        others = {
            "g_optimizer": self.g_optimizer.variables,
            "d_optimizer": self.d_optimizer.variables,
            "window": self.window.variables,
            OBSERVED: self.observed.variables,
            "spikes": self.spikes.variables,
            "counters": [self.step, self.bad_step],
        }
        if self.scales_loss:
            others["skipped"] = [self.skipped]
        if self.augmentation:
            others["augmentation"] = self.augmentation.variables
        for number, average in enumerate(self.further_averages, 1):
            others[average_part(number)] = average.weights
        # Without what Keras numbers within a process: the names of optimizers and of this model.
        names = {part: [(v.path, v) for v in network.weights] for part, network in networks.items()}
        names |= {part: [(v.name, v) for v in variables] for part, variables in others.items()}
        return {
            f"{part}/{i:03d}/{name}": variable
            for part, pairs in names.items()
            for i, (name, variable) in enumerate(pairs)
            if variable.name != "learning_rate"  # what the flags say now, not what they said
        }

    @property
    def average_names(self):
        """Names of the averages in the order of `average_part`, that of `averaged` first."""
        return [profile.name for profile in self.profiles]

    def begin_averages(self):
        """Has all further averages begin where `averaged` is now."""
        for average in self.further_averages:
            for ours, weight in zip(average.weights, self.averaged.weights, strict=True):
                ours.assign(weight)

    def power_averages(self):
        """Dict from sigma_rel to the weights of that power-function average."""
        pairs = zip(self.profiles[1:], self.further_averages, strict=True)
        return {p.sigma_rel: a.weights for p, a in pairs if isinstance(p, PowerFunction)}

    def untrained_weights(self):
        """Numbers of the generator's weights that are statistics, and of those that averages copy.

        Returns:
            (list of ints, list of ints).
        """
        numbers = [i for i, weight in enumerate(self.generator.weights) if not weight.trainable]
        return numbers, [] if self.objective.averages_statistics else numbers

    def means(self):
        """Dict of the scalars' means over the steps since the last `reset_means`; NaN if none."""
        return {**self.window.results(), **self.observed.results()}

    def reset_means(self):
        """Begins a new window."""
        self.window.reset()
        self.observed.reset()

    def totals(self):
        """Steps since the run's start at which each network's gradient norm was a spike, and those
        that loss scaling skipped."""
        d, g = map(int, keras.ops.convert_to_numpy(self.spikes.totals))
        skipped = {"skipped_steps": int(self.skipped)} if self.scales_loss else {}
        return {"d_grad_spikes": d, "g_grad_spikes": g, **skipped}

    def strengths(self, images):
        """`Strengths` of the step before which `images` were seen."""
        strengths = self.schedules.at(images)
        if self.augmentation:
            strengths = strengths._replace(augment=tf.convert_to_tensor(self.augmentation.p))
        return strengths

    def scheduled(self, images):
        """Those that do not stay as they are, for the statistics: dict of floats.

        Args:
            images: int, that the run has seen.
        """
        strengths, names = self.strengths(images), {}
        if self.objective.augment_sometimes:
            names["augment_p"] = strengths.augment
        for name, value in (("lr_factor", strengths.rate), ("penalty_factor", strengths.penalty)):
            if not isinstance(value, float):
                names[name] = value
        return {name: float(f"{float(value):.6g}") for name, value in names.items()}

    def call(self, z, training=False):
        """Images of the EMA generator."""
        return self.averaged(z, training=training)

    def train_step(self, data):
        x, labels = data
        replica = tf.distribute.get_replica_context()
        replicas, index = replica.num_replicas_in_sync, replica.replica_id_in_sync_group
        local = labels.shape[0] or tf.shape(labels)[0]

        def drawn(specification, phase):
            # The whole batch's draws on every replica, then its part: they do not depend on
            # how many replicas there are, and cost next to nothing.
            step = tf.convert_to_tensor(self.step)
            whole = sample_draws(
                specification, local * replicas, self.seed, step, phase, self.key_bits
            )
            if replicas == 1:
                return whole
            return keras.tree.map_structure(lambda x: x[index * local :][:local], whole)

        objective = self.objective
        return self.adversarial_step(
            objective.batch(x, labels, drawn(objective.batch_draws(), BATCH_PHASE)),
            drawn(objective.discriminator_draws(), DISCRIMINATOR_PHASE),
            drawn(objective.generator_draws(), GENERATOR_PHASE),
        )

    def adversarial_step(self, batch, discriminator_draws, generator_draws):
        """One update of D, then of G, then of the EMA, from explicit draws.

        Args:
            batch: dict of tensors with b samples, what the objective's `batch` returned.
            discriminator_draws, generator_draws: as the objective describes them.

        Returns:
            Dict of scalar metrics of this step, also added to the window.
        """
        images = tf.shape(batch["real"])[0] * _replicas()
        seen = self._seen(images)
        strengths = self.strengths(seen)
        if not isinstance(strengths.rate, float):
            optimizers = self.d_optimizer, self.g_optimizer
            for optimizer, rate in zip(optimizers, self.rates, strict=True):
                optimizer.learning_rate = rate * strengths.rate
        scale = self.d_optimizer.scale_loss(1.0)
        gradients, d_metrics = _over_replicas(
            self._d_gradients(batch, discriminator_draws, scale=scale, strengths=strengths)
        )
        d_norms = self._apply(self.d_optimizer, self.discriminator, gradients)

        scale = self.g_optimizer.scale_loss(1.0)  # from here on D is the updated one
        gradients, g_metrics = _over_replicas(
            self._g_gradients(batch, generator_draws, scale=scale, strengths=strengths)
        )
        self.objective.update_statistics(self.generator, batch, generator_draws, _sum_over_replicas)
        g_norms = self._apply(self.g_optimizer, self.generator, gradients)

        self._average_replica_statistics()
        averages = self.averaged, *self.further_averages
        for average, profile in zip(averages, self.profiles, strict=True):
            share = profile.share(images, seen)
            update_average(average, self.generator, share, self.objective.averages_statistics)
        metrics = {**d_metrics, **self.d_norms(d_norms), **g_metrics, **self.g_norms(g_norms)}
        self._note_non_finite(metrics)
        norms, counts = tf.stack([metrics[name] for name in ("d_grad_norm", "g_grad_norm")]), True
        if self.scales_loss:
            counts = tf.reduce_all(tf.math.is_finite(norms))
            self.skipped.assign_add(tf.cast(~counts, tf.int64))
        self.spikes.count(norms, self.step, counts)
        self.window.add(metrics, counts)
        self.observed.add(metrics, counts)
        if self.augmentation:
            self.augmentation.update(metrics["real_sign"], images, self.step)
        self.step.assign_add(1)
        return metrics

    def _apply(self, optimizer, network, gradients):
        """Clips and applies `gradients`; returns their norms before clipping."""
        scale = optimizer.scale_loss(1.0)
        norms = tensor_norms(gradients) / scale
        if self.clip_norm:
            gradients = clip_by_global_norm(gradients, self.clip_norm * scale)
        optimizer.apply(gradients, network.trainable_variables)
        return norms

    def _average_replica_statistics(self):
        if _replicas() == 1 or not self.objective.averages_statistics:
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

    def _seen(self, images):
        """Images seen before this step of `images`, a float32 scalar."""
        return tf.cast(self.step, tf.float32) * tf.cast(images, tf.float32) + self.images_before

    def _note_non_finite(self, metrics):
        """Remembers the first step with a NaN or infinite loss or gradient norm."""
        names = [name for name in metrics if not (self.scales_loss and "grad_norm" in name)]
        finite = tf.reduce_all(tf.math.is_finite([metrics[name] for name in names]))
        first = tf.logical_and(tf.logical_not(finite), tf.equal(self.bad_step, -1))
        self.bad_step.assign(tf.where(first, self.step, self.bad_step))

    @property
    def scales_loss(self):
        """Whether losses are scaled; that probes for overflow: a step with an infinite gradient is
        skipped, not an error."""
        return isinstance(self.g_optimizer, keras.optimizers.LossScaleOptimizer)


def _replicas():
    return tf.distribute.get_strategy().num_replicas_in_sync


def _sum_nothing(optimizer):
    """Keras sums gradients over replicas, without a switch for it; ours are their mean already."""
    getattr(optimizer, "inner_optimizer", optimizer)._all_reduce_sum_gradients = list


def _over_replicas(tree):
    """Means over the replicas: each has the same number of images."""
    if _replicas() == 1:
        return tree
    # Outputs of a compiled function have no device, which reducing over workers needs.
    placed = keras.tree.map_structure(tf.identity, tree)
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, placed)


def _sum_over_replicas(tree):
    if _replicas() == 1:
        return tree
    return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tree)
