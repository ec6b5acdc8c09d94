"""The model that the flags of `train` describe: networks, objective and optimizers.

Its functions need Keras, and are called behind the command line's parsing.
"""

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.flags import start, train
from ladagan_tf.systems import named_as_flags, penalty_every

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
    from ladagan_tf.training.optimizers import make_optimizer

    system = train.SYSTEMS[FLAGS.system]
    with named_as_flags():
        networks, averaged, objective = system.build(folder)
        if "discriminator" in networks:
            freeze(networks["discriminator"], FLAGS.freeze_d)
    trained_by, own = system.trainer()
    model = trained_by(
        **networks,
        averaged=averaged,
        objective=objective,
        seed=FLAGS.seed,
        spike_factor=FLAGS.spike_factor,
        key_bits=int(FLAGS.draw_keys),
    )
    adam = FLAGS.beta1, FLAGS.beta2, FLAGS.precision, FLAGS.epsilon
    for name, network in networks.items():
        rate = system.learning_rate(FLAGS[f"{name[0]}_lr"].value, network)
        own[f"{name[0]}_optimizer"] = make_optimizer(rate, *adam)
    model.compile(
        **own,
        ema_decay=FLAGS.ema_decay,
        ema_halflife_kimg=FLAGS.ema_halflife_kimg,
        ema_rampup=FLAGS.ema_rampup,
        further_averages=start.further_averages(),
        micro_batches=FLAGS.micro_batches,
        clip_norm=FLAGS.clip_norm,
        schedules=start.schedules(),
        jit=devices.use_jit(FLAGS.jit),
    )
    return model


def step_of(strategy):
    """What a system's `step_cost` and `cost_report` are told of a step: dict."""
    return {
        "batch_size": FLAGS.batch_size // strategy.num_replicas_in_sync,
        "micro_batches": FLAGS.micro_batches,
        "bytes_per_activation": 4 if FLAGS.precision == "float32" else 2,
    }
