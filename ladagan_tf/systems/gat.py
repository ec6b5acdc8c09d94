"""GAT: its flags of `train.py`, and the networks and objective they describe."""

from absl import flags

from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError, warn
from ladagan_tf.models.gat.sizes import MODULATIONS, SIZES
from ladagan_tf.systems import (
    adversarial,
    augments_sometimes,
    average_of,
    check_found,
    class_names,
    group,
    integers,
    named_as_flags,
    penalty_every,
    refuse_without,
)
from ladagan_tf.training import NOISE_SCHEDULES, NOISE_SIDES

FLAGS = flags.FLAGS
# What flags that several systems have mean here, unless they are given.
DEFAULTS = {
    "attention": "dot_product",
    "modulation": "scale_gate",
    "noise_dim": 64,
    "num_classes": 1000,
    "r1_weight": 0.05,
    "r2_weight": 0.05,
    "penalty_share": 1.0,
    "width_aware_lr": True,
    "beta1": 0.0,
    "epsilon": 1e-8,
    "clip_norm": 1.0,
    "batch_size": 512,
    "total_kimg": 51_200.0,
}
WITHOUT = UNCONFIRMED = frozenset()
DINO_FEATURES = 768
SHAPE = ("width", "depth", "num_heads")


def define():
    """Defines them."""
    _define_size_flags()
    _define_objective_flags()


@group("Networks of GAT and CAT")
def _define_size_flags():
    flags.DEFINE_enum(
        "size",
        "B",
        list(SIZES),
        "GAT: both networks' size in its paper. CAT: the generator's; M and H are its own.",
    )
    for network in ("g", "d"):
        flags.DEFINE_list(
            f"{network}_shape",
            None,
            f"{network.upper()}: width, depth and heads, as 384,12,6; those of --size by default, "
            "but CAT's D of B.",
        )
    flags.DEFINE_enum(
        "modulation",
        None,
        list(MODULATIONS),
        "What the style does to G's tokens: scale and gate them (GAT's), or shift them, too.",
    )
    flags.DEFINE_integer("patch", 2, "Side of a token's square of latents.")
    flags.DEFINE_integer(
        "latent_size",
        32,
        "Side of the latents, as in the set; 32 are 256 px with the usual autoencoder.",
    )
    flags.DEFINE_integer(
        "levels",
        4,
        "Outputs of G that D sees, GAT's under noise, CAT's each at a scale of its own; must "
        "divide G's depth.",
    )
    flags.DEFINE_integer("class_dim", 2048, "D: size of a class's vector.")
    flags.DEFINE_integer("projector_dim", 2048, "D: units of the alignment head.")
    flags.DEFINE_boolean(
        "remat",
        False,
        "Store only the blocks' inputs and compute the rest again to differentiate. Not with "
        "--exact_penalties.",
    )
    flags.DEFINE_boolean(
        "fused",
        True,
        "Dot-product attention as the backend does it best, or product by product.",
    )
    flags.DEFINE_string(
        "vae",
        None,
        "Autoencoder that decodes samples: sd15, sd-mse, sd-ema or a file; the one that the set "
        "was encoded with by default. It must have the same encoder.",
    )


@group("Objective")
def _define_objective_flags():
    flags.DEFINE_boolean(
        "noise_guidance", True, "Noise G's outputs before D, the earlier the more (MNG)."
    )
    flags.DEFINE_enum(
        "noise_schedule",
        "exponential",
        list(NOISE_SCHEDULES),
        "How that noise falls from G's first output to its last: exponential (official code), "
        "linear, cosine, or learned: so that G is pulled by the same factor more at each output "
        "(ours; not with --precision=mixed_float16). Not with --nonoise_guidance.",
    )
    flags.DEFINE_float(
        "min_information",
        0.125,
        "What it leaves of the first output, from 0.01, nothing, to 1, hardly noised; 0.125 in the "
        "official code. Not with --nonoise_guidance.",
    )
    flags.DEFINE_enum(
        "noise_side",
        "both",
        list(NOISE_SIDES),
        "Whether it noises reals and fakes (both), or one of them alone. Not with "
        "--nonoise_guidance.",
    )
    flags.DEFINE_boolean("latent_augment", True, "DiffAugment in latent space.")
    flags.DEFINE_string(
        "teacher",
        "none",
        "Frozen network whose features D predicts of real images: dinov2, dinov2:PRESET, "
        "classifier:FILE.keras, stored (in the set), or none.",
    )
    flags.DEFINE_float(
        "alignment_weight", 1.0, "Weight of the prediction of the teacher's features."
    )
    flags.DEFINE_boolean(
        "exact_penalties",
        False,
        "R1 and R2 by second derivatives instead of one finite difference.",
    )
    flags.DEFINE_boolean(
        "precise_penalties",
        True,
        "Compute D's own phase in float32 where R1 or R2 is taken.",
    )
    flags.DEFINE_boolean(
        "width_aware_lr",
        None,
        "Multiply each network's learning rate by 768 / its width.",
    )
    flags.DEFINE_boolean(
        "official_quirks",
        False,
        "What is a mistake in the official code, as it is there: the teacher's image shifted "
        "too little, one z for both phases, trained position tables, guidance normalised over "
        "the classes.",
    )


