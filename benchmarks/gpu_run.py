"""Trains for some minutes on a machine that has JAX and no TensorFlow, and measures the step.

    python benchmarks/gpu_run.py --flagfile=configs/emoji64_gpu.cfg --images=emoji64.npz \
        --minutes=8 --out=FOLDER
    python benchmarks/gpu_run.py --flagfile=configs/cifar10.cfg --measure --out=FOLDER

Flags, networks, objective and optimizers are train.py's; only the loop around them is JAX's. Draws
and the order of the images follow from (seed, step), but are not those of train.py. FOLDER gets

    run.json            flags, configurations of the networks, device, speed, hashes of the parts
    weights-0.npy ..    float16: the averaged generator and the discriminator, cut into parts
    stats.jsonl         a line for each window of --log_kimg
    samples.png         the averaged generator at the end
    progress.png        the same latents over time, a row for each time
    at-KIMG/            run.json and parts as they were at the moments of --snapshots

or with --measure one line more in measurements.jsonl. Where TensorFlow is,

    python -m ladagan_tf.convert --gpu_run=FOLDER --out=runs/NAME

makes a run directory of the first kind. Needs keras, jax, numpy, absl-py, matplotlib and Pillow.

Minutes on a lent GPU are for training: the same command with --compile_for=TARGET, on any machine
that has the same release of JAX with its CUDA plugin, compiles without a GPU and writes
FOLDER/programs.bin; --programs=FOLDER/programs.bin then starts at once. TARGET is a device as
XLA's GpuTargetConfigProto, in text (benchmarks/h100.txtpb), or "here".
"""

import hashlib
import io
import json
import os
import pathlib
import pickle
import statistics
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import keras
import numpy as np
from absl import app, flags
from jax.experimental import serialize_executable, topologies

from ladagan_tf.cost import gat as gat_cost
from ladagan_tf.cost import lada as lada_cost
from ladagan_tf.errors import InputError
from ladagan_tf.files import write_text
from ladagan_tf.flags import train as train_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.pictures import grid, save_png, to_uint8
from ladagan_tf.training.step import (
    decay_of_halflife,
    discriminator_gradients,
    generator_gradients,
    update_average,
)

FLAGS = flags.FLAGS
STARTED = time.perf_counter()
WRITING = 10.0  # seconds that are left for the results
HERE = "here"  # --compile_for: the device of this machine
PART_VALUES = 7_500_000  # float16 values of a part: 15 MB
MOMENTS = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the time: when samples are made
ROWS, COLUMNS = 6, 10  # of samples.png
PHASES = ("batch", "discriminator", "generator", "flip")  # streams of draws of a step


def define_flags():
    train_flags.define()
    flags.DEFINE_string(
        "images",
        None,
        "An .npz with uint8 images (N, S, S, 3) to train on, and `labels` (N,) for --conditional.",
    )
    flags.DEFINE_float("minutes", 8.0, "How long all may take, compiling and writing included.")
    flags.DEFINE_string("out", None, "Folder for the results.", required=True)
    flags.DEFINE_list("snapshots", [], "Shares of the time at which the weights are kept, too.")
    flags.DEFINE_integer("steps_per_call", 50, "Steps that the device does in one dispatch.")
    flags.DEFINE_bool("measure", False, "Time the step on random data instead of training.")
    flags.DEFINE_string("compile_for", None, "Only compile, for this device.")
    flags.DEFINE_string("programs", None, "File of --compile_for; unpickled, so trust it.")


def main(_):
    FLAGS.dataset = FLAGS.dataset or "unnamed"
    recorded = train_flags.resolve()
    if FLAGS.system == "gat" and not FLAGS.measure:
        raise InputError("--system=gat: it is only measured here, with --measure")
    if FLAGS.augment_target:
        raise InputError(f"--augment_target={FLAGS.augment_target:g}: only train.py adapts it")
    keras.utils.set_random_seed(FLAGS.seed % 2**32)
    trainer = Trainer()
    say("built")
    out = pathlib.Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    images = random_images() if FLAGS.measure else read_images()
    if FLAGS.compile_for:
        compile_elsewhere(trainer, images, out / "programs.bin")
    elif FLAGS.measure:
        line = json.dumps(measure(trainer, images, recorded))
        print(line)
        with open(out / "measurements.jsonl", "a") as file:
            file.write(line + "\n")
    else:
        train(trainer, images, recorded, out)


