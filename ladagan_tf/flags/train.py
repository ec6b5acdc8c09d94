"""Flags of `train.py`, and what they imply."""

import pathlib
import sys

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import quick
from ladagan_tf.flags import measuring
from ladagan_tf.models.sizes import PRESETS

FLAGS = flags.FLAGS

# What may differ between two starts of one run, because it changes no mathematics.
FREE = {
    "run_dir", "data_dir", "total_kimg", "jit", "virtual_cpus", "log_kimg", "sample_kimg",
    "checkpoint_kimg", "keep_checkpoints", "grid", "metric", "metric_kimg", "metric_images",
    "features", "inception_weights", "cache_dir",
}  # fmt: skip
UNRECORDED = {"dry_run", "force", "preset"}
POSITIVE = (
    "total_kimg", "log_kimg", "sample_kimg", "checkpoint_kimg", "batch_size", "micro_batches",
    "metric_kimg", "metric_images", "noise_dim", "keep_checkpoints", "grid", "virtual_cpus", "g_lr",
    "d_lr",
)  # fmt: skip


def define():
    """Defines them. Sizes without a value come from --preset."""
    _define_data_flags()
    _define_size_flags()
    _define_objective_flags()
    _define_run_flags()
    _define_metric_flags()
    measuring.define()
    flags.adopt_module_key_flags(measuring)


def _define_data_flags():
    flags.DEFINE_string(
        "dataset",
        None,
        "Images to train on: a folder made by ladagan_tf.prepare, tfds:NAME[@SPLIT], or shapes; "
        "the last two are prepared into data/ on first use. Required.",
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )
    flags.DEFINE_boolean("flip", False, "Mirror images at random; off by default.")
    flags.DEFINE_float(
        "subset", 1.0, "Share of the images to train on, in (0, 1]; all (1.0) by default."
    )


def _define_size_flags():
    flags.DEFINE_enum(
        "preset",
        "cifar10_32",
        list(PRESETS),
        "Network sizes of the paper; the flags of this group replace single ones. cifar10_32 by "
        "default.",
    )
    flags.DEFINE_integer("resolution", None, "Side of the images in pixels: 32, 64, 128 or 256.")
    flags.DEFINE_integer("noise_dim", 128, "Size of the latent; 128 by default.")
    flags.DEFINE_list("g_widths", None, "Generator: token widths at 8x8, 16x16 and 32x32.")
    flags.DEFINE_list("g_heads", "4,4,4", "Generator: attention heads per block; 4,4,4 by default.")
    flags.DEFINE_list(
        "g_mlp_widths", "512,512,512", "Generator: MLP units per block; 512,512,512 by default."
    )
    flags.DEFINE_list(
        "g_decoder_widths",
        None,
        "Generator: channels of the convolutional decoder's stages; empty for a patch head.",
    )
    flags.DEFINE_list(
        "d_widths", None, "Discriminator: channels of the first convolution and each down block."
    )
    flags.DEFINE_list(
        "d_out_widths", "512,1024", "Discriminator: channels of the head; 512,1024 by default."
    )
    flags.DEFINE_integer("d_heads", 4, "Discriminator: attention heads; 4 by default.")
    flags.DEFINE_integer("d_mlp_width", 512, "Discriminator: MLP units; 512 by default.")
    flags.DEFINE_enum(
        "score",
        "full",
        ["full", "per_head"],
        "Attention scores from the whole query (official code; default) or from each head's part "
        "of it (paper).",
    )