def implied():
    """Dict from flag to what others say of it.

    Raises:
        InputError: for a flag that has no effect without another one.
    """
    for name in ("noise_schedule", "min_information", "noise_side"):
        refuse_without(name, FLAGS.noise_guidance, "--noise_guidance")
    refuse_idle()
    if FLAGS.noise_schedule == "learned" and FLAGS.precision == "mixed_float16":
        raise InputError(
            "--precision=mixed_float16: the gradients that --noise_schedule=learned looks at "
            "would underflow; use mixed_bfloat16 or float32"
        )
    shape = shape_of(SIZES[FLAGS.size])
    return {"g_shape": shape, "d_shape": shape}


def refuse_idle():
    """Raises InputError for flags of both GAT and CAT that have no effect without another one."""
    refuse_without("alignment_weight", FLAGS.teacher != "none", "--teacher")
    refuse_without("fused", FLAGS.attention != "additive", "--attention=dot_product")
    half = FLAGS.precision != "float32"
    refuse_without("precise_penalties", half, "--precision=mixed_bfloat16 or mixed_float16")


def shape_of(size):
    """A `models.gat.sizes.Size` as --g_shape takes it: list of str."""
    return [str(n) for n in (size.width, size.depth, size.num_heads)]


def check_set(info):
    """Raises InputError unless a prepared set holds latents of the flags' sizes."""
    if not info.latents:
        raise InputError(
            f"--dataset={info.folder}: it holds images; encode it, with python -m "
            "ladagan_tf.prepare --latents"
        )
    check_found(info, latent_size=info.latents.size, num_classes=max(1, len(info.classes)))
    dataset_info.require_labels(info, f"--system={FLAGS.system}")
    if FLAGS.flip:
        raise InputError("--flip: latents cannot be mirrored; --latent_augment does, after the VAE")


def autoencoder(folder, own=None):
    """The autoencoder that decodes samples, of the encoder that the set was made with.

    Args:
        folder: a prepared set of latents.
        own: path of a copy that a run keeps, used where the original is no longer to be had.
    """
    # Here and below, because flags are parsed before TensorFlow and Keras are imported.
    from ladagan_tf.weights import vae_weights

    latents = dataset_info.load_info(folder).latents
    has_own = own is not None and own.is_file()
    try:
        path = vae_weights.find(FLAGS.vae or latents.vae, FLAGS.cache_dir, download=not has_own)
    except InputError as error:
        if not has_own:
            raise
        path = own
        if FLAGS.vae:
            warn(f"{error}; the run's own {own.name} is taken")
    vae, _ = vae_weights.load(path)
    if vae_weights.encoder_sha256(vae) != latents.encoder_sha256:
        raise InputError(
            f"--vae={path}: its encoder is not the one that --dataset={folder} was made with, "
            f"{latents.vae}"
        )
    return vae


def build(folder):
    """Generator and discriminator by these names, a generator for the average, and the objective.

    Call it in the strategy's scope.

    Args:
        folder: a prepared set that `check_set` has passed; None to describe a run without it: then
            there is no teacher either, only the head that would learn from it.

    Raises:
        InputError: for what does not fit, naming the flag and the value.
    """
    from ladagan_tf.models.gat.networks import GatDiscriminator
    from ladagan_tf.training.gat import GatObjective

    return assembled(
        folder,
        GatDiscriminator,
        GatObjective,
        FLAGS.official_quirks,
        exact_penalties=FLAGS.exact_penalties,
        noise_guidance=FLAGS.noise_guidance,
        noise_schedule=FLAGS.noise_schedule,
        min_information=FLAGS.min_information,
        noise_side=FLAGS.noise_side,
        reuse_z=FLAGS.official_quirks,
    )


