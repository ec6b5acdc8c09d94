"""How fast a model trains here: some of its steps, on its set, timed."""

import math
import statistics
import time

import keras

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
        int(self.model.step)  # waits for the device
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
    watch = Stopwatch(seconds)
    most = WARM_UP + max(FEWEST, math.ceil(1000 * seconds))
    with pipeline.damage_as_input_error(folder):
        run_steps(model, stream, most, [watch])
    return batch_size / statistics.median(watch.times)