def _define_objective_flags():
    flags.DEFINE_enum(
        "loss", "nsl", ["nsl", "hinge"], "Adversarial loss: non-saturating logistic, or hinge."
    )
    flags.DEFINE_float("r1_weight", 1e-4, "Weight of R1, at every step; 1e-4 by default, 0: off.")
    flags.DEFINE_string(
        "policy",
        "color,translation",
        "DiffAugment steps among color, translation, cutout; color,translation by default.",
    )
    flags.DEFINE_boolean("bcr", False, "Balanced consistency regularisation; off by default.")
    flags.DEFINE_float("bcr_weight", 0.1, "Its weight; 0.1 by default.")
    flags.DEFINE_float("g_lr", 2e-4, "Adam learning rate of the generator; 2e-4 by default.")
    flags.DEFINE_float("d_lr", 2e-4, "Adam learning rate of the discriminator; 2e-4 by default.")
    flags.DEFINE_float("beta1", 0.5, "Adam beta 1 of both networks; 0.5 by default.")
    flags.DEFINE_float("beta2", 0.99, "Adam beta 2 of both networks; 0.99 by default.")
    flags.DEFINE_float("clip_norm", 0.0, "Largest joint gradient norm; 0 (default): no clipping.")
    flags.DEFINE_float("ema_decay", 0.999, "EMA decay per step; 0.999 by default.")
    flags.DEFINE_float(
        "ema_halflife_kimg",
        0.0,
        "If not 0, the EMA's half-life in thousands of images, instead of --ema_decay.",
    )
    flags.DEFINE_float(
        "ema_rampup",
        0.05,
        "With --ema_halflife_kimg: the half-life is at most this share of the images seen; 0.05 "
        "by default, 0: no ramp-up.",
    )


def _define_run_flags():
    flags.DEFINE_string(
        "run_dir", None, "Folder of the run; runs/<name of the --flagfile> by default."
    )
    flags.DEFINE_float(
        "total_kimg", 68_096, "Length of the run in thousands of images; 68096 by default."
    )
    flags.DEFINE_integer(
        "batch_size", 128, "Images per step over all devices (global); 128 by default."
    )
    flags.DEFINE_integer(
        "micro_batches",
        1,
        "Parts each device's batch is computed in, to save memory; 1 by default.",
    )
    flags.DEFINE_integer("seed", 0, "All randomness derives from it; 0 by default.")
    flags.DEFINE_enum(
        "strategy",
        "none",
        ["none", "mirrored", "multiworker", "tpu"],
        "One device (default), all GPUs of this machine, the workers of TF_CONFIG, or a TPU.",
    )
    flags.DEFINE_integer(
        "virtual_cpus", 1, "Split the CPU into this many devices, to try --strategy=mirrored."
    )
    flags.DEFINE_enum(
        "jit",
        "auto",
        ["auto", "on", "off"],
        "Compile the gradients with XLA; auto (default) is on for GPUs and TPUs, off for CPUs.",
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "Arithmetic of the networks; float32 by default.",
    )
    flags.DEFINE_float("log_kimg", 10.0, "Window of stats.jsonl in kimg; 10 by default.")
    flags.DEFINE_float("sample_kimg", 500.0, "Sample grid every so many kimg; 500 by default.")
    flags.DEFINE_float("checkpoint_kimg", 500.0, "Checkpoint every so many kimg; 500 by default.")
    flags.DEFINE_integer("keep_checkpoints", 2, "Latest checkpoints kept; 2 by default.")
    flags.DEFINE_integer("grid", 8, "Sample grids have this many rows and columns; 8 by default.")
    flags.DEFINE_boolean("dry_run", False, "Print the resolved run and its cost, then exit.")
    flags.DEFINE_boolean(
        "force", False, "Continue a run although flags that change its mathematics differ."
    )


def _define_metric_flags():
    flags.DEFINE_enum(
        "metric",
        "none",
        ["none", *quick.METRICS],
        "Quick metric during training, which chooses the best checkpoint: fid (with Inception), "
        "fcd (with a classifier), swd (without a network); none by default.",
    )
    flags.DEFINE_float("metric_kimg", 500.0, "Measure every so many kimg; 500 by default.")
    flags.DEFINE_integer(
        "metric_images", 5_000, "Images of each side of a measurement; 5000 by default."
    )


def resolve():
    """Fills in what the preset and the config's name imply.

    Returns:
        Dict from name to text of the flags that a run records.

    Raises:
        InputError: for values that no run can have.
    """
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