def say(what):
    """A line with the time since the start: compiling is the longest silence of a run."""
    print(f"{time.perf_counter() - STARTED:6.1f} s  {what}", flush=True)


class Trainer:
    """Networks, objective and optimizers of the flags, and their step as a pure function."""

    def __init__(self):
        with jax.default_device(jax.devices("cpu")[0]):  # a GPU compiles every zero of every shape
            self._build()

    def _build(self):
        system = train_flags.SYSTEMS[FLAGS.system]
        built = system.build(None)
        self.generator, self.averaged, self.discriminator, self.objective = built
        self.averaged.set_weights(self.generator.get_weights())
        self.schedules, self.rates, self.optimizers = train_flags.schedules(), [], []
        for base, network in ((FLAGS.d_lr, self.discriminator), (FLAGS.g_lr, self.generator)):
            rate = system.learning_rate(base, network)
            adam = keras.optimizers.Adam(rate, FLAGS.beta1, FLAGS.beta2, FLAGS.epsilon)
            adam.build(network.trainable_variables)
            self.optimizers.append(adam)
            self.rates.append(rate)
        self.state = [
            *self.generator.weights,
            *self.discriminator.weights,
            *self.averaged.weights,
            *(v for adam in self.optimizers for v in adam.variables),
        ]

    def values(self):
        """The state as arrays of their own, which a step may overwrite."""
        return [jax.device_put(np.array(v), jax.devices()[0]) for v in self.state]

    def step(self, values, inputs, step):
        """One update of each network.

        Args:
            values: list of arrays, the state.
            inputs: (images or dict, labels), as `objective.batch` takes them.
            step: int32 scalar, from 0.

        Returns:
            New values and a dict of scalars.
        """
        images, labels = inputs
        key = jax.random.fold_in(jax.random.key(FLAGS.seed), step)
        keys = {name: jax.random.fold_in(key, i) for i, name in enumerate(PHASES)}

        def drawn(specification, phase):
            return draw(specification, FLAGS.batch_size, keys[phase])

        if FLAGS.flip:
            mirrored = jax.random.bernoulli(keys["flip"], 0.5, (len(labels), 1, 1, 1))
            images = jnp.where(mirrored, images[:, :, ::-1], images)
        objective, generator, discriminator = self.objective, self.generator, self.discriminator
        d_adam, g_adam = self.optimizers
        with keras.StatelessScope(list(zip(self.state, values, strict=True))) as scope:
            batch = objective.batch(images, labels, drawn(objective.batch_draws(), "batch"))
            draws = drawn(objective.discriminator_draws(), "discriminator")
            networks = objective, generator, discriminator, batch
            strengths = self.schedules.at(images_seen(step))
            for adam, rate in zip(self.optimizers, self.rates, strict=True):
                adam.learning_rate = rate * strengths.rate
            given = {"micro_batches": FLAGS.micro_batches, "strengths": strengths}
            gradients, metrics = discriminator_gradients(*networks, draws, **given)
            d_adam.apply(gradients, discriminator.trainable_variables)
            draws = drawn(objective.generator_draws(), "generator")
            gradients, more = generator_gradients(*networks, draws, **given)
            objective.update_statistics(generator, batch, draws, lambda tree: tree)
            g_adam.apply(gradients, generator.trainable_variables)
            share = 1.0 - ema_decay(step)
            update_average(self.averaged, generator, share, objective.averages_statistics)
        return [scope.get_current_value(v) for v in self.state], {**metrics, **more}

    def many_steps(self):
        """Compiled: (values, inputs of a step by its index, first step, indices) to new values.

        `indices` is (steps, batch); metrics are means over the steps.
        """

        def run(values, images, first, indices):
            def one(values, step_and_rows):
                step, rows = step_and_rows
                taken = jax.tree.map(lambda x: jnp.take(x, rows, axis=0), images)
                return self.step(values, taken, step)

            steps = first + jnp.arange(len(indices))
            values, metrics = jax.lax.scan(one, values, (steps, indices))
            return values, jax.tree.map(jnp.mean, metrics)

        return jax.jit(run, donate_argnums=0)

    def sampler(self):
        """Compiled: (values, latents and, if conditional, labels) to the average's images."""

        def sample(values, inputs):
            with keras.StatelessScope(list(zip(self.state, values, strict=True))):
                return self.averaged(*inputs)

        return jax.jit(sample)


