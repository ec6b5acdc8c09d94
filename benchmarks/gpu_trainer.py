"""The step of `gpu_run.py` as pure functions: networks, draws, order of images; several seeds.

Seeds are the first axis of all that a run changes. Several train in one program, so that a small
network fills a large device; one alone is not batched.
"""

import dataclasses

import jax
import jax.numpy as jnp
import keras
import numpy as np
from absl import flags

from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.training.schedules import adaptations, adapted
from ladagan_tf.training.step import (
    clip_by_global_norm,
    decay_of_halflife,
    discriminator_gradients,
    generator_gradients,
    own_gradients,
    update_average,
)

FLAGS = flags.FLAGS
PHASES = ("batch", "discriminator", "generator", "flip")  # streams of draws of a step


class Trainer:
    """Networks, objective and optimizers of the flags, and their step as a pure function.

    Args:
        seeds: list of int.
    """

    def __init__(self, seeds):
        self.seeds, values = seeds, []
        with jax.default_device(jax.devices("cpu")[0]):  # a GPU compiles every zero of every shape
            for seed in seeds:
                keras.utils.set_random_seed(seed % 2**32)
                self._build()
                values.append([np.asarray(keras.ops.convert_to_numpy(v)) for v in self.state])
            keys = [jax.random.key_data(jax.random.key(seed)) for seed in seeds]
        self.initial = [np.stack(each) for each in zip(*values, strict=True)]
        self.keys = np.stack(keys)

    def _build(self):
        system = train_flags.SYSTEMS[FLAGS.system]
        self.networks, self.averaged, self.objective = system.build(None)
        self.averaged.set_weights(self.networks["generator"].get_weights())
        self.schedules, self.rates, self.optimizers = start_flags.schedules(), {}, {}
        for name, network in self.networks.items():
            rate = system.learning_rate(FLAGS[f"{name[0]}_lr"].value, network)
            adam = keras.optimizers.Adam(rate, FLAGS.beta1, FLAGS.beta2, FLAGS.epsilon)
            adam.build(network.trainable_variables)
            self.rates[name], self.optimizers[name] = rate, adam
        adaptive = (FLAGS.augment_target, FLAGS.augment_kimg) if self.adversarial else ()
        self.adaptations = adaptations(self.objective, *adaptive)
        self.state = [
            *(v for network in self.networks.values() for v in network.weights),
            *self.averaged.weights,
            *(v for adam in self.optimizers.values() for v in adam.variables),
            *(v for layer in self.adaptations.values() for v in layer.variables),
        ]

    @property
    def adversarial(self):
        """Whether there is a discriminator."""
        return "discriminator" in self.networks

    @property
    def of_latents(self):
        """Whether latents are learned instead of images."""
        return not self.averaged.makes_images

    def scale(self, factor):
        """Takes the factor of the autoencoder whose latents are learned, a float."""
        self.objective = dataclasses.replace(self.objective, scaling_factor=factor)

    def values(self):
        """The state, (seeds, ...) each, as arrays of their own, which a step may overwrite."""
        return [jax.device_put(np.array(v), jax.devices()[0]) for v in self.initial]

    def step(self, values, key, inputs, step):
        """One update of each network of one seed.

        Args:
            values: list of arrays, the state.
            key: uint32 (2,), of the seed.
            inputs: (images or dict, labels), as `objective.batch` takes them.
            step: int32 scalar, from 0.

        Returns:
            New values and a dict of scalars.
        """
        images, labels = inputs
        key = jax.random.fold_in(jax.random.wrap_key_data(key), step)
        keys = {name: jax.random.fold_in(key, i) for i, name in enumerate(PHASES)}

        def drawn(specification, phase):
            return draw(specification, FLAGS.batch_size, keys[phase])

        if FLAGS.flip:
            mirrored = jax.random.bernoulli(keys["flip"], 0.5, (len(labels), 1, 1, 1))
            images = jnp.where(mirrored, images[:, :, ::-1], images)
        with self.holding(values) as scope:
            batch = self.objective.batch(
                images, labels, drawn(self.objective.batch_draws(), "batch")
            )
            strengths = adapted(self.schedules.at(images_seen(step)), self.adaptations)
            for name, adam in self.optimizers.items():
                adam.learning_rate = self.rates[name] * strengths.rate
            given = {"micro_batches": FLAGS.micro_batches, "strengths": strengths}
            update = self._adversarial_update if self.adversarial else self._own_update
            metrics = update(batch, drawn, given)
            update_average(
                self.averaged,
                self.networks["generator"],
                1.0 - ema_decay(step),
                self.objective.averages_statistics,
            )
            for layer in self.adaptations.values():
                layer.update(metrics, FLAGS.batch_size, step)
            if "augmentation" in self.adaptations:
                metrics["augment_p"] = self.adaptations["augmentation"].value()
        return [scope.get_current_value(v) for v in self.state], metrics

    def _adversarial_update(self, batch, drawn, given):
        """D's update, then G's; returns the metrics of both."""
        objective, generator = self.objective, self.networks["generator"]
        networks = objective, generator, self.networks["discriminator"], batch
        draws = drawn(objective.discriminator_draws(), "discriminator")
        gradients, metrics = discriminator_gradients(*networks, draws, **given)
        self._apply("discriminator", gradients)
        draws = drawn(objective.generator_draws(), "generator")
        gradients, more = generator_gradients(*networks, draws, **given)
        objective.update_statistics(generator, batch, draws, lambda tree: tree)
        self._apply("generator", gradients)
        return {**metrics, **more}

    def _own_update(self, batch, drawn, given):
        """The update of a generator that learns by itself; returns its metrics."""
        networks = self.objective, self.networks["generator"], batch
        draws = drawn(self.objective.draws(), "generator")
        gradients, metrics = own_gradients(*networks, draws, **given)
        self._apply("generator", gradients)
        return metrics

    def _apply(self, name, gradients):
        if FLAGS.clip_norm:
            gradients = clip_by_global_norm(gradients, FLAGS.clip_norm)
        self.optimizers[name].apply(gradients, self.networks[name].trainable_variables)

    def holding(self, values):
        """A scope in which the variables have `values`, of one seed."""
        return keras.StatelessScope(list(zip(self.state, values, strict=True)))

    def every_seed(self, function):
        """`function`, of arrays of one seed, for arrays of all."""
        if len(self.seeds) > 1:
            return jax.vmap(function)

        def alone(*arrays):
            first = jax.tree.map(lambda x: x[0], arrays)
            return jax.tree.map(lambda x: x[None], function(*first))

        return alone

    def many_steps(self):
        """Compiled: (values, keys, images and labels, first step, indices) to new values, metrics.

        `indices` is (steps, seeds, batch); metrics are means over the steps, (seeds,).
        """

        def run(values, keys, images, first, indices):
            def one(values, step_and_rows):
                step, rows = step_and_rows

                def of_seed(values, key, rows):
                    taken = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), images)
                    return self.step(values, key, taken, step)

                return self.every_seed(of_seed)(values, keys, rows)

            steps = first + jnp.arange(len(indices))
            values, metrics = jax.lax.scan(one, values, (steps, indices))
            return values, jax.tree.map(lambda x: jnp.mean(x, axis=0), metrics)

        return jax.jit(run, donate_argnums=0)

    def sampler(self):
        """Compiled: (values, latents and, if conditional, labels) to the averages' images."""

        def sample(values, inputs):
            def of_seed(values):
                with self.holding(values):
                    return self.averaged(*inputs)

            return self.every_seed(of_seed)(values)

        return jax.jit(sample)

    def features(self, classifier):
        """Compiled: (values, latents (N, Z), uint8 images) to features of samples and of images.

        Args:
            classifier: models.features.classifier.Classifier.
        """

        def of_images(images):
            return classifier(images, training=False)["features"]

        def measured(values, z, images):
            def of_seed(values):
                with self.holding(values):

                    def some(z):
                        samples = jnp.clip(self.averaged(z).astype("float32"), -1.0, 1.0)
                        return of_images(jnp.rint((samples + 1.0) * 127.5))  # as pictures.to_uint8

                    return jax.lax.map(some, z.reshape(-1, at_once(len(z)), z.shape[-1]))

            with jax.default_matmul_precision("highest"):
                parts = self.every_seed(of_seed)(values)  # (seeds, parts, at once, F)
                return parts.reshape(len(self.seeds), len(z), -1), of_images(images)

        return jax.jit(measured)


