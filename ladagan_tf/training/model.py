"""TrainedModel: a generator, what it is trained with, and its averages; tf.distribute and XLA."""

import functools

import keras
import tensorflow as tf
from keras import ops

from ladagan_tf.runs.checkpoints import OBSERVED, average_part
from ladagan_tf.training.averages import AveragedWeights, Decay, HalfLife, PowerFunction
from ladagan_tf.training.schedules import Schedules
from ladagan_tf.training.statistics import BlockNorms, SpikeCounter, Window
from ladagan_tf.training.step import (
    clip_by_global_norm,
    own_gradients,
    squared_norms,
    update_average,
)

# Streams of random numbers within one step. Evaluation and sampling use seeds of their own.
DISCRIMINATOR_PHASE, GENERATOR_PHASE, BATCH_PHASE = 0, 1, 2


def draw_keys(seed, step, streams, bits=64):
    """The two words that each draw of a step derives from: seed and step folded, and its stream.

    Args:
        seed: int.
        step: int64 scalar tensor.
        streams: ints, one of each draw.
        bits: 64, or 32 as in runs that began before 2026-11-26: of keys that short, 30 pairs of the
            532,000 steps of a CIFAR-10 run are the same.

    Returns:
        List of integer tensors (2,), those of `tf.random.fold_in`, which would compute the first
        word, the same for all, for each.
    """
    words = tf.int64 if bits == 64 else tf.int32
    first = tf.random.fold_in(tf.random.fold_in([seed, 0], step), tf.constant(0, words))[:1]
    return [tf.concat([first, tf.constant([stream], words)], axis=0) for stream in streams]


def sample_draws(specification, count, seed, step, phase, key_bits=64):
    """Draws what an objective asks for as a pure function of (seed, step, phase).

    Args:
        specification: nested dict of `Draw`.
        count: int or scalar tensor, images.
        seed: int.
        step: int64 scalar tensor.
        phase: int, which stream of the step.
        key_bits: see `draw_keys`.

    Returns:
        Nested dict of tensors (count, *shape), float32 or int32.
    """
    flat = keras.tree.flatten(specification)
    drawn, streams = [], range(phase * 1024, phase * 1024 + len(flat))
    for key, draw in zip(draw_keys(seed, step, streams, key_bits), flat, strict=True):
        shape = (count, *draw.shape)
        if draw.kind == "normal":
            drawn.append(tf.random.stateless_normal(shape, key))
        elif draw.kind == "uniform":
            drawn.append(tf.random.stateless_uniform(shape, key))
        else:
            drawn.append(tf.random.stateless_uniform(shape, key, draw.low, draw.high, tf.int32))
    return keras.tree.pack_sequence_as(specification, drawn)


