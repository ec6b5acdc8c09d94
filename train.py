"""Trains LadaGAN: `python train.py --flagfile=configs/cifar10.cfg`.

The same command again continues the run exactly where it stopped.
"""

import keras
from absl import app, flags, logging

from ladagan_tf.data import pipeline
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.evaluation import cost, features
from ladagan_tf.evaluation.quick import QuickMetric
from ladagan_tf.flags import train as train_flags
from ladagan_tf.models.ladagan import Discriminator, Generator
from ladagan_tf.training import strategy
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.loop import continue_run
from ladagan_tf.training.run import RunDirectory

FLAGS = flags.FLAGS


def main(argv):
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes would cut through the progress bar
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        recorded = train_flags.resolve()
        place = strategy.make_strategy(FLAGS.strategy, FLAGS.virtual_cpus)
        keras.utils.set_random_seed(FLAGS.seed)  # initial weights
        with place.scope():
            gan = build()
        if FLAGS.dry_run:
            describe(gan, recorded)
        else:
            train(gan, recorded)


def build():
    """Networks, objective and optimizers as the flags say; call it in the strategy's scope."""
    generator_sizes = {
        "resolution": FLAGS.resolution,
        "noise_dim": FLAGS.noise_dim,
        "widths": train_flags.integers("g_widths"),
        "num_heads": train_flags.integers("g_heads"),
        "mlp_widths": train_flags.integers("g_mlp_widths"),
        "decoder_widths": train_flags.integers("g_decoder_widths"),
        "score": FLAGS.score,
        "dtype": FLAGS.precision,
    }
    try:
        generator = Generator(**generator_sizes)
        averaged = Generator(**generator_sizes, name="averaged_generator")
        discriminator = Discriminator(
            resolution=FLAGS.resolution,
            widths=train_flags.integers("d_widths"),
            out_widths=train_flags.integers("d_out_widths"),
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
    run.check_flags(recorded, train_flags.FREE, FLAGS.force)
    folder = pipeline.open_dataset(
        FLAGS.dataset, resolution=FLAGS.resolution, data_dir=FLAGS.data_dir
    )
    metric = quick_metric(folder) if FLAGS.metric != "none" else None
    finished = continue_run(
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
        metric=metric,
        metric_kimg=FLAGS.metric_kimg,
    )
    if finished:
        features_flag = "" if FLAGS.features == "auto" else f" --features={FLAGS.features}"
        print(f"to measure it: python evaluate.py --run_dir={run.path}{features_flag}")


def quick_metric(folder):
    """The metric of --metric; its reference is computed here, or read from the cache."""
    extractor = None
    if FLAGS.metric != "swd":
        extractor = features.open_extractor(
            FLAGS.features,
            dataset=FLAGS.dataset,
            folder=folder,
            inception_path=FLAGS.inception_weights,
            cache_dir=FLAGS.cache_dir,
        )
    return QuickMetric(FLAGS.metric, FLAGS.metric_images, folder, extractor, FLAGS.cache_dir)


if __name__ == "__main__":
    train_flags.define()
    flags.adopt_module_key_flags(train_flags)
    app.run(main)
