"""Trains LadaGAN: `python train.py --flagfile=configs/cifar10.cfg`.

The same command again continues the run exactly where it stopped.
"""

import pathlib
import sys

import keras
from absl import app, flags, logging

from ladagan_tf import flags as project_flags
from ladagan_tf.data import pipeline
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.evaluation import cost
from ladagan_tf.models.ladagan import Discriminator, Generator
from ladagan_tf.models.sizes import PRESETS
from ladagan_tf.training import strategy
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.loop import continue_run
from ladagan_tf.training.run import RunDirectory

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
            train(gan, recorded)


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
    print(
        cost.report(
            gan.generator,
            gan.discriminator,
            FLAGS.batch_size // gan.distribute_strategy.num_replicas_in_sync,
            micro_batches=FLAGS.micro_batches,
            bytes_per_activation=4 if FLAGS.precision == "float32" else 2,
            r1=FLAGS.r1_weight > 0,
            bcr=FLAGS.bcr,
        )
    )


def train(gan, recorded):
    """Trains from the latest checkpoint, or from the start, to --total_kimg."""
    run = RunDirectory(FLAGS.run_dir)
    run.check_flags(recorded, FREE, FLAGS.force)
    folder = pipeline.open_dataset(
        FLAGS.dataset, resolution=FLAGS.resolution, data_dir=FLAGS.data_dir
    )
    continue_run(
        gan,
        run,
        folder,
        recorded,
        batch_size=FLAGS.batch_size,
        total_kimg=FLAGS.total_kimg,
        seed=FLAGS.seed,
        flip=FLAGS.flip,
        subset=FLAGS.subset,
        log_kimg=FLAGS.log_kimg,
        sample_kimg=FLAGS.sample_kimg,
        checkpoint_kimg=FLAGS.checkpoint_kimg,
        keep_checkpoints=FLAGS.keep_checkpoints,
        grid=FLAGS.grid,
    )


if __name__ == "__main__":
    project_flags.define_train_flags()
    flags.adopt_module_key_flags(project_flags)
    app.run(main)