def programs(trainer, images, place=lambda tree: tree):
    """The step's program and, to train, the sampler's.

    Args:
        trainer: Trainer.
        images: what the step takes its batches from, and their labels.
        place: takes a pytree of arrays, returns what is lowered in its place.

    Returns:
        Compiled functions; --programs has them from a file.
    """
    if FLAGS.programs:
        with open(FLAGS.programs, "rb") as file:
            return [serialize_executable.deserialize_and_load(*each) for each in pickle.load(file)]
    rows = rows_of_steps(0, FLAGS.steps_per_call, len(jax.tree.leaves(images)[0]))
    state = [np.asarray(v) for v in trainer.state]
    lowered = [trainer.many_steps().lower(*place((state, images, np.int32(0), rows)))]
    if not FLAGS.measure:
        lowered.append(trainer.sampler().lower(*place((state, shown(trainer)))))
    say("traced")
    compiled = [each.compile() for each in lowered]
    say("compiled")
    return compiled


def compile_elsewhere(trainer, images, path):
    """Compiles for the device of --compile_for, which need not be here, into a file."""
    if FLAGS.compile_for == HERE:
        device = jax.devices()[0]
    else:
        with open(FLAGS.compile_for) as file:
            described = {"target_config": file.read(), "topology": "1x1x1"}
        device = topologies.get_topology_desc("device", "cuda", **described).devices[0]
    there = jax.sharding.SingleDeviceSharding(device)
    keras.src.backend.nn.conv = convolution

    def place(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there), tree)

    compiled = programs(trainer, images, place)
    path.write_bytes(pickle.dumps([serialize_executable.serialize(each) for each in compiled]))


