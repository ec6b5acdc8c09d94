"""Trains LadaGAN: `python train.py --flagfile=configs/cifar10.cfg`.

The same command again continues the run exactly where it stopped.
"""

import math
import pathlib
import sys

import keras
import numpy as np
import tensorflow as tf
from absl import app, flags, logging

from ladagan_tf import flags as project_flags
from ladagan_tf.data import pipeline
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.evaluation import cost
from ladagan_tf.models.ladagan import PRESETS, Discriminator, Generator
from ladagan_tf.training import callbacks, strategy
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.loop import run_steps
from ladagan_tf.training.run import Checkpoints, RunDirectory

FLAGS = flags.FLAGS

# What may differ between two starts of one run, because it changes no mathematics.
FREE = {
    "run_dir", "data_dir", "total_kimg", "jit", "virtual_cpus", "log_kimg", "sample_kimg",
    "checkpoint_kimg", "keep_checkpoints", "grid",
}  # fmt: skip
UNRECORDED = {"dry_run", "force", "preset"}
POSITIVE = (
    "total_kimg", "log_kimg", "sample_kimg", "checkpoint_kimg", "batch_size", "micro_batches",
    "noise_dim", "keep_checkpoints", "grid", "virtual_cpus", "g_lr", "d_lr",
)  # fmt: skip


def main(argv):
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes would cut through the progress bar
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        recorded = resolve_flags()
        place = strategy.make_strategy(FLAGS.strategy, FLAGS.virtual_cpus)
        keras.utils.set_random_seed(FLAGS.seed)  # initial weights
        with place.scope():
            gan = build()
        if FLAGS.dry_run:
            describe(gan, recorded)
        else:
            train(gan, place, recorded)


def resolve_flags():
    """Fills in what the preset and the config's name imply; returns the flags to record."""
    preset = PRESETS[FLAGS.preset]
    implied = {
        "resolution": preset.resolution,
        "g_widths": preset.widths,
        "g_decoder_widths": preset.decoder_widths,
        "d_widths": preset.discriminator_widths,
    }
    for name, value in implied.items():
        if FLAGS[name].value is None:
            FLAGS[name].value = value
    if FLAGS.dataset is None:
        raise InputError("--dataset is required: a prepared folder, tfds:NAME[@SPLIT], or shapes")
    for name in POSITIVE:
        if FLAGS[name].value <= 0:
            raise InputError(f"--{name}={FLAGS[name].value}: it must be greater than 0")
    if FLAGS.batch_size % FLAGS.micro_batches:
        raise InputError(
            f"--micro_batches={FLAGS.micro_batches} does not divide --batch_size={FLAGS.batch_size}"
        )
    if FLAGS.run_dir is None:
        configs = [
            a.split("=", 1)[1] for a in sys.argv if a.startswith(("--flagfile=", "-flagfile="))
        ]
        FLAGS.run_dir = str(pathlib.Path("runs") / pathlib.Path((configs or ["run"])[-1]).stem)
    recorded = {}
    for flag in FLAGS.get_key_flags_for_module(sys.argv[0]):
        if flag.name not in UNRECORDED and flag.value is not None:
            listed = isinstance(flag.value, list | tuple)
            recorded[flag.name] = ",".join(map(str, flag.value)) if listed else str(flag.value)
    return recorded


def integers(name):
    """The integers of a list flag."""
    try:
        return tuple(int(value) for value in FLAGS[name].value)
    except ValueError:
        raise InputError(f"--{name}={','.join(FLAGS[name].value)}: give integers, as 4,8") from None


def build():
    """Networks, objective and optimizers as the flags say; call it in the strategy's scope."""
    generator_sizes = {
        "resolution": FLAGS.resolution,
        "noise_dim": FLAGS.noise_dim,
        "widths": integers("g_widths"),
        "num_heads": integers("g_heads"),
        "mlp_widths": integers("g_mlp_widths"),
        "decoder_widths": integers("g_decoder_widths"),
        "score": FLAGS.score,
        "dtype": FLAGS.precision,
    }
    try:
        generator = Generator(**generator_sizes)
        averaged = Generator(**generator_sizes, name="averaged_generator")
        discriminator = Discriminator(
            resolution=FLAGS.resolution,
            widths=integers("d_widths"),
            out_widths=integers("d_out_widths"),
            num_heads=FLAGS.d_heads,
            mlp_width=FLAGS.d_mlp_width,
            score=FLAGS.score,
            dtype=FLAGS.precision,
        )
        objective = LadaObjective(
            noise_dim=FLAGS.noise_dim,
            resolution=FLAGS.resolution,
            loss=FLAGS.loss,
            r1_weight=FLAGS.r1_weight,
            policy=FLAGS.policy,
            bcr=FLAGS.bcr,
            bcr_weight=FLAGS.bcr_weight,
        )
    except ValueError as error:  # sizes that do not fit: the message names field and value
        raise InputError(str(error)) from None
    gan = AdversarialModel(generator, discriminator, averaged, objective, FLAGS.seed)
    gan.compile(
        strategy.make_optimizer(FLAGS.g_lr, FLAGS.beta1, FLAGS.beta2, FLAGS.precision),
        strategy.make_optimizer(FLAGS.d_lr, FLAGS.beta1, FLAGS.beta2, FLAGS.precision),
        ema_decay=FLAGS.ema_decay,
        ema_halflife_kimg=FLAGS.ema_halflife_kimg,
        ema_rampup_ratio=FLAGS.ema_rampup,
        micro_batches=FLAGS.micro_batches,
        clip_norm=FLAGS.clip_norm,
        jit=strategy.use_jit(FLAGS.jit),
    )
    return gan


