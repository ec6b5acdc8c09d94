"""How fast a model trains here: some of its steps, on its set, timed."""

import math
import statistics
import time

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf.data import pipeline
from ladagan_tf.training.loop import run_steps

WARM_UP = 2  # steps, in which the others are traced
FEWEST = 3  # steps to time


class Stopwatch(keras.callbacks.Callback):
    """Times steps and ends when there are enough of them.

    Args:
        seconds: float, to go on for, behind the first steps.
        clock: function that returns seconds.

    Attributes:
        times: list of float, seconds of each step.
    """

    def __init__(self, seconds, clock=time.perf_counter):
        super().__init__()
        self.seconds, self.clock = seconds, clock
        self.times, self.last = [], None

    def on_train_batch_end(self, batch, logs=None):
        keras.ops.convert_to_numpy(self.model.step)  # waits for the devices
        now = self.clock()
        if batch >= WARM_UP:
            self.times.append(now - self.last)
        self.last = now
        enough = len(self.times) >= FEWEST and sum(self.times) >= self.seconds
        self.model.stop_training = enough


def images_per_second(model, folder, batch_size, seconds, flip=False):
    """Trains some steps of a model and times them; its weights change.

    Args:
        model: TrainedModel, compiled in its strategy's scope.
        folder: a prepared set.
        batch_size: int, images per step over all replicas.
        seconds: float, for how long to time steps; three at least.
        flip: bool, see `data.pipeline.make_dataset`.

    Returns:
        float, from the median of the steps: input, both updates and the average; no grids, no
        metric, no checkpoints.
    """
    strategy = model.distribute_strategy
    stream = strategy.distribute_datasets_from_function(
        lambda _: pipeline.make_dataset(
            folder,
            batch_size=batch_size,
            seed=model.seed,
            flip=flip,
            replicas=strategy.num_replicas_in_sync,
            **model.objective.needs,
        )
    )
    with pipeline.damage_as_input_error(folder):
        return batch_size / _seconds_per_step(model, stream, seconds)


def seconds_on_random_data(model, batch_size, seconds):
    """As `images_per_second`, without a set: the same random batch at every step.

    Args:
        model: TrainedModel, compiled in its strategy's scope, without a teacher.
        batch_size, seconds: see `images_per_second`.

    Returns:
        float, seconds of a step.
    """
    strategy, random = model.distribute_strategy, np.random.default_rng(0)
    replica = batch_size // strategy.num_replicas_in_sync
    classes = max(1, getattr(model.generator, "num_classes", 0))
    *side, channels = model.generator.compute_output_shape((replica, model.generator.noise_dim))
    if getattr(model.objective, "scaling_factor", None) is None:
        x = random.integers(0, 256, (*side, channels), np.uint8)
    else:  # of latents
        x = {"moments": random.random((*side, 2 * channels), np.float32)}
    batch = x, random.integers(0, classes, replica, np.int32)
    stream = strategy.distribute_datasets_from_function(
        lambda _: tf.data.Dataset.from_tensors(batch).repeat()
    )
    return _seconds_per_step(model, stream, seconds)


def _seconds_per_step(model, stream, seconds):
    watch = Stopwatch(seconds)
    run_steps(model, stream, WARM_UP + max(FEWEST, math.ceil(1000 * seconds)), [watch])
    return statistics.median(watch.times)