def convolution(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """`keras.ops.conv` in two dimensions, channels last, as a product of matrices.

    Without a device XLA cannot choose cuDNN's algorithm for a convolution, and cuDNN refuses the
    program then; matrix products need no choice.
    """
    kernel = keras.ops.convert_to_tensor(kernel)
    inputs = keras.ops.convert_to_tensor(inputs, kernel.dtype)
    size, step, side = kernel.shape[0], int(np.ravel(strides)[0]), inputs.shape[1]
    if padding == "same":
        missing = max((-(-side // step) - 1) * step + size - side, 0)
        around = (missing // 2, missing - missing // 2)
        inputs, side = jnp.pad(inputs, ((0, 0), around, around, (0, 0))), side + missing
    starts = [(i, j, side - size + 1) for i in range(size) for j in range(size)]
    patches = [inputs[:, i : i + n : step, j : j + n : step] for i, j, n in starts]
    return jnp.concatenate(patches, -1) @ kernel.reshape(-1, kernel.shape[-1])


def shown(trainer):
    """Whose images are shown: latents (ROWS * COLUMNS, noise_dim), and a class per row if any."""
    count, classes = ROWS * COLUMNS, getattr(trainer.averaged, "num_classes", 0)
    z = np.random.default_rng(FLAGS.seed).standard_normal((count, FLAGS.noise_dim), np.float32)
    rows = np.linspace(0, classes - 1, ROWS).round().astype(np.int32)
    return (z, np.repeat(rows, COLUMNS)) if classes else (z,)


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


def rows_of_steps(first, steps, count):
    """Which images the steps take: every image once an epoch, shuffled by (seed, epoch).

    Returns:
        int32 array (steps, batch).
    """
    positions = np.arange(first * FLAGS.batch_size, (first + steps) * FLAGS.batch_size)
    epochs, within = positions // count, positions % count
    rows = np.empty(len(positions), np.int32)
    for epoch in np.unique(epochs):
        order = np.random.default_rng([FLAGS.seed, epoch]).permutation(count)
        rows[epochs == epoch] = order[within[epochs == epoch]]
    return rows.reshape(steps, FLAGS.batch_size)


def train(trainer, images, recorded, out):
    """Trains for --minutes and writes the results."""
    start = time.perf_counter()
    run, sample = programs(trainer, images)
    compiling = time.perf_counter() - start
    values, on_device, z = trainer.values(), jax.device_put(images), jax.device_put(shown(trainer))

    def about():
        """What run.json says of the weights as they are."""
        return {
            "flags": recorded,
            "step": step,
            "images": step * FLAGS.batch_size,
            "seconds": round(seconds, 1),
            "compile_seconds": round(compiling, 1),
            **environment(),
        }

    step, progress, lines, pending, window = 0, [], [], list(MOMENTS), []
    snapshots = sorted(map(float, FLAGS.snapshots))
    start = last = time.perf_counter()
    seconds, budget = 0.0, 60 * FLAGS.minutes - WRITING - (start - STARTED)
    while step == 0 or seconds < budget:
        rows = rows_of_steps(step, FLAGS.steps_per_call, len(images[0]))
        values, metrics = run(values, on_device, np.int32(step), rows)
        window.append(metrics)
        step += FLAGS.steps_per_call
        now = step * FLAGS.batch_size
        due = now // (1000 * FLAGS.log_kimg) > (now - rows.size) // (1000 * FLAGS.log_kimg)
        jax.block_until_ready(window[-2:][0])  # at most one dispatch ahead of the device
        seconds = time.perf_counter() - start
        if due:
            means = jax.tree.map(lambda *x: float(np.mean(x)), *window)
            rate = len(window) * rows.size / (time.perf_counter() - last)
            line = {"step": step, "kimg": now / 1000, "seconds": round(seconds, 1), **means}
            line |= {"img_per_s": round(rate, 1)}
            lines.append(json.dumps(line))
            print(lines[-1], flush=True)
            window, last = [], time.perf_counter()
            if not np.isfinite(list(means.values())).all():
                print("stopped: a loss is not finite", flush=True)
                break
        if pending and seconds >= budget * pending[0]:
            pending = [moment for moment in pending if seconds < budget * moment]
            progress.append(to_uint8(sample(values, z)[:COLUMNS]))
        if snapshots and seconds >= budget * snapshots[0]:
            snapshots.pop(0)
            folder = out / f"at-{now // 1000}"
            folder.mkdir(exist_ok=True)
            write_weights(trainer, values, about(), folder)
    jax.block_until_ready(values)
    seconds = time.perf_counter() - start
    told = {**about(), **speed(trainer, seconds / step)}
    write_text(out / "stats.jsonl", "".join(f"{line}\n" for line in lines))
    save_png(out / "samples.png", grid(to_uint8(sample(values, z)), COLUMNS))
    save_png(out / "progress.png", grid(np.concatenate(progress), COLUMNS))
    write_weights(trainer, values, told, out)
    print(json.dumps({k: v for k, v in told.items() if k not in ("flags", "networks")}))


def read_images():
    """uint8 images (N, S, S, 3) of --images, of the right size, and int32 labels (N,)."""
    if not FLAGS.images:
        raise InputError("--images is required: an .npz of uint8 images")
    with np.load(FLAGS.images, allow_pickle=False) as file:
        images = file["images"]
        labels = file["labels"] if FLAGS.conditional and "labels" in file else None
    side = FLAGS.resolution
    if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
        raise InputError(
            f"--images={FLAGS.images}: {images.dtype} of shape {images.shape}; uint8 "
            f"(N, {side}, {side}, 3) are accepted"
        )
    if not FLAGS.conditional:
        return images, np.zeros(len(images), np.int32)
    fits = labels is not None and labels.shape == images.shape[:1] and labels.dtype.kind in "iu"
    if not fits or not np.all((labels >= 0) & (labels < FLAGS.num_classes)):
        raise InputError(
            f"--images={FLAGS.images}: with --conditional it must hold int `labels` (N,) from 0 "
            f"to {FLAGS.num_classes - 1}"
        )
    return images, labels.astype(np.int32)


def write_weights(trainer, values, about, out):
    """run.json and the parts: averaged generator, then discriminator, one value after the other."""
    by_variable = dict(zip(map(id, trainer.state), values, strict=True))
    networks = {"averaged": trainer.averaged, "discriminator": trainer.discriminator}
    flat = [by_variable[id(w)] for network in networks.values() for w in network.weights]
    flat = np.concatenate([np.asarray(w, np.float32).ravel() for w in flat])
    half = flat.astype(np.float16)
    if not np.isfinite(half).all():
        raise InputError("a weight is not finite in float16")
    about["networks"] = {
        name: {
            "config": keras.saving.serialize_keras_object(network),
            "shapes": [list(w.shape) for w in network.weights],
        }
        for name, network in networks.items()
    }
    about["parts"] = {}
    for i, start in enumerate(range(0, len(half), PART_VALUES)):
        file = io.BytesIO()
        np.save(file, half[start : start + PART_VALUES])
        about["parts"][f"weights-{i}.npy"] = hashlib.sha256(file.getvalue()).hexdigest()
        (out / f"weights-{i}.npy").write_bytes(file.getvalue())
    write_text(out / "run.json", json.dumps(about, indent=2) + "\n")


def random_images():
    """Four batches: uint8 images, or {"moments": float32} for GAT, and labels."""
    rng, count, side = np.random.default_rng(0), 4 * FLAGS.batch_size, FLAGS.resolution
    labels = np.zeros(count, np.int32)
    if FLAGS.system == "gat":
        side = FLAGS.latent_size
        return {"moments": rng.random((count, side, side, 8), np.float32)}, labels
    return rng.integers(0, 256, (count, side, side, 3), np.uint8), labels


def measure(trainer, images, recorded):
    """Images per second of the step on `images`, memory and share of the matrix rate: dict."""
    start = time.perf_counter()
    [run] = programs(trainer, images)
    compiling, seconds = time.perf_counter() - start, []
    values, images = trainer.values(), jax.device_put(images)
    rows = rows_of_steps(0, FLAGS.steps_per_call, 4 * FLAGS.batch_size)
    for i in range(4):
        start = time.perf_counter()
        values, metrics = run(values, images, np.int32(i * FLAGS.steps_per_call), rows)
        jax.block_until_ready(metrics)
        seconds.append((time.perf_counter() - start) / FLAGS.steps_per_call)
    seconds = statistics.median(seconds[1:])
    names = ("system", "size", "patch", "resolution", "g_widths", "batch_size", "precision")
    return {
        **{name: recorded[name] for name in names if name in recorded},
        "compile_seconds": round(compiling, 1),
        **speed(trainer, seconds),
        "finite": bool(np.isfinite([float(v) for v in metrics.values()]).all()),
        **environment(),
    }


def speed(trainer, seconds):
    """What a step of `seconds` is worth: images and multiply-adds per second, as a dict."""
    cost = gat_cost if FLAGS.system == "gat" else lada_cost
    macs = cost.training_multiply_adds(trainer.generator, trainer.discriminator)
    rate, matmul = macs * FLAGS.batch_size / seconds, matmul_rate()
    return {
        "train_images_per_s": round(FLAGS.batch_size / seconds, 1),
        "milliseconds_per_step": round(1000 * seconds, 2),
        "multiply_adds_per_s": float(f"{rate:.4g}"),
        "bfloat16_matmul_multiply_adds_per_s": float(f"{matmul:.4g}"),
        "share_of_bfloat16_matmul_rate": round(rate / matmul, 3),
    }


def environment():
    """Command, device, its peak memory so far, versions and date: dict."""
    device = jax.devices()[0]
    memory = device.memory_stats() or {}
    return {
        "command": sys.argv,
        "device": device.device_kind,
        "peak_memory_gb": round(memory["peak_bytes_in_use"] / 1e9, 2) if memory else None,
        "jax": jax.__version__,
        "keras": keras.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def matmul_rate():
    """Multiply-adds per second of a large bfloat16 matrix product on this device."""
    size = 512 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(1), (size, size), jnp.bfloat16)
    product = jax.jit(lambda a: a @ a)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return size**3 / statistics.median(seconds[3:])


if __name__ == "__main__":
    define_flags()
    app.run(main, flags_parser=read_flags)
