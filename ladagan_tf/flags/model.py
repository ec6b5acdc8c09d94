"""The model that the flags of `train` describe: networks, objective and optimizers.

Its functions need Keras, and are called behind the command line's parsing.
"""

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.flags import start, train
from ladagan_tf.systems import penalty_every

FLAGS = flags.FLAGS


def check_split(strategy):
    """Raises InputError unless every part of every replica's batch has as many images."""
    every, replicas = penalty_every(), strategy.num_replicas_in_sync
    parts = replicas * FLAGS.micro_batches * every
    if FLAGS.batch_size % parts:
        share = f" x {every} for --penalty_share={FLAGS.penalty_share:g}" if every > 1 else ""
        raise InputError(
            f"--batch_size={FLAGS.batch_size}: it must be a multiple of {parts}, "
            f"{replicas} replicas x --micro_batches={FLAGS.micro_batches}{share}"
        )


def build(strategy, folder=None):
    """Networks, objective and optimizers as the flags say, in the strategy's scope.

    Args:
        strategy: tf.distribute.Strategy.
        folder: the prepared set; None to describe a run without its set.
    """
    from ladagan_tf import devices

    devices.seed_keras(FLAGS.seed)  # initial weights
    with strategy.scope():
        return _build(folder)


def _build(folder):
    from ladagan_tf import devices
    from ladagan_tf.models.transfer import freeze
    from ladagan_tf.training.adversarial import AdversarialModel

    system = train.SYSTEMS[FLAGS.system]
    try:
        generator, averaged, discriminator, objective = system.build(folder)
        freeze(discriminator, FLAGS.freeze_d)
    except ValueError as error:  # sizes that do not fit: the message names field and value
        raise InputError(str(error)) from None
    networks = generator, discriminator, averaged
    gan = AdversarialModel(
        *networks, objective, FLAGS.seed, FLAGS.spike_factor, int(FLAGS.draw_keys)
    )
    gan.compile(
        *(
            devices.make_optimizer(
                system.learning_rate(base, network),
                FLAGS.beta1,
                FLAGS.beta2,
                FLAGS.precision,
                FLAGS.epsilon,
            )
            for base, network in ((FLAGS.g_lr, generator), (FLAGS.d_lr, discriminator))
        ),
        ema_decay=FLAGS.ema_decay,
        ema_halflife_kimg=FLAGS.ema_halflife_kimg,
        ema_rampup=FLAGS.ema_rampup,
        further_averages=start.further_averages(),
        micro_batches=FLAGS.micro_batches,
        clip_norm=FLAGS.clip_norm,
        schedules=start.schedules(),
        augment_target=FLAGS.augment_target,
        augment_kimg=FLAGS.augment_kimg,
        jit=devices.use_jit(FLAGS.jit),
    )
    return gan


def step_of(gan):
    """What a system's `step_cost` and `cost_report` are told of a step: dict."""
    return {
        "batch_size": FLAGS.batch_size // gan.distribute_strategy.num_replicas_in_sync,
        "micro_batches": FLAGS.micro_batches,
        "bytes_per_activation": 4 if FLAGS.precision == "float32" else 2,
    }
