"""What a run shows of itself: statistics, samples, a quick metric, a progress bar."""

import json
import secrets
import sys
import time

import numpy as np
import tensorflow as tf

from ladagan_tf import pictures
from ladagan_tf.decimals import in_kimg, plain
from ladagan_tf.errors import InputError, reason
from ladagan_tf.files import write_text
from ladagan_tf.hardware import peak_memory
from ladagan_tf.progress import progress_bar
from ladagan_tf.reports.gathering import classes_of_rows
from ladagan_tf.runs import results
from ladagan_tf.sampling.sampler import of_network
from ladagan_tf.training.callbacks import StepCallback

ATTENTION_IMAGES = 6
HALF = 0.5  # psi of the second grid
FIRST_SECONDS = 60
SHOWN = (
    "d_loss",
    "g_loss",
    "velocity_loss",
    "r1",
    "alignment",
    "clipped",
)  # beside the progress bar
STEPS = ("step", "kimg")  # of a line of stats.jsonl: when it was
CLIPPED = 0.2  # share of generated values beyond what a picture holds that is warned of
# The groups of TensorBoard, by how the names of their scalars begin.
GROUPS = {
    "loss": ("d_loss", "d_total", "g_loss", "g_total", "velocity_loss", "alignment"),
    "logits": ("real_", "fake_logits", "margin"),
    "penalties": ("r1", "r2", "bcr", "centring"),
    "stages": ("consistency", "stage_", "pull_"),
    "norms": ("d_grad", "g_grad", "skipped"),
    "images": ("clipped",),
    "schedule": ("augment_p", "lr_factor", "penalty_factor", "noise_level_"),
    "speed": ("img_per_s", "sec_per_kimg"),
    "memory": ("cpu_peak_gb", "gpu_peak_gb"),
    "metric": ("",),
}


def tag(name):
    """A scalar's name in TensorBoard, behind that of its group, as "loss/d_loss"."""
    return next(f"{group}/{name}" for group, begins in GROUPS.items() if name.startswith(begins))


def write_flags(writer, flags, images):
    """Shows the flags of a start in TensorBoard, as a table.

    Args:
        writer: tf.summary writer.
        flags: dict of text.
        images: int, at which the start begins.
    """
    rows = "".join(f"| {name} | {value} |\n" for name, value in sorted(flags.items()))
    with writer.as_default(step=images):
        tf.summary.text("flags", f"| flag | value |\n|---|---|\n{rows}")


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
        results = self.model.means()
        self.model.reset_means()
        images = self.schedule.images(step)
        seen = images - self.schedule.images(self.since_step)
        speed, seconds = seen / (now - self.since), 1000.0 * (now - self.since) / seen
        traced, self.since, self.since_step = self.since_step > self.schedule.start_step, now, step
        # Rounded: means are stored in float32 and more digits would be noise.
        means = {name: float(f"{value:.6g}") for name, value in results.items()}
        speeds = {"img_per_s": round(speed, 2), "sec_per_kimg": round(seconds, 3)}
        counts = {**self.model.totals(), **self.model.scheduled(images), **speeds, **peak_memory()}
        self.run.append_stats({"step": step, "kimg": images / 1000.0, **means, **counts})
        self.run.note(self._in_words(images, speed if traced else None, means))
        with self.writer.as_default(step=images):
            for name, value in {**means, **counts}.items():
                tf.summary.scalar(tag(name), value)

    def _in_words(self, images, speed, means):
        total = self.schedule.images(self.schedule.total_steps)
        words = f"{in_kimg(images)} of {in_kimg(total)} kimg"
        if speed:  # of the first window it is that of tracing
            words += f", {plain(speed, 4)} images/s, {duration(total - images, speed)} left"
        losses = [f"{name} {means[name]:.3f}" for name in SHOWN if name in means]
        return f"{words}: {', '.join(losses)}"