def describe(gan, recorded):
    """Prints the resolved run, both networks and what a step costs."""
    for name, value in sorted(recorded.items()):
        print(f"--{name}={value}")
    gan.generator.summary()
    gan.discriminator.summary()
    for network, multiply_adds in (
        (gan.generator, cost.generator_multiply_adds(gan.generator)),
        (gan.discriminator, cost.discriminator_multiply_adds(gan.discriminator)),
    ):
        total, trained = cost.parameter_counts(network)
        print(
            f"{network.name}: {total:,} parameters, {trained:,} of them trained; "
            f"{multiply_adds / 1e9:.3f} G multiply-adds per image"
        )
    memory = cost.memory_estimate(
        gan.generator,
        gan.discriminator,
        FLAGS.batch_size // gan.distribute_strategy.num_replicas_in_sync,
        FLAGS.micro_batches,
        bytes_per_activation=4 if FLAGS.precision == "float32" else 2,
        r1=FLAGS.r1_weight > 0,
        bcr=FLAGS.bcr,
    )
    print(f"memory of a step, roughly: {memory['total'] / 1e9:.1f} GB per device")


def train(gan, place, recorded):
    """Trains from the latest checkpoint, or from the start, to --total_kimg."""
    run = RunDirectory(FLAGS.run_dir)
    run.check_flags(recorded, FREE, FLAGS.force)
    index, workers = strategy.worker(place)
    replicas = place.num_replicas_in_sync // workers
    folder = pipeline.open_dataset(
        FLAGS.dataset, resolution=FLAGS.resolution, data_dir=FLAGS.data_dir
    )
    checkpoints = Checkpoints(run.checkpoints, gan.state(), FLAGS.keep_checkpoints)
    start = checkpoints.restore_latest()
    total = math.ceil(FLAGS.total_kimg * 1000 / FLAGS.batch_size)
    if start >= total:
        print(f"{run.path}: already trained for {FLAGS.total_kimg:g} kimg; raise --total_kimg")
        return
    stream = place.distribute_datasets_from_function(
        lambda _: pipeline.make_dataset(
            folder,
            batch_size=FLAGS.batch_size,
            seed=FLAGS.seed,
            start_step=start,
            flip=FLAGS.flip,
            subset=FLAGS.subset,
            worker_index=index,
            num_workers=workers,
            replicas=replicas,
        )
    )
    schedule = callbacks.Schedule(FLAGS.batch_size, start, total)
    intervals = (FLAGS.log_kimg, FLAGS.sample_kimg, FLAGS.checkpoint_kimg)
    guard = callbacks.FiniteGuard(schedule, intervals, checkpoints)
    saving = callbacks.Checkpointing(
        schedule, checkpoints, guard, FLAGS.checkpoint_kimg, writes=index == 0
    )
    around = [guard]
    if index == 0:
        run.start(recorded, (gan.generator, gan.discriminator))
        run.truncate_stats(start)
        writer = tf.summary.create_file_writer(str(run.tensorboard))
        latents = np.random.default_rng(FLAGS.seed).normal(size=(FLAGS.grid**2, FLAGS.noise_dim))
        latents = latents.astype(np.float32)
        around += [
            callbacks.Progress(schedule, FLAGS.log_kimg / 10),
            callbacks.Statistics(schedule, run, writer, FLAGS.log_kimg),
            callbacks.Samples(schedule, run, writer, FLAGS.sample_kimg, latents, FLAGS.grid),
        ]
        print(f"{run.path}: step {start} of {total}, {workers} worker(s) x {replicas} replica(s)")
    with pipeline.damage_as_input_error(folder):
        run_steps(gan, stream, total - start, [*around, saving])
    if saving.stopped_by:
        print(f"stopped by {saving.stopped_by}; run the same command to continue {run.path}")
    elif index == 0:
        print(f"{run.path}: finished {FLAGS.total_kimg:g} kimg; samples are in {run.samples}")


if __name__ == "__main__":
    project_flags.define_train_flags()
    flags.adopt_module_key_flags(project_flags)
    app.run(main)