def at_once(count):
    """How many of `count` images are measured at once."""
    return min(270, count)


def ema_decay(step):
    """The decay of the EMA at a step, as the flags say."""
    if not FLAGS.ema_halflife_kimg:
        return FLAGS.ema_decay
    halflife = FLAGS.ema_halflife_kimg
    return decay_of_halflife(FLAGS.batch_size, images_seen(step), halflife, FLAGS.ema_rampup)


def images_seen(step):
    """Images before a step, a float32 scalar."""
    return step.astype(jnp.float32) * FLAGS.batch_size


def draw(specification, count, key):
    """What an objective asks for, for `count` images."""
    flat = keras.tree.flatten(specification)
    drawn = []
    for i, wanted in enumerate(flat):
        k, shape = jax.random.fold_in(key, i), (count, *wanted.shape)
        if wanted.kind == "normal":
            drawn.append(jax.random.normal(k, shape))
        elif wanted.kind == "uniform":
            drawn.append(jax.random.uniform(k, shape))
        else:
            drawn.append(jax.random.randint(k, shape, wanted.low, wanted.high))
    return keras.tree.pack_sequence_as(specification, drawn)


def rows_of_steps(seeds, first, steps, count):
    """Which images the steps take: every image once an epoch, shuffled by (seed, epoch).

    Returns:
        int32 array (steps, seeds, batch).
    """
    positions = np.arange(first * FLAGS.batch_size, (first + steps) * FLAGS.batch_size)
    epochs, within = positions // count, positions % count
    rows = np.empty((len(seeds), len(positions)), np.int32)
    for of_seed, seed in zip(rows, seeds, strict=True):
        for epoch in np.unique(epochs):
            order = np.random.default_rng([seed, epoch]).permutation(count)
            of_seed[epochs == epoch] = order[within[epochs == epoch]]
    return rows.reshape(len(seeds), steps, FLAGS.batch_size).swapaxes(0, 1)