class TrainedModel(keras.Model):
    """Trains a generator by a loss of its own, one update per batch; see `AdversarialModel`, too.

    A step: draws from (seed, step); the gradients on this batch and the update; the EMA generator
    moves towards the generator. Only the gradients are computed in functions compiled with XLA,
    because compiling all of `train_step` fails with several replicas. Replicas see consecutive
    parts of the batch and of its draws, and gradients, metrics and statistics are reduced over
    them, so that their weights stay equal. Build it, and call `compile`, inside the strategy's
    scope.

    A subclass that trains more networks names them in `phases`, in the order of their updates, and
    has a step of its own. Each has an optimizer and what is counted of it, by its first letter.

    Args:
        generator: a built keras.Model.
        averaged: a generator of the same sizes; its weights are set to `generator`'s.
        objective: what to minimise, e.g. `FlowObjective`.
        seed: int, all randomness of the steps derives from (seed, step).
        spike_factor: float, see `statistics.SpikeCounter`.
        key_bits: 64 or 32, see `draw_keys`.
        **others: the other networks of `phases`, built keras.Models.

    `train_step` takes (what `data.pipeline` yields for the objective's `batch`, int32 labels (B,)).
    """

    phases = ("generator",)
    steadied_by = "Lower --g_lr, set --clip_norm, or use a wider --precision"  # if it diverges

    def __init__(
        self, generator, averaged, objective, seed=0, spike_factor=3.0, key_bits=64, **others
    ):
        super().__init__()
        self.generator = generator
        self.averaged = averaged
        for name, network in others.items():
            setattr(self, name, network)
        self.objective = objective
        self.seed = seed
        self.key_bits = key_bits
        averaged.set_weights(generator.get_weights())
        self.step = self._counter("step", 0)
        self.bad_step = self._counter("bad_step", -1)
        self.norms = {
            name: BlockNorms(f"{name[0]}_grad_norm", getattr(self, name)) for name in self.phases
        }
        named = [name for norms in self.norms.values() for name in norms.names]
        self.window = Window([*objective.metrics, *named])
        self.observed = Window(objective.observed)
        self.spikes = SpikeCounter(len(self.phases), spike_factor)
        self.images_before = 0  # beyond steps times the batch, of starts with another batch
        self.built = True

    def _counter(self, name, value):
        return self.add_weight(
            (), keras.initializers.Constant(value), "int64", trainable=False, name=name
        )

    @property
    def networks(self):
        """What is trained: dict from a name to a keras.Model, the generator first."""
        return {name: getattr(self, name) for name in reversed(self.phases)}

    def compile(
        self,
        g_optimizer,
        ema_decay=0.999,
        ema_halflife_kimg=0.0,
        ema_rampup=0.05,
        further_averages=(),
        micro_batches=1,
        clip_norm=0.0,
        schedules=None,
        jit=False,
        **others,
    ):
        """Sets how to train.

        Args:
            g_optimizer: keras optimizer; built here.
            ema_decay: float in [0, 1), constant EMA decay per step.
            ema_halflife_kimg: float, if not 0 replaces `ema_decay` by this half-life in kimg.
            ema_rampup: float, see `step.decay_of_halflife`.
            further_averages: profiles of `training.averages`, of averages beside `averaged`; those
                of the same name are one.
            micro_batches: int, parts a replica's batch is computed in, one after the other.
            clip_norm: float, largest joint gradient norm of each network; 0 for none.
            schedules: Schedules of learning rates, and of what an objective has; None for none.
            jit: bool, compile the gradient functions with XLA.
            **others: the optimizers of the other networks, by the same names.
        """
        super().compile(optimizer=None, jit_compile=False)
        self.g_optimizer = g_optimizer
        for name, optimizer in others.items():
            setattr(self, name, optimizer)
        self.rates = {}
        for name, network in self.networks.items():
            optimizer = self.optimizer_of(name)
            _sum_nothing(optimizer)
            optimizer.build(network.trainable_variables)
            self.rates[name] = float(ops.convert_to_numpy(optimizer.learning_rate))
        self.schedules = schedules or Schedules()
        self.skipped = self._counter("skipped", 0) if self.scales_loss else None
        shown = Decay(ema_decay)
        if ema_halflife_kimg:
            shown = HalfLife(ema_halflife_kimg, ema_rampup)
        profiles = {profile.name: profile for profile in further_averages if profile != shown}
        self.profiles = [shown, *profiles.values()]
        self.further_averages = [AveragedWeights(self.generator) for _ in profiles]
        self.micro_batches = micro_batches
        self.clip_norm = clip_norm
        self._gradients = {
            name: tf.function(
                functools.partial(function, micro_batches=micro_batches),
                autograph=False,
                jit_compile=jit,
            )
            for name, function in self.gradient_functions().items()
        }

    def optimizer_of(self, name):
        """The optimizer of a network of `phases`."""
        return getattr(self, f"{name[0]}_optimizer")

    def gradient_functions(self):
        """By the name of a network: one of `training.step` that has been given its networks."""
        return {"generator": functools.partial(own_gradients, self.objective, self.generator)}

    def state(self):
        """Every variable that training changes, by a unique name: what a checkpoint holds.

        Named one by one because TensorFlow's object graph does not see into lists of layers.
        """
        networks = {**self.networks, "averaged": self.averaged}
        others = {f"{name[0]}_optimizer": self.optimizer_of(name).variables for name in self.phases}
        others |= {
            "window": self.window.variables,
            OBSERVED: self.observed.variables,
            "spikes": self.spikes.variables,
            "counters": [self.step, self.bad_step],
        }
        if self.scales_loss:
            others["skipped"] = [self.skipped]
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
        counts = map(int, ops.convert_to_numpy(self.spikes.totals))
        spikes = {f"{n[0]}_grad_spikes": c for n, c in zip(self.phases, counts, strict=True)}
        if self.scales_loss:
            spikes["skipped_steps"] = int(ops.convert_to_numpy(self.skipped))
        return spikes

    def strengths(self, images):
        """`Strengths` of the step before which `images` were seen."""
        return self.schedules.at(images)

    def scheduled(self, images):
        """Those that do not stay as they are, for the statistics: dict of floats.

        Args:
            images: int, that the run has seen.
        """
        rate = self.strengths(images).rate
        return {} if isinstance(rate, float) else {"lr_factor": float(f"{float(rate):.6g}")}

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

        batch_draws = drawn(self.objective.batch_draws(), BATCH_PHASE)
        return self.drawn_step(self.objective.batch(x, labels, batch_draws), drawn)

    def drawn_step(self, batch, drawn):
        """The step on a batch; `drawn` makes draws of a specification and a phase."""
        return self.own_step(batch, drawn(self.objective.draws(), GENERATOR_PHASE))

    def own_step(self, batch, draws):
        """One update of the generator by its own loss, then of the EMA, from explicit draws.

        Args:
            batch: dict of tensors with b samples, what the objective's `batch` returned.
            draws: as the objective's `draws` describes them.

        Returns:
            Dict of scalar metrics of this step, also added to the window.
        """
        images, seen, strengths = self._begin(batch)
        gradients, metrics = self._differentiated("generator", batch, draws, strengths)
        norms = self._apply("generator", gradients)
        return self._end({**metrics, **norms}, images, seen)

    def _begin(self, batch):
        """What a step starts with: its images, those seen before it, and its `Strengths`."""
        images = tf.shape(batch["real"])[0] * replicas_in_sync()
        seen = self._seen(images)
        strengths = self.strengths(seen)
        if not isinstance(strengths.rate, float):
            for name, rate in self.rates.items():
                self.optimizer_of(name).learning_rate = rate * strengths.rate
        return images, seen, strengths

    def _differentiated(self, name, batch, draws, strengths):
        """Gradients of a network, scaled, and metrics, both the means over all replicas."""
        scale = self.optimizer_of(name).scale_loss(1.0)
        return _over_replicas(self._gradients[name](batch, draws, scale=scale, strengths=strengths))

    def _apply(self, name, gradients):
        """Clips and applies `gradients`; returns their norms before clipping, as metrics."""
        optimizer = self.optimizer_of(name)
        scale = optimizer.scale_loss(1.0)
        squares = squared_norms(gradients)
        if self.clip_norm:
            gradients = clip_by_global_norm(gradients, self.clip_norm * scale, squares)
        optimizer.apply(gradients, getattr(self, name).trainable_variables)
        return self.norms[name](ops.sqrt(ops.stack(squares)) / scale)

    def _end(self, metrics, images, seen):
        """Moves the averages and counts the step; returns its metrics."""
        averages = self.averaged, *self.further_averages
        for average, profile in zip(averages, self.profiles, strict=True):
            share = profile.share(images, seen)
            update_average(average, self.generator, share, self.objective.averages_statistics)
        self._note_non_finite(metrics)
        norms, counts = tf.stack([metrics[f"{n[0]}_grad_norm"] for n in self.phases]), True
        if self.scales_loss:
            counts = tf.reduce_all(tf.math.is_finite(norms))
            self.skipped.assign_add(tf.cast(~counts, tf.int64))
        self.spikes.count(norms, counts)
        self.window.add(metrics, counts)
        self.observed.add(metrics, counts)
        self.step.assign_add(1)
        return metrics

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


def replicas_in_sync():
    """How many replicas train together: int."""
    return tf.distribute.get_strategy().num_replicas_in_sync


def _sum_nothing(optimizer):
    """Keras sums gradients over replicas, without a switch for it; ours are their mean already."""
    getattr(optimizer, "inner_optimizer", optimizer)._all_reduce_sum_gradients = list


def _over_replicas(tree):
    """Means over the replicas: each has the same number of images."""
    if replicas_in_sync() == 1:
        return tree
    # Outputs of a compiled function have no device, which reducing over workers needs.
    placed = keras.tree.map_structure(tf.identity, tree)
    replica = tf.distribute.get_replica_context()
    return replica.all_reduce(tf.distribute.ReduceOp.MEAN, placed)
