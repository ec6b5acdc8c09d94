"""Trains for some minutes on a machine that has JAX and no TensorFlow, and measures the step.

    python benchmarks/gpu_run.py --flagfile=configs/emoji64_gpu.cfg --images=emoji64.npz \
        --minutes=8 --out=FOLDER
    python benchmarks/gpu_run.py --flagfile=configs/cifar10.cfg --measure --out=FOLDER

Flags, networks, objective and optimizers are train.py's; only the loop around them is JAX's. Draws
and the order of the images follow from (seed, step), but are not those of train.py. It ends after
--minutes or --total_kimg, whatever comes first. FOLDER gets

    run.json            flags, configurations of the networks, device, speed, hashes of the parts
    weights-0.npy ..    float16: the averaged generator and what else was trained, cut into parts
    stats.jsonl         a line for each window of --log_kimg
    samples.png         the averaged generator at the end
    progress.png        the same latents over time, a row for each time; these two as .npy where
                        an autoencoder decodes them, which `convert` does
    metrics.jsonl       with --classifier: distances at every --sample_kimg
    at-KIMG/            run.json and parts as they were at the moments of --snapshots

or with --measure one line more in measurements.jsonl. With --seeds=0,1,2 all of them train at once,
each into FOLDER/seed-N. Where TensorFlow is,

    python -m ladagan_tf.convert --gpu_run=FOLDER --out=runs/NAME

makes a run directory of the first kind. Needs keras, jax, numpy, absl-py, matplotlib and Pillow.

Minutes on a lent GPU are for training: the same command with --compile_for=TARGET, on any machine
that has the same release of JAX with its CUDA plugin, compiles without a GPU and writes
FOLDER/programs.bin; --programs=FOLDER/programs.bin then starts at once, with any seeds, as many.
TARGET is a device as XLA's GpuTargetConfigProto, in text (benchmarks/h100.txtpb), or "here".
"""

import contextlib
import fcntl
import hashlib
import io
import json
import os
import pathlib
import sys
import time

os.environ["KERAS_BACKEND"] = "jax"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import keras
import numpy as np
from absl import app, flags
from gpu_flags import refuse_those_that_are_not_seen
from gpu_numbers import environment, quality, speed, step_speed
from gpu_programs import compile_elsewhere, programs
from gpu_sets import classes_of, random_images, read_set
from gpu_trainer import Trainer, at_once, rows_of_steps

from ladagan_tf.errors import InputError, one_line_about, one_line_errors
from ladagan_tf.files import write_text
from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.pictures import grid, save_png, to_uint8
from ladagan_tf.sampling.seeds import latents
from ladagan_tf.systems import listed

FLAGS = flags.FLAGS
STARTED = time.perf_counter()
WRITING = 10.0  # seconds that are left for the results
PART_VALUES = 7_500_000  # float16 values of a part: 15 MB
MOMENTS = (0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0)  # of the run: when samples are made
ROWS, COLUMNS = 6, 10  # of samples.png


def define_flags():
    train_flags.define()
    flags.DEFINE_string(
        "images",
        None,
        "An .npz of examples/set_as_npz.py to train on: uint8 `images` (N, S, S, 3), and `labels` "
        "(N,) for --conditional; or of latents `moments` (N, S, S, 2C), mean and standard "
        "deviation, `scaling_factor` and `labels`.",
    )
    flags.DEFINE_float("minutes", 8.0, "How long all may take, compiling and writing included.")
    flags.DEFINE_string("out", None, "Folder for the results.", required=True)
    flags.DEFINE_list("snapshots", [], "Shares of the run at which the weights are kept, too.")
    flags.DEFINE_integer(
        "steps_per_call", 50, "Steps that the device does in one dispatch.", lower_bound=1
    )
    flags.DEFINE_bool("measure", False, "Time the step on random data instead of training.")
    flags.DEFINE_string("compile_for", None, "Only compile, for this device.")
    flags.DEFINE_string("programs", None, "File of --compile_for; unpickled, so trust it.")
    flags.DEFINE_list("seeds", [], "Seeds that train at once, in one program; --seed by default.")
    flags.DEFINE_string(
        "turn",
        None,
        "A file whose lock is waited for before the training: of several processes one trains, "
        "while others start or write.",
    )
    flags.DEFINE_string(
        "classifier",
        None,
        "A .keras file of train_classifier: in its features samples of the first half's number are "
        "compared with the second half of --images.",
    )


