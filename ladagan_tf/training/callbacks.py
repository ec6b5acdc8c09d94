"""What happens around a run's steps: guard, statistics, samples, checkpoints, preemption, progress.

Every callback counts in images: an interval in kimg is due at the first step that reaches a
multiple of it, and at the last step. In the order of this file nothing is written after a step that
went wrong, and a checkpoint comes last, so that it holds the state of what was written.
"""

import signal
import time

import keras
import numpy as np
import tensorflow as tf
import tqdm

from ladagan_tf import pictures
from ladagan_tf.errors import InputError

ATTENTION_IMAGES = 6


class Schedule:
    """Turns steps of one start into images and intervals.

    Args:
        batch_size: int, images per step.
        start_step, total_steps: ints, where this start begins and the run ends.
    """

    def __init__(self, batch_size, start_step, total_steps):
        self.batch_size = batch_size
        self.start_step = start_step
        self.total_steps = total_steps

    def step(self, batch):
        """Finished steps of the run after this start's batch number `batch`."""
        return self.start_step + batch + 1

    def images(self, step):
        return step * self.batch_size

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
            self._stop(f"a loss or gradient became NaN or infinite at step {bad + 1}")

    def check_weights(self, step):
        """The stricter look before a checkpoint: an update can overflow from a finite gradient."""
        self.check()
        for network in (self.model.generator, self.model.discriminator):
            for weight in network.weights:
                if not np.all(np.isfinite(keras.ops.convert_to_numpy(weight))):
                    self._stop(f"a weight ({weight.path}) is NaN or infinite after step {step}")

    def _stop(self, what):
        paths = self.checkpoints.paths()
        last = f"the last good checkpoint is {paths[-1]}" if paths else "there is no checkpoint yet"
        raise InputError(
            f"{what}; {last}. "
            "Lower --g_lr and --d_lr, set --clip_norm, raise --r1_weight, or use a wider "
            "--precision; nothing was overwritten"
        )


class Statistics(StepCallback):
    """Writes a line of means to stats.jsonl and TensorBoard every `kimg`.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        writer: tf.summary writer.
        kimg: float, length of a window.
    """

    def __init__(self, schedule, run, writer, kimg):
        super().__init__(schedule)
        self.run = run
        self.writer = writer
        self.kimg = kimg

    def on_train_begin(self, logs=None):
        self.since, self.since_step = time.perf_counter(), self.schedule.start_step

    def after_step(self, step):
        if not self.schedule.due(step, self.kimg):
            return
        now = time.perf_counter()
        results = self.model.window_results()
        self.model.reset_window()
        images = self.schedule.images(step)
        speed = self.schedule.images(step - self.since_step) / (now - self.since)
        self.since, self.since_step = now, step
        # Rounded: means are stored in float32 and more digits would be noise.
        means = {name: float(f"{value:.6g}") for name, value in results.items()}
        speeds = {"img_per_s": round(speed, 2)}
        self.run.append_stats({"step": step, "kimg": images / 1000.0, **means, **speeds})
        with self.writer.as_default(step=images):
            for name, value in {**means, **speeds}.items():
                tf.summary.scalar(name, value)


class Samples(StepCallback):
    """Writes a grid of EMA samples from fixed latents, and an attention sheet, every `kimg`.

    The grid is also written before the first step. `generator` must have `attention_maps`.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        writer: tf.summary writer.
        kimg: float.
        latents: float array (N, Z), the grid's latents.
        columns: int, images per row.
    """

    def __init__(self, schedule, run, writer, kimg, latents, columns):
        super().__init__(schedule)
        self.run = run
        self.writer = writer
        self.kimg = kimg
        self.latents = latents
        self.columns = columns

    def on_train_begin(self, logs=None):
        self.generate = tf.function(self.model.averaged.attention_maps)
        if self.schedule.start_step == 0:
            self.write(0)

    def after_step(self, step):
        if self.schedule.due(step, self.kimg):
            self.write(step)

    def write(self, step):
        images, maps = [], None
        for start in range(0, len(self.latents), 64):
            batch, batch_maps = self.generate(self.latents[start : start + 64])
            images.append(pictures.to_uint8(batch))
            if maps is None:
                maps = [np.asarray(m[:ATTENTION_IMAGES], np.float32) for m in batch_maps]
        images = np.concatenate(images)
        seen = self.schedule.images(step)
        sheets = {
            "samples": pictures.grid(images, self.columns),
            "attention": pictures.attention_sheet(images[:ATTENTION_IMAGES], maps),
        }
        for name, sheet in sheets.items():
            pictures.save_png(self.run.samples / f"{name}_{seen / 1000:010.3f}kimg.png", sheet)
            with self.writer.as_default(step=seen):
                tf.summary.image(name, sheet[None])


class Checkpointing(StepCallback):
    """Saves a checkpoint every `kimg` and, when told to stop, at once.

    SIGTERM and SIGINT let the running step finish, save, and end the loop; a second signal has its
    usual effect.

    Args:
        schedule: Schedule.
        checkpoints: Checkpoints.
        guard: FiniteGuard, asked before anything is saved.
        kimg: float.
        writes: bool, whether this process is the one that saves.
    """

    def __init__(self, schedule, checkpoints, guard, kimg, writes=True):
        super().__init__(schedule)
        self.checkpoints = checkpoints
        self.guard = guard
        self.kimg = kimg
        self.writes = writes
        self.stopped_by = None
        self.previous = {}

    def on_train_begin(self, logs=None):
        for number in (signal.SIGTERM, signal.SIGINT):
            self.previous[number] = signal.signal(number, self._stop)

    def on_train_end(self, logs=None):
        self._restore_handlers()

    def _stop(self, number, frame):
        self.stopped_by = signal.Signals(number).name
        self._restore_handlers()

    def _restore_handlers(self):
        for number, handler in self.previous.items():
            signal.signal(number, handler)
        self.previous = {}

    def after_step(self, step):
        if self.stopped_by or self.schedule.due(step, self.kimg):
            self.guard.check_weights(step)
            if self.writes:
                self.checkpoints.save(step, self.schedule.images(step))
        if self.stopped_by:
            self.model.stop_training = True


class Progress(StepCallback):
    """A progress bar in kimg with img/s, time left and losses; plain lines where there is no tty.

    Args:
        schedule: Schedule.
        kimg: float, how often the losses beside the bar are read from the device.
    """

    def __init__(self, schedule, kimg):
        super().__init__(schedule)
        self.kimg = kimg

    def on_train_begin(self, logs=None):
        start, total = self.schedule.start_step, self.schedule.total_steps
        self.bar = tqdm.tqdm(
            total=self.schedule.images(total),
            initial=self.schedule.images(start),
            unit="img",
            unit_scale=True,
            desc="training",
            smoothing=0.05,
            dynamic_ncols=True,
            mininterval=0.5,
        )

    def after_step(self, step):
        if self.schedule.due(step, self.kimg):
            results = self.model.window_results()
            shown = {name: results[name] for name in ("d_loss", "g_loss", "r1") if name in results}
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
        self.bar.update(self.schedule.batch_size)

    def on_train_end(self, logs=None):
        self.bar.close()
