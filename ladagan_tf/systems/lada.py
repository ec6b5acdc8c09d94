"""LadaGAN: its flags of `train.py`, and the networks and objective they describe."""

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.models.attention import SCORES
from ladagan_tf.models.lada.sizes import CLASS_HEADS, MODULATIONS, NORMS, OUTPUTS, PRESETS
from ladagan_tf.systems import (
    adversarial,
    arguments,
    augments_sometimes,
    average_of,
    check_classes,
    class_names,
    group,
    named_as_flags,
    num_classes,
    penalty_every,
    refuse,
    refuse_without,
)
from ladagan_tf.training import LOSSES

FLAGS = flags.FLAGS
# What flags that several systems have mean here, unless they are given.
DEFAULTS = {
    "attention": "additive",
    "noise_dim": 128,
    "r1_weight": 1e-4,
    "r2_weight": 0.0,
    "penalty_share": 1.0,
    "beta1": 0.5,
    "epsilon": 1e-7,
    "clip_norm": 0.0,
    "batch_size": 128,
    "total_kimg": 68_096.0,
}
WITHOUT = UNCONFIRMED = frozenset()
# Arguments of the networks, and their flags.
GENERATOR = {
    "resolution": "resolution", "noise_dim": "noise_dim", "widths": "g_widths",
    "num_heads": "g_heads", "mlp_widths": "g_mlp_widths", "depths": "g_depths",
    "decoder_widths": "g_decoder_widths", "score": "score", "attention": "attention",
    "rank": "linformer_rank", "window": "swin_window",
    "attention_residual": "g_attention_residual", "mlp_residual": "g_mlp_residual",
    "positional": "g_positions", "modulation": "g_modulation", "conv": "g_conv",
    "conv_kernel": "g_conv_kernel", "output_range": "g_output", "class_tokens": "class_tokens",
    "dtype": "precision",
}  # fmt: skip
DISCRIMINATOR = {
    "resolution": "resolution", "widths": "d_widths", "out_widths": "d_out_widths",
    "num_heads": "d_heads", "mlp_width": "d_mlp_width", "depth": "d_depth", "score": "score",
    "ladaformer": "d_ladaformer", "scale_cue": "d_scale_cue", "norm": "d_norm",
    "positional": "d_positions", "conv_kernel": "d_conv_kernel", "class_head": "class_head",
    "dtype": "precision",
}  # fmt: skip


def define():
    """Defines them. Sizes without a value come from --preset."""
    _define_size_flags()
    _define_switches()
    _define_class_flags()
    _define_objective_flags()


@group("Networks of LadaGAN")
def _define_size_flags():
    flags.DEFINE_enum(
        "preset",
        "cifar10_32",
        list(PRESETS),
        "Network sizes of the paper; the flags below replace single ones.",
    )
    flags.DEFINE_list(
        "g_widths",
        None,
        "Generator: token widths at 8x8, 16x16 and 32x32; the preset's by default.",
    )
    flags.DEFINE_list(
        "g_heads", "4,4,4", "Generator: attention heads at 8x8, 16x16 and 32x32; each divides its "
        "width."
    )  # fmt: skip
    flags.DEFINE_list(
        "g_mlp_widths", "512,512,512", "Generator: MLP units at 8x8, 16x16 and 32x32."
    )
    flags.DEFINE_list(
        "g_depths",
        "1,1,1",
        "Generator: Ladaformers after each other at 8x8, 16x16 and 32x32, 1 to 100 each; one "
        "each in the paper.",
    )
    flags.DEFINE_list(
        "g_decoder_widths",
        None,
        "Generator: channels of the convolutional decoder's stages, empty for a patch head; the "
        "preset's by default.",
    )
    flags.DEFINE_list(
        "d_widths",
        None,
        "Discriminator: channels of the first convolution and each down block; the preset's by "
        "default.",
    )
    flags.DEFINE_list("d_out_widths", "512,1024", "Discriminator: channels of the head.")
    flags.DEFINE_integer("d_heads", 4, "Discriminator: attention heads.")
    flags.DEFINE_integer("d_mlp_width", 512, "Discriminator: MLP units.")
    flags.DEFINE_integer(
        "d_depth",
        1,
        "Discriminator: Ladaformers after each other, 1 to 100; one in the paper, and none with "
        "--nod_ladaformer.",
    )
    flags.DEFINE_enum(
        "score",
        "full",
        list(SCORES),
        "Attention scores from the whole query (official code) or from each head's part of it "
        "(paper).",
    )