def main(_):
    FLAGS.dataset = FLAGS.dataset or "unnamed"
    recorded = start_flags.resolve()
    if FLAGS.teacher != "none" and not FLAGS.measure:
        raise InputError(f"--teacher={FLAGS.teacher}: there is none here but with --measure")
    refuse_those_that_are_not_seen(sys.argv)
    if FLAGS.precision == "mixed_float16":
        raise InputError(
            "--precision=mixed_float16: losses are not scaled here; use mixed_bfloat16"
        )
    moments_to_keep()
    seeds = listed("seeds", int, "whole numbers, as 0,1,2", distinct=True)
    trainer = Trainer([*seeds] or [FLAGS.seed])
    say("built")
    if FLAGS.classifier and (classes_of(trainer) or trainer.of_latents):
        raise InputError(f"--classifier={FLAGS.classifier}: it measures images without classes")
    images = random_images(trainer) if FLAGS.measure else read_set(trainer)
    out = pathlib.Path(FLAGS.out)
    out.mkdir(parents=True, exist_ok=True)
    wanted = functions(trainer, images)
    if FLAGS.compile_for:
        compile_elsewhere(wanted, say, out / "programs.bin")
    elif FLAGS.measure:
        line = json.dumps(measure(trainer, wanted, recorded))
        print(line)
        with open(out / "measurements.jsonl", "a") as file:
            file.write(line + "\n")
    else:
        train(trainer, wanted, images, recorded, out)


def moments_to_keep():
    """The numbers of --snapshots in ascending order: list of floats."""
    return sorted(listed("snapshots", float, "numbers, as 0.1,0.5"))


def say(what):
    """A line with the time since the start: compiling is the longest silence of a run."""
    print(f"{time.perf_counter() - STARTED:6.1f} s  {what}", flush=True)


@contextlib.contextmanager
def turn():
    """Holds the lock of --turn."""
    if not FLAGS.turn:
        yield
        return
    with open(FLAGS.turn, "a") as file:  # a file of the user's, whose content is kept
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def functions(trainer, images):
    """What is compiled: the step, and to train the sampler and what measures it.

    Returns:
        List of (jitted function, its arguments).
    """
    rows = rows_of_steps(trainer.seeds, 0, FLAGS.steps_per_call, len(images[1]))
    state = trainer.initial
    found = [(trainer.many_steps(), (state, trainer.keys, images, np.int32(0), rows))]
    if not FLAGS.measure:
        found.append((trainer.sampler(), (state, shown(trainer))))
    if FLAGS.classifier:
        with jax.default_device(jax.devices("cpu")[0]), one_line_about(FLAGS.classifier, "file"):
            classifier = keras.saving.load_model(FLAGS.classifier)
        if not isinstance(classifier, Classifier):
            raise InputError(f"--classifier={FLAGS.classifier}: it is none of train_classifier")
        found.append((trainer.features(classifier), (state, *compared(images[0]))))
    return found


