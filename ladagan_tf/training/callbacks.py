"""What keeps a run safe: when things are due, the guard against NaN, checkpoints, preemption.

Every callback counts in images: an interval in kimg is due at the first step that reaches a
multiple of it, and at the last step. In the order of this file nothing is written after a step that
went wrong, and a checkpoint comes last, so that it holds the state of what was written.
"""

import keras
import numpy as np

from ladagan_tf.errors import DivergenceError
from ladagan_tf.stopping import StopRequest


class Schedule:
    """Turns steps of one start into images and intervals.

    Args:
        batch_size: int, images per step.
        start_step, total_steps: ints, where this start begins and the run ends.
        start_images: int, images before `start_step`, which earlier starts may have seen in batches
            of another size; None if they did not.
    """

    def __init__(self, batch_size, start_step, total_steps, start_images=None):
        self.batch_size = batch_size
        self.start_step = start_step
        self.total_steps = total_steps
        self.start_images = start_step * batch_size if start_images is None else start_images

    def step(self, batch):
        """Finished steps of the run after this start's batch number `batch`."""
        return self.start_step + batch + 1

    def images(self, step):
        return self.start_images + (step - self.start_step) * self.batch_size

    def due(self, step, kimg):
        """Whether something that happens every `kimg` thousand images happens at `step`."""
        interval = kimg * 1000.0
        crossed = self.images(step) // interval > self.images(step - 1) // interval
        return crossed or step == self.total_steps


class StepCallback(keras.callbacks.Callback):
    """A callback that acts on finished steps."""

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule

    def on_train_batch_end(self, batch, logs=None):
        self.after_step(self.schedule.step(batch))


class FiniteGuard(StepCallback):
    """Stops a run whose losses or gradients are no longer finite, before anything is written.

    Args:
        schedule: Schedule.
        intervals_kimg: floats; looks whenever one of them is due, because looking at every step
            would make the host wait for the device.
        checkpoints: Checkpoints, to name the last good one.
    """

    def __init__(self, schedule, intervals_kimg, checkpoints):
        super().__init__(schedule)
        self.intervals_kimg = intervals_kimg
        self.checkpoints = checkpoints

    def after_step(self, step):
        if any(self.schedule.due(step, kimg) for kimg in self.intervals_kimg):
            self.check()

    def check(self):
        bad = int(keras.ops.convert_to_numpy(self.model.bad_step))
        if bad >= 0:
            self.stop(f"a loss or gradient became NaN or infinite at step {bad + 1}")

    def check_weights(self, step):
        """The stricter look before a checkpoint: an update can overflow from a finite gradient."""
        self.check()
        for network in self.model.networks.values():
            for weight in network.weights:
                if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
                    self.stop(f"a weight ({weight.path}) is NaN or infinite after step {step}")

    def stop(self, what):
        """Ends the run, saying what happened, a text."""
        paths = self.checkpoints.paths()
        last = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
        raise DivergenceError(f"{what}; {last}. {self.model.steadied_by}; nothing was overwritten")


class Checkpointing(StepCallback):
    """Saves a checkpoint every `kimg`, with every measurement and, when told to stop, at once.

    SIGTERM, SIGINT and SIGHUP let the running step finish, save, and end the loop, and so does the
    end of who read what is printed. A second signal has its usual effect. Several workers end after
    the same step, whichever of them was told.

    Args:
        schedule: Schedule.
        checkpoints: Checkpoints.
        guard: FiniteGuard, asked before anything is saved.
        kimg: float.
        writes: bool, whether this process is the one that saves.
        measuring: Measuring, whose score the checkpoint of its step keeps; or None.
        any_told: function from whether this worker was told to stop to whether any was, see
            `workers.Workers`; what one worker was told is all there is.
        heard: function that returns whether what is printed is read, as `RunDirectory.heard`.
        snapshots: runs.snapshots.Snapshots, written where a checkpoint is due, so that a run has
            the same ones whether it was stopped or not; or None.
        check: function that is called before anything is saved, and may raise.
    """

    def __init__(
        self,
        schedule,
        checkpoints,
        guard,
        kimg,
        writes=True,
        measuring=None,
        any_told=bool,
        heard=lambda: True,
        snapshots=None,
        check=lambda: None,
    ):
        super().__init__(schedule)
        self.checkpoints = checkpoints
        self.guard = guard
        self.kimg = kimg
        self.writes = writes
        self.measuring = measuring
        self.any_told = any_told
        self.heard = heard
        self.snapshots = snapshots
        self.check = check
        self.request = StopRequest()
        self.stopped_by = None  # what ended the loop, in words

    def on_train_begin(self, logs=None):
        self.request.begin()

    def on_train_end(self, logs=None):
        self.request.end()

    def after_step(self, step):
        received = self.request.received or (None if self.heard() else "a closed pipe")
        told = self.any_told(received is not None)
        if told and step < self.schedule.total_steps:  # what is finished is not stopped
            self.stopped_by = received or "a signal to another worker"
        measured = self.measuring is not None and self.measuring.measured_step == step
        due = self.schedule.due(step, self.kimg)
        if self.stopped_by or measured or due:
            self.check()
            self.guard.check_weights(step)
            if self.snapshots and due:
                self.snapshots.save(step, self.schedule.images(step))
            if self.writes:
                found = (self.measuring.score, self.measuring.measured_by) if measured else ()
                self.checkpoints.save(step, self.schedule.images(step), *found)
        if self.stopped_by:
            self.model.stop_training = True