@group("Networks of LadaGAN: what the paper leaves out or varies")
def _define_switches():
    """The networks' switches, off in the paper's model: of its ablation (Sec. IV-C), and ours."""
    flags.DEFINE_integer("linformer_rank", 64, "With --attention=linformer: mixtures of tokens.")
    flags.DEFINE_integer("swin_window", 8, "With --attention=swin or swin_pair: side of a window.")
    flags.DEFINE_boolean(
        "g_attention_residual", True, "Generator: add a block's tokens to its attention's."
    )
    flags.DEFINE_boolean("g_mlp_residual", False, "Generator: add a block's tokens to its MLP's.")
    for network in ("Generator", "Discriminator"):
        flags.DEFINE_boolean(
            f"{network[0].lower()}_positions", True, f"{network}: learned positions of tokens."
        )
    flags.DEFINE_enum(
        "g_modulation",
        "sln",
        list(MODULATIONS),
        "Generator: where the blocks' norms get the latent from: sln, through an MLP of each; "
        "vitgan_sln, through one mapping network; layer_norm, nowhere.",
    )
    flags.DEFINE_boolean("g_conv", True, "Generator: convolutions between its resolutions.")
    flags.DEFINE_integer(
        "g_conv_kernel", 3, "Generator: side of those convolutions, odd, 1 to 31; 3 in the paper."
    )
    flags.DEFINE_integer(
        "d_conv_kernel",
        3,
        "Discriminator: side of the larger convolutions of its down blocks, odd, 1 to 31; 3 in the "
        "paper.",
    )
    flags.DEFINE_enum(
        "g_output",
        "linear",
        list(OUTPUTS),
        "Generator: its pixels as they come (linear), through tanh, or bent beyond "
        "[-1, 1] (softclip).",
    )
    flags.DEFINE_boolean(
        "d_scale_cue",
        False,
        "Discriminator: a channel of ones beside the colours, so that it sees how large a whole"
        " batch's values are.",
    )
    flags.DEFINE_enum(
        "d_norm",
        "batch",
        list(NORMS),
        "Discriminator: norms of its down blocks: batch; group, of each image by itself; "
        "or none, with kernels that start accordingly.",
    )
    flags.DEFINE_boolean(
        "d_ladaformer",
        True,
        "Discriminator: its Ladaformers, or convolutions only.",
    )


@group("Networks of LadaGAN")
def _define_class_flags():
    flags.DEFINE_boolean("conditional", False, "Both networks learn the classes of the set.")
    flags.DEFINE_enum(
        "class_head",
        "projection",
        list(CLASS_HEADS),
        "With --conditional, the discriminator's logits: the unconditional ones and the product of "
        "each patch with a vector of the class (projection), or of the mean over all "
        "patches (pooled); or the product of each alone (pure).",
    )
    flags.DEFINE_boolean(
        "class_tokens",
        False,
        "With --conditional: the generator's first tokens read the class too.",
    )


@group("Objective")
def _define_objective_flags():
    flags.DEFINE_enum(
        "loss",
        "nsl",
        list(LOSSES),
        "Adversarial loss: nsl, non-saturating logistic; hinge; or rpgan, relativistic, "
        "of pairs of a real and a generated image.",
    )
    flags.DEFINE_string(
        "policy",
        "color,translation",
        "DiffAugment steps among color, translation, cutout; empty for none.",
    )
    flags.DEFINE_boolean("bcr", False, "Balanced consistency regularisation.")
    flags.DEFINE_float("bcr_weight", 0.1, "Weight of that consistency.")
    flags.DEFINE_float(
        "range_weight",
        0.0,
        "Weight in G's loss of the mean squared distance of pixels from [-1, 1]; 0: off.",
    )