def assembled(folder, discriminator, objective, official_quirks=False, **own):
    """What `build` returns, of the flags that several systems have.

    Args:
        folder: see `build`.
        discriminator: class of the discriminator.
        objective: class of the objective, a `training.latent_objective.LatentObjective`.
        official_quirks: bool, see that flag.
        **own: what only this objective has.
    """
    from ladagan_tf.models.gat.networks import GatGenerator
    from ladagan_tf.models.vae.autoencoder import SD1_SCALING_FACTOR

    latents, teacher = dataset_info.load_info(folder).latents if folder else None, None
    if latents:
        from ladagan_tf.training.teachers import open_teacher  # needs TensorFlow

        teacher = open_teacher(
            FLAGS.teacher,
            FLAGS.latent_size // FLAGS.patch,
            official_quirks=official_quirks,
            stored=latents.teacher,
            dtype=FLAGS.precision,
        )
    features = teacher.features if teacher else None
    channels = latents.channels if latents else 4
    if not latents and FLAGS.teacher != "none":
        features = DINO_FEATURES
    sizes = {
        "latent_size": FLAGS.latent_size,
        "channels": channels,
        "patch": FLAGS.patch,
        "num_classes": FLAGS.num_classes,
        "levels": FLAGS.levels,
        "remat": FLAGS.remat,
        "fused": FLAGS.fused,
        "attention": FLAGS.attention,
        "trainable_positions": official_quirks,
        "dtype": FLAGS.precision,
    }
    of_generator = {
        **sizes,
        **shape("g_shape"),
        "noise_dim": FLAGS.noise_dim,
        "modulation": FLAGS.modulation,
        "class_names": class_names(folder),
        "official_guidance": official_quirks,
    }
    with named_as_flags(dict.fromkeys(SHAPE, "d_shape")):
        judge = discriminator(
            **sizes,
            **shape("d_shape"),
            class_dim=FLAGS.class_dim,
            projector_dim=FLAGS.projector_dim,
            teacher_dim=features,
        )
    with named_as_flags({"augment": "latent_augment", "kernel": "pyramid"}):
        minimised = objective(
            noise_dim=FLAGS.noise_dim,
            latent_size=FLAGS.latent_size,
            channels=channels,
            levels=FLAGS.levels,
            scaling_factor=latents.scaling_factor if latents else SD1_SCALING_FACTOR,
            r1_weight=FLAGS.r1_weight,
            r2_weight=FLAGS.r2_weight,
            penalty_every=penalty_every(),
            precise_penalties=FLAGS.precise_penalties,
            teacher=teacher,
            alignment_weight=FLAGS.alignment_weight,
            augment=FLAGS.latent_augment,
            augment_sometimes=augments_sometimes(),
            augment_pairs=FLAGS.augment_pairs,
            centring_weight=FLAGS.centring_weight,
            **own,
        )
    with named_as_flags(dict.fromkeys(SHAPE, "g_shape")):
        averaged = average_of(GatGenerator, **of_generator)
        networks = {"generator": GatGenerator(**of_generator), "discriminator": judge}
    return networks, averaged, minimised


def shape(name):
    """What --g_shape or --d_shape says: dict of ints."""
    numbers = integers(name)
    if len(numbers) != 3:
        raise InputError(
            f"--{name}={','.join(map(str, numbers))}: give width, depth and heads, as 384,12,6"
        )
    return dict(zip(SHAPE, numbers, strict=True))


trainer = adversarial


def learning_rate(base, network):
    """The paper's rule: base * 768 / width, for each network by its own width."""
    from ladagan_tf.training.gat import width_aware_rate

    return width_aware_rate(base, network.width) if FLAGS.width_aware_lr else base


def step_cost(generator, discriminator, **step):
    """(Multiply-adds per image, bytes per device, on a CPU) of a training step: `cost.gat`."""
    from ladagan_tf.cost import gat
    from ladagan_tf.cost.lada import of_process

    share = 1 / penalty_every()
    needed = gat.memory_estimate(generator, discriminator, share=share, **step)["total"]
    multiply_adds = gat.training_multiply_adds(generator, discriminator, share)
    return multiply_adds, needed, of_process(needed, gat.GRAPHS)


def cost_report(generator, discriminator, **step):
    """What a step costs, see `cost.gat.report`, as text."""
    from ladagan_tf.cost import gat

    return gat.report(generator, discriminator, share=1 / penalty_every(), **step)