def duration(images, speed):
    """How long `images` take at `speed` images per second: text."""
    minutes, seconds = divmod(round(images / speed), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min" if hours < 48 else f"{hours / 24:.1f} days"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"


class Samples(StepCallback):
    """Writes a grid of EMA samples from fixed latents every `kimg`, and before the first step.

    LadaGAN adds a sheet of what its heads attend to, unless its attention has no maps. A
    conditional generator shows a class per row, spread over all. One with mean styles adds a second
    grid of the same samples half way to their classes' means.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        writer: tf.summary writer.
        kimg: float.
        network: keras.Model, the EMA generator, or what decodes it.
        grid: int, rows and columns.
        seed: int, of the latents.
        scale: int, whole factor that images are enlarged by; None: the largest that keeps a grid
            within `pictures.WIDE`.
    """

    def __init__(self, schedule, run, writer, kimg, network, grid, seed, scale=None):
        super().__init__(schedule)
        self.run = run
        self.writer = writer
        self.kimg = kimg
        self.network = network
        self.columns, self.scale = grid, scale
        latents = np.random.default_rng(seed).normal(size=(grid**2, network.noise_dim))
        self.inputs, self.labels = [latents.astype(np.float32)], None
        if getattr(network, "num_classes", 0):
            self.labels = np.repeat(classes_of_rows(network.num_classes, grid), grid)
            self.inputs.append(self.labels)

    def on_train_begin(self, logs=None):
        generate, self.sheets = self.network, self._grids
        if getattr(self.network, "has_attention_maps", False):
            generate, self.sheets = self.network.attention_maps, self._attended
        self.generate = tf.function(generate, autograph=False)
        if self.schedule.start_step == 0:
            self.write(0)

    def after_step(self, step):
        if self.schedule.due(step, self.kimg):
            self.write(step)

    def write(self, step):
        seen = self.schedule.images(step)
        for name, sheet in self.sheets().items():
            pictures.save_png(self.run.samples / f"{name}_{seen / 1000:010.3f}kimg.png", sheet)
            with self.writer.as_default(step=seen):
                tf.summary.image(f"images/{name}", sheet[None])

    def _batches(self):
        for start in range(0, len(self.inputs[0]), 64):
            yield [part[start : start + 64] for part in self.inputs]

    def _attended(self):
        images, maps = [], None
        for inputs in self._batches():
            batch, batch_maps = self.generate(*inputs)
            images.append(pictures.to_uint8(batch))
            if maps is None:
                maps = [np.asarray(m[:ATTENTION_IMAGES], np.float32) for m in batch_maps]
        images = np.concatenate(images)
        return {
            "samples": pictures.enlarged_grid(images, self.columns, self.scale),
            "attention": pictures.attention_sheet(images[:ATTENTION_IMAGES], maps),
        }

    def _grids(self):
        strengths = {"samples": {}}
        if hasattr(self.network, "mean_style"):
            strengths = {"samples": {"psi": 1.0}, f"samples_psi{HALF}": {"psi": HALF}}
        sheets = {}
        for name, strength in strengths.items():
            images = [pictures.to_uint8(self.generate(*i, **strength)) for i in self._batches()]
            sheets[name] = pictures.enlarged_grid(np.concatenate(images), self.columns, self.scale)
        return sheets


class Measuring(StepCallback):
    """Measures the EMA generator every `kimg` and writes a line of its own to stats.jsonl.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        writer: tf.summary writer.
        kimg: float.
        metric: evaluation.quick.QuickMetric.
        network: keras.Model, the EMA generator, or what decodes it.
    """

    def __init__(self, schedule, run, writer, kimg, metric, network):
        super().__init__(schedule)
        self.run = run
        self.writer = writer
        self.kimg = kimg
        self.metric = metric
        self.generator = of_network(network)
        self.score, self.measured_step = None, None
        flow = getattr(network, "generator", network)  # where it is decoded
        made = f" {flow.sampler} {flow.steps}" if hasattr(flow, "sampler") else ""
        self.measured_by = metric.identity + made  # of what scores can be compared

    def after_step(self, step):
        if not self.schedule.due(step, self.kimg):
            return
        start = time.perf_counter()
        self.score, self.measured_step = float(f"{self.metric(self.generator):.6g}"), step
        seconds = round(time.perf_counter() - start, 2)
        images = self.schedule.images(step)
        self.run.append_stats(
            {
                "step": step,
                "kimg": images / 1000.0,
                self.metric.name: self.score,
                "metric_seconds": seconds,
            }
        )
        self.run.note(f"{self.metric.name} {plain(self.score)} at {in_kimg(images)} kimg")
        with self.writer.as_default(step=images):
            tf.summary.scalar(tag(self.metric.name), self.score)


class Tracking(StepCallback):
    """Shows at Weights & Biases what a run writes: the lines of stats.jsonl, and sample grids.

    The run's directory stays the only truth. A run that continues goes on at the same page.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        project: str, of Weights & Biases; WANDB_MODE=offline in the environment keeps it here.
        flags: dict of text, shown as the run's config.
        intervals_kimg: floats, after which there may be something new.

    Raises:
        InputError: when the training begins, if Weights & Biases cannot be reached.
    """

    def __init__(self, schedule, run, project, flags, intervals_kimg):
        super().__init__(schedule)
        self.run = run
        self.project = project
        self.flags = flags
        self.intervals_kimg = intervals_kimg
        self.tracked = None  # until it has begun

    def on_train_begin(self, logs=None):
        import wandb

        name = self.run.path / "wandb-id.txt"
        if not name.exists():
            write_text(name, f"{secrets.token_hex(4)}\n")
        self.image = wandb.Image
        self.known = self.run.stats_file.stat().st_size if self.run.stats_file.exists() else 0
        self.sent = None
        try:
            self.tracked = wandb.init(
                project=self.project,
                id=name.read_text(encoding="utf-8").strip(),
                name=self.run.path.name,
                dir=str(self.run.path),
                config=self.flags,
                resume="allow",
            )
        except Exception as error:  # of several kinds, for a key, a host or a disk
            raise InputError(
                f"--wandb={self.project}: Weights & Biases cannot be reached ({reason(error)}); "
                "WANDB_MODE=offline in the environment keeps it on this machine"
            ) from None

    def after_step(self, step):
        if any(self.schedule.due(step, kimg) for kimg in self.intervals_kimg):
            self.send(step)

    def send(self, step):
        """Sends what is new after a step."""
        with open(self.run.stats_file, "rb") as file:
            file.seek(self.known)
            lines = file.read().splitlines()
            self.known = file.tell()
        found = {}
        for line in map(json.loads, lines):
            found |= {tag(name): value for name, value in line.items() if name not in STEPS}
        _, grid = next(reversed(results.sample_grids(self.run.path)), (None, None))
        if grid and grid != self.sent:
            found["images/samples"], self.sent = self.image(str(grid)), grid
        if found:
            self.tracked.log({**found, "kimg": self.schedule.images(step) / 1000}, step=step)

    def on_train_end(self, logs=None):
        if self.tracked:
            self.tracked.finish()


class Forecast(StepCallback):
    """Says after the first minute how long the run will take at its speed.

    Args:
        schedule: Schedule.
        run: RunDirectory.
        clock: function that returns seconds.
    """

    def __init__(self, schedule, run, clock=time.perf_counter):
        super().__init__(schedule)
        self.run = run
        self.clock = clock
        self.began = self.said = None

    def after_step(self, step):
        if self.began is None:  # behind the first step, in which the others are traced
            self.began = self.clock(), self.schedule.images(step)
        elif not self.said and self.clock() - self.began[0] >= FIRST_SECONDS:
            images = self.schedule.images(step)
            speed = (images - self.began[1]) / (self.clock() - self.began[0])
            left = self.schedule.images(self.schedule.total_steps) - images
            self.said = f"{plain(speed, 4)} images/s in the first minute: "
            self.said += f"{duration(left, speed)} to the end"
            self.run.say(f"{self.run.path}: {self.said}")


class Progress(StepCallback):
    """A progress bar in kimg with img/s, time left and losses, if there is a terminal.

    Once in a start it warns when pictures cannot hold more than `CLIPPED` of the generated values.

    Args:
        schedule: Schedule.
        kimg: float, how often the losses beside the bar are read from the device.
    """

    def __init__(self, schedule, kimg):
        super().__init__(schedule)
        self.kimg = kimg

    def on_train_begin(self, logs=None):
        start, total = self.schedule.start_step, self.schedule.total_steps
        self.warned = False
        self.bar = progress_bar(
            self.schedule.images(total),
            "img",
            "training",
            initial=self.schedule.images(start),
            unit_scale=True,
            smoothing=0.05,
            mininterval=0.5,
        )

    def after_step(self, step):
        if self.schedule.due(step, self.kimg):
            results = self.model.means()
            shown = {name: results[name] for name in SHOWN if name in results}
            self.bar.set_postfix({k: f"{v:.3f}" for k, v in shown.items()}, refresh=False)
            self._warn(results.get("clipped", 0.0))
        self.bar.update(self.schedule.batch_size)

    def _warn(self, clipped):
        if clipped > CLIPPED and not self.warned:
            self.warned = True
            self.bar.write(
                f"warning: {clipped:.0%} of what the generator makes is beyond [-1, 1] and clipped "
                "in pictures; docs/lada.md, What small runs show, says what holds it",
                file=sys.stderr,
            )

    def on_train_end(self, logs=None):
        self.bar.close()