def implied():
    """Dict from flag to what --preset says of it.

    Raises:
        InputError: for a flag that has no effect without another one.
    """
    for name in ("num_classes", "class_head", "class_tokens"):
        refuse_without(name, FLAGS.conditional, "--conditional")
    refuse_without("bcr_weight", FLAGS.bcr, "--bcr")
    attention = FLAGS.attention or DEFAULTS["attention"]
    refuse_without("linformer_rank", attention == "linformer", "--attention=linformer")
    refuse_without("swin_window", attention.startswith("swin"), "--attention=swin")
    of_additive = attention == "additive" or FLAGS.d_ladaformer
    refuse_without("score", of_additive, "--attention=additive or --d_ladaformer")
    refuse_without("g_conv_kernel", FLAGS.g_conv, "--g_conv")
    refuse_without("d_positions", FLAGS.d_ladaformer, "--d_ladaformer")
    if FLAGS.g_output == "tanh":
        refuse(["range_weight"], "--g_output=tanh keeps all pixels in [-1, 1]")
    preset = PRESETS[FLAGS.preset]
    return {
        "resolution": preset.resolution,
        "g_widths": preset.widths,
        "g_decoder_widths": preset.decoder_widths,
        "d_widths": preset.discriminator_widths,
    }


def check_set(info):
    """Raises InputError unless a prepared set holds images and, if conditional, classes of them."""
    if info.latents:
        raise InputError(f"--dataset={info.folder}: it holds latents, for --system=gat or cat")
    check_classes(info)


def build(folder):
    """Generator and discriminator by these names, a generator for the average, and the objective.

    Call it in the strategy's scope.

    Args:
        folder: a prepared set that `check_set` has passed, of which the number of classes is taken;
            None to describe a run without it.

    Raises:
        InputError: for what does not fit, naming the flag and the value.
    """
    # Here, because flags are parsed before Keras is imported.
    from ladagan_tf.models.lada.discriminator import Discriminator
    from ladagan_tf.models.lada.generator import Generator
    from ladagan_tf.training.lada import LadaObjective

    classes = num_classes(folder)
    sizes = {
        **arguments(GENERATOR),
        "num_classes": classes,
        "class_names": class_names(folder) if classes else (),
    }
    with named_as_flags(GENERATOR):
        generator, averaged = Generator(**sizes), average_of(Generator, **sizes)
    with named_as_flags(DISCRIMINATOR):
        discriminator = Discriminator(**arguments(DISCRIMINATOR), num_classes=classes)
    objective = LadaObjective(
        noise_dim=FLAGS.noise_dim,
        resolution=FLAGS.resolution,
        loss=FLAGS.loss,
        r1_weight=FLAGS.r1_weight,
        r2_weight=FLAGS.r2_weight,
        penalty_every=penalty_every(),
        policy=FLAGS.policy,
        augment_sometimes=augments_sometimes(),
        bcr=FLAGS.bcr,
        bcr_weight=FLAGS.bcr_weight,
        range_weight=FLAGS.range_weight,
        augment_pairs=FLAGS.augment_pairs,
        centring_weight=FLAGS.centring_weight,
        conditional=FLAGS.conditional,
    )
    return {"generator": generator, "discriminator": discriminator}, averaged, objective


trainer = adversarial


def learning_rate(base, network):
    """The rate of a network: what its flag says."""
    return base


def step_cost(generator, discriminator, **step):
    """(Multiply-adds per image, bytes per device, on a CPU) of a training step: `cost.lada`."""
    from ladagan_tf.cost import lada

    needed = lada.memory_estimate(generator, discriminator, **_passes(), **step)["total"]
    multiply_adds = lada.training_multiply_adds(generator, discriminator, **_passes())
    return multiply_adds, needed, lada.of_process(needed)


def cost_report(generator, discriminator, **step):
    """What a step costs, see `cost.lada.report`, as text."""
    from ladagan_tf.cost import lada

    return lada.report(generator, discriminator, **_passes(), **step)


def _passes():
    """What `cost.lada.memory_estimate` is told of the objective."""
    taken = {"r1": FLAGS.r1_weight > 0, "r2": FLAGS.r2_weight > 0, "bcr": FLAGS.bcr}
    return {**taken, "share": 1 / penalty_every(), "paired": FLAGS.loss == "rpgan"}


def autoencoder(folder, own=None):
    """None: the generator makes images."""
    return
