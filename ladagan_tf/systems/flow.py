"""Flow matching: its flags of `train.py`, some of them GAT's, and what they describe.

A few-step model with GAT's blocks and everything that is around a GAN here, to compare with one.
"""

from absl import flags

from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.models.flow.samplers import MOST_STEPS, PREDICTIONS, SAMPLERS
from ladagan_tf.models.gat.sizes import SIZES
from ladagan_tf.systems import (
    OF_GANS,
    average_of,
    check_classes,
    check_found,
    class_names,
    gat,
    group,
    named_as_flags,
    num_classes,
    refuse_without,
    set_at_hand,
)

FLAGS = flags.FLAGS
# Of other systems' flags those that mean the same here.
SHARED = (
    "size", "g_shape", "modulation", "patch", "latent_size", "remat", "fused", "vae", "conditional",
)  # fmt: skip
DEFAULTS = {
    "attention": "dot_product",
    "modulation": "shift_scale_gate",
    "beta1": 0.9,
    "epsilon": 1e-8,
    "clip_norm": 1.0,
    "batch_size": 256,
    "total_kimg": 102_400.0,
}
WITHOUT = OF_GANS | {"noise_dim"}  # noise is as large as what becomes of it
UNCONFIRMED = frozenset()
PIXELS, LATENTS = "pixels", "latents"


def define():
    """Defines flow matching's own; those of others are defined."""
    for name in SHARED:
        flags.declare_key_flag(name)
    _define_own()


@group("Flow matching")
def _define_own():
    flags.DEFINE_enum(
        "space",
        PIXELS,
        [PIXELS, LATENTS],
        "What is learned: images, or the latents of a set of latents, of which --latent_size is "
        "the side.",
    )
    flags.DEFINE_enum(
        "predicts",
        "velocity",
        list(PREDICTIONS),
        "What the network makes: the velocity; or the data that it ends at, of which the velocity "
        "follows, for patches of more values than --g_shape has channels.",
    )
    flags.DEFINE_float("time_mean", 0.0, "Mean of the logits of the times that are trained at.")
    flags.DEFINE_float("time_std", 1.0, "Their standard deviation.")
    flags.DEFINE_enum(
        "sampler",
        "heun",
        list(SAMPLERS),
        "How samples are made: euler has one evaluation of the network in a step, heun two, "
        "heun_euler too, but in the last step, which then leaves no noise. It may change between "
        "starts, and generate, evaluate and export may choose another.",
    )
    flags.DEFINE_integer(
        "sampler_steps", 8, "In so many steps.", lower_bound=1, upper_bound=MOST_STEPS
    )


def implied():
    """Dict from flag to what others say of it.

    Raises:
        InputError: for a flag that has no effect without another one.
    """
    refuse_without("num_classes", FLAGS.conditional, "--conditional")
    for name in ("latent_size", "vae"):
        refuse_without(name, FLAGS.space == LATENTS, "--space=latents")
    refuse_without("fused", FLAGS.attention != "additive", "--attention=dot_product")
    return {"g_shape": gat.shape_of(SIZES[FLAGS.size])}


def check_set(info):
    """Raises InputError unless a prepared set holds what --space says, of the flags' sizes."""
    if FLAGS.space == PIXELS:
        if info.latents:
            raise InputError(f"--dataset={info.folder}: it holds latents, for --space=latents")
    else:
        if not info.latents:
            raise InputError(
                f"--space=latents: --dataset={info.folder} holds images; encode it, with python -m "
                "ladagan_tf.prepare --latents"
            )
        check_found(info, latent_size=info.latents.size)
        if FLAGS.flip:
            raise InputError("--flip: latents cannot be mirrored")
    check_classes(info)


def build(folder):
    """The generator by this name, a second one for the average, and the objective.

    Call it in the strategy's scope.

    Args:
        folder: a prepared set that `check_set` has passed; None to describe a run without it.

    Raises:
        InputError: for what does not fit, naming the flag and the value.
    """
    # Here, because flags are parsed before Keras is imported.
    from ladagan_tf.models.flow.networks import FlowGenerator, LatentFlowGenerator
    from ladagan_tf.models.vae.autoencoder import SD1_SCALING_FACTOR
    from ladagan_tf.training.flow import FlowObjective

    info = dataset_info.load_info(folder) if folder else None
    if FLAGS.space == PIXELS:
        kind, channels, factor = FlowGenerator, 3, None
        there = info or (set_at_hand() if FLAGS.resolution is None else None)
        side = there.resolution if there else FLAGS.resolution
        if side is None:
            raise InputError("--resolution: without the set at hand it must be given")
    else:
        kind, side = LatentFlowGenerator, FLAGS.latent_size
        channels, factor = 4, SD1_SCALING_FACTOR
        if info:
            channels, factor = info.latents.channels, info.latents.scaling_factor
    classes = num_classes(folder)
    sizes = {
        "latent_size": side,
        "channels": channels,
        "patch": FLAGS.patch,
        **gat.shape("g_shape"),
        "num_classes": classes,
        "sampler": FLAGS.sampler,
        "steps": FLAGS.sampler_steps,
        "remat": FLAGS.remat,
        "fused": FLAGS.fused,
        "attention": FLAGS.attention,
        "modulation": FLAGS.modulation,
        "predicts": FLAGS.predicts,
        "class_names": class_names(folder) if classes else (),
        "dtype": FLAGS.precision,
    }
    objective = FlowObjective(
        size=side,
        channels=channels,
        scaling_factor=factor,
        time_mean=FLAGS.time_mean,
        time_std=FLAGS.time_std,
        conditional=FLAGS.conditional,
    )
    with named_as_flags(dict.fromkeys(gat.SHAPE, "g_shape")):
        generator, averaged = kind(**sizes), average_of(kind, **sizes)
    return {"generator": generator}, averaged, objective


def trainer():
    """A generator is trained by itself; nothing is said to `compile` but what all have."""
    from ladagan_tf.training.model import TrainedModel

    return TrainedModel, {}


def learning_rate(base, network):
    """The rate of a network: what its flag says."""
    return base


def step_cost(generator, **step):
    """(Multiply-adds per image, bytes per device, on a CPU) of a training step: `cost.flow`."""
    from ladagan_tf.cost import flow
    from ladagan_tf.cost.lada import of_process

    needed = flow.memory_estimate(generator, **step)["total"]
    return flow.training_multiply_adds(generator), needed, of_process(needed)


def cost_report(generator, **step):
    """What a step and a sample cost, see `cost.flow.report`, as text."""
    from ladagan_tf.cost import flow

    return flow.report(generator, **step)


def autoencoder(folder, own=None):
    """See `gat.autoencoder`; None for a flow of images."""
    return gat.autoencoder(folder, own) if FLAGS.space == LATENTS else None