def compared(images):
    """Latents (N, Z) of what is measured, padded to whole parts, and the images beside it."""
    z = latents(range(len(images) // 2), FLAGS.noise_dim)
    return np.pad(z, ((0, -len(z) % at_once(len(z))), (0, 0))), images[len(images) // 2 :]


def measuring(images):
    """What --classifier compares samples with, and in which features: dict."""
    with open(FLAGS.classifier, "rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "count": len(images) // 2,
        "reference": {"images": FLAGS.images, "first": len(images) // 2, "of": len(images)},
        "features": {"network": "ladagan_tf classifier", "file_sha256": sha256},
    }


def images_of_call():
    """Images of a seed that one dispatch takes."""
    return FLAGS.steps_per_call * FLAGS.batch_size


def due(kimg, seen):
    """Whether the dispatch after which `seen` images were seen passed a multiple of `kimg`."""
    return seen // (1000 * kimg) > (seen - images_of_call()) // (1000 * kimg)


def train(trainer, wanted, images, recorded, out):
    """Trains for --minutes or --total_kimg and writes the results."""
    start = time.perf_counter()
    run, sample, *measured = programs(wanted, say)
    compiling = time.perf_counter() - start
    values, on_device, z = trainer.values(), jax.device_put(images), jax.device_put(shown(trainer))
    beside = jax.device_put(compared(images[0])) if measured else None
    folders = [out / f"seed-{seed}" for seed in trainer.seeds] if FLAGS.seeds else [out]
    for folder in folders:
        folder.mkdir(exist_ok=True)

    def keep(*name, **more):
        """Writes the weights as they are, and run.json about them."""
        if measured:
            more["measured"] = measuring(images[0])
        told = {
            "step": step,
            "images": step * FLAGS.batch_size,
            "seconds": round(seconds, 1),
            "compile_seconds": round(compiling, 1),
            **more,
            **environment(),
        }
        for i, (seed, folder) in enumerate(zip(trainer.seeds, folders, strict=True)):
            place = folder.joinpath(*name)
            place.mkdir(exist_ok=True)
            flags_of_seed = {**recorded, "seed": seed}
            write_weights(trainer, [v[i] for v in values], {"flags": flags_of_seed, **told}, place)
        return told

    step, progress, pending, window = 0, [], list(MOMENTS), []
    lines, features = [[] for _ in folders], []
    snapshots = moments_to_keep()
    budget = max(60 * FLAGS.minutes - WRITING - (time.perf_counter() - STARTED), 1e-3)
    with turn():
        start = last = time.perf_counter()
        seconds, done = 0.0, 0.0
        while done < 1.0:
            rows = rows_of_steps(trainer.seeds, step, FLAGS.steps_per_call, len(images[1]))
            values, metrics = run(values, trainer.keys, on_device, np.int32(step), rows)
            window.append(metrics)
            step += FLAGS.steps_per_call
            seen = step * FLAGS.batch_size
            jax.block_until_ready(window[-2:][0])  # at most one dispatch ahead of the device
            seconds = time.perf_counter() - start
            done = max(seconds / budget, seen / (1000 * FLAGS.total_kimg))
            if due(FLAGS.log_kimg, seen):
                rate = len(window) * images_of_call() / (time.perf_counter() - last)
                about = {"step": step, "kimg": seen / 1000, "seconds": round(seconds, 1)}
                means = jax.tree.map(lambda *x: np.mean(x, axis=0), *window)
                for i, of_seed in enumerate(lines):
                    mine = {name: float(each[i]) for name, each in means.items()}
                    of_seed.append(json.dumps({**about, **mine, "img_per_s": round(rate, 1)}))
                    print(of_seed[-1], flush=True)
                window, last = [], time.perf_counter()
                if not any(np.isfinite(list(means.values())).all(axis=0)):
                    print("stopped: a loss is not finite", flush=True)
                    break
            if pending and done >= pending[0]:
                pending = [moment for moment in pending if done < moment]
                progress.append(np.asarray(sample(values, z)[:, :COLUMNS]))
            if measured and (done >= 1.0 or due(FLAGS.sample_kimg, seen)):
                features.append((seen / 1000, measured[0](values, *beside)))
            if snapshots and done >= snapshots[0]:
                snapshots.pop(0)
                keep(f"at-{seen // 1000}")
        jax.block_until_ready(values)
        seconds = time.perf_counter() - start
    told = keep(**speed(trainer, seconds / step, alone=not FLAGS.turn))
    samples, progress = np.asarray(sample(values, z)), np.concatenate(progress, axis=1)
    for i, folder in enumerate(folders):
        write_text(folder / "stats.jsonl", "".join(f"{line}\n" for line in lines[i]))
        for name, made in (("samples", samples[i]), ("progress", progress[i])):
            if trainer.of_latents:
                rows = made.reshape(-1, COLUMNS, *made.shape[1:])
                np.save(folder / f"{name}.npy", rows.astype(np.float16))
            else:
                save_png(folder / f"{name}.png", grid(to_uint8(made), COLUMNS))
    if measured:
        kimg, found = zip(*features, strict=True)
        reals, count = np.asarray(found[-1][1]), len(images[0]) // 2
        for i, folder in enumerate(folders):
            fakes = [np.asarray(each[i])[:count] for each, _ in found]
            text = "".join(f"{line}\n" for line in quality(fakes, reals, kimg))
            write_text(folder / "metrics.jsonl", text)
    print(json.dumps(told))


def measure(trainer, wanted, recorded):
    """Images per second of the step on random data, memory and share of the matrix rate: dict."""
    start = time.perf_counter()
    [run], [(_, (_, _, images, _, rows))] = programs(wanted, say), wanted
    compiling = time.perf_counter() - start
    seconds, finite = step_speed(trainer, run, trainer.values(), jax.device_put(images), rows)
    names = ("system", "g_shape", "patch", "resolution", "g_widths", "batch_size", "precision")
    return {
        **{name: recorded[name] for name in names if name in recorded},
        "compile_seconds": round(compiling, 1),
        **speed(trainer, seconds),
        "finite": finite,
        **environment(),
    }


def write_weights(trainer, values, about, out):
    """run.json and the parts: averaged generator, then the others, one value after the other."""
    by_variable = dict(zip(map(id, trainer.state), values, strict=True))
    others = {n: network for n, network in trainer.networks.items() if n != "generator"}
    networks = {"averaged": trainer.averaged, **others}
    flat = [by_variable[id(w)] for network in networks.values() for w in network.weights]
    flat = np.concatenate([np.asarray(w, np.float32).ravel() for w in flat])
    with np.errstate(over="ignore"):
        half = flat.astype(np.float16)
    if not np.isfinite(half).all():  # the others of its seeds may be sound
        print(f"{out}: a weight is not finite in float16; none are kept", flush=True)
        half = half[:0]
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


def shown(trainer):
    """Whose images are shown: latents (ROWS * COLUMNS, noise_dim), and a class per row if any."""
    count, classes = ROWS * COLUMNS, classes_of(trainer)
    size = count, trainer.averaged.noise_dim
    z = np.random.default_rng(FLAGS.seed).standard_normal(size, np.float32)
    rows = np.linspace(0, classes - 1, ROWS).round().astype(np.int32)
    return (z, np.repeat(rows, COLUMNS)) if classes else (z,)


if __name__ == "__main__":
    define_flags()
    with one_line_errors():
        app.run(main, flags_parser=read_flags)
