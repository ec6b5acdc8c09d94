"""Flags of `train.py`, and what they imply."""

import hashlib
import importlib.util
import math
import pathlib
import re
import sys

from absl import flags

from ladagan_tf import extras, flagfiles
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import QUICK_METRICS
from ladagan_tf.flags import common
from ladagan_tf.models.attention import ATTENTIONS
from ladagan_tf.runs import FLAGS_FILE, MODELS_FILE
from ladagan_tf.sampling import posthoc
from ladagan_tf.systems import cat, group, lada
from ladagan_tf.systems import gat as gat_system
from ladagan_tf.training import SCHEDULES

FLAGS = flags.FLAGS
SYSTEMS = {"lada": lada, "gat": gat_system, "cat": cat}

# What may differ between two starts of one run, because it changes no mathematics.
FREE = {
    "data_dir", "total_kimg", "jit", "worker_wait", "virtual_cpus", "log_kimg", "sample_kimg",
    "checkpoint_kimg", "keep_checkpoints", "grid", "scale", "metric", "metric_kimg",
    "metric_images", "features", "inception_weights", "cache_dir", "wandb",
}  # fmt: skip
# Free as well where checkpoints record what is found there (`training.contents`).
BY_CONTENT = {"dataset", "vae", "teacher", "init_from"}
UNRECORDED = {"config", "dry_run", "force", "preset", "size", "run_dir"}
BEFORE = {"draw_keys": "32"}  # of runs that began before there was the flag
FRACTIONS = ("beta1", "beta2", "ema_decay", "augment_target")  # from 0, below 1
SHARES = ("augment_p",)  # from 0 to 1
NOT_NEGATIVE = (
    "r1_weight", "r2_weight", "bcr_weight", "range_weight", "alignment_weight", "clip_norm",
    "ema_halflife_kimg", "ema_rampup", "penalty_final", "consistency_weight",
)  # fmt: skip
POSITIVE = (
    "total_kimg", "log_kimg", "sample_kimg", "checkpoint_kimg", "batch_size", "micro_batches",
    "metric_kimg", "metric_images", "noise_dim", "num_classes", "keep_checkpoints", "grid",
    "virtual_cpus", "g_lr", "d_lr", "spike_factor", "epsilon", "lr_final", "schedule_kimg",
    "augment_kimg",
)  # fmt: skip


def define():
    """Defines those of all systems."""
    _define_data_flags()
    _define_network_flags()
    for system in SYSTEMS.values():
        system.define()
        flags.adopt_module_key_flags(system)
    _define_objective_flags()
    _define_optimizer_flags()
    _define_average_flags()
    _define_schedule_flags()
    _define_run_flags()
    _define_metric_flags()
    common.define_measuring()
    flags.adopt_module_key_flags(common)
    _define_device_flags()


@group("Data")
def _define_data_flags():
    flags.DEFINE_string(
        "dataset",
        None,
        "Images to train on: a folder made by ladagan_tf.prepare (with --latents for GAT), "
        "tfds:NAME[@SPLIT], or shapes; the last two are prepared into data/ on first use. "
        "Required.",
    )
    flags.DEFINE_string(
        "data_dir", None, "Folder of TFDS downloads; TFDS's own (~/tensorflow_datasets) by default."
    )
    flags.DEFINE_integer(
        "resolution", None, "Side of the images in pixels; the preset's or the set's by default."
    )
    flags.DEFINE_boolean("flip", False, "Mirror images at random.")
    flags.DEFINE_float("subset", 1.0, "Share of the images to train on, in (0, 1].")


@group("Networks")
def _define_network_flags():
    flags.DEFINE_enum(
        "system",
        "lada",
        list(SYSTEMS),
        "lada: LadaGAN on images; gat: GAT on the latents of an autoencoder; cat: CAT on them, as "
        "far as it is known.",
    )
    flags.DEFINE_enum(
        "attention",
        None,
        list(ATTENTIONS),
        "Attention of LadaGAN's generator, or of both networks of GAT or CAT (additive or "
        "dot_product).",
    )
    flags.DEFINE_integer("noise_dim", None, "Numbers in a latent z.")
    flags.DEFINE_integer(
        "num_classes",
        None,
        "Classes, as in the set; of LadaGAN with --conditional as many as there are.",
    )


@group("Objective")
def _define_objective_flags():
    flags.DEFINE_float("r1_weight", None, "Weight of R1, at every step; 0: off.")
    flags.DEFINE_float(
        "r2_weight", None, "Weight of R2, R1 at generated samples, at every step; 0: off."
    )
    flags.DEFINE_float(
        "penalty_share",
        None,
        "Share of the batch that R1 and R2 are taken at, one part of a whole number: 0.25 is every "
        "fourth image.",
    )


@group("Optimiser")
def _define_optimizer_flags():
    flags.DEFINE_float("g_lr", 2e-4, "Adam learning rate of the generator.")
    flags.DEFINE_float("d_lr", 2e-4, "Adam learning rate of the discriminator.")
    flags.DEFINE_float("beta1", None, "Adam beta 1 of both networks.")
    flags.DEFINE_float("beta2", 0.99, "Adam beta 2 of both networks.")
    flags.DEFINE_float("epsilon", None, "Adam epsilon.")
    flags.DEFINE_float(
        "clip_norm", None, "Largest joint gradient norm of a network; 0: no clipping."
    )
    flags.DEFINE_float("ema_decay", 0.999, "EMA decay per step.")
    flags.DEFINE_float(
        "ema_halflife_kimg",
        0.0,
        "If not 0, the EMA's half-life in thousands of images, instead of --ema_decay.",
    )
    flags.DEFINE_float(
        "ema_rampup",
        0.05,
        "With --ema_halflife_kimg: the half-life is at most this share of the images seen; 0: "
        "no ramp-up.",
    )


@group("Averages beside the first")
def _define_average_flags():
    flags.DEFINE_list(
        "ema_decays",
        "",
        "Also keep averages with these decays per step, as 0.999,0.9999, which --average of "
        "generate and evaluate chooses.",
    )
    flags.DEFINE_list(
        "ema_halflives_kimg", "", "Also keep averages with these half-lives, as 100,500."
    )
    flags.DEFINE_boolean(
        "posthoc_ema",
        False,
        "Also store power-function averages (EDM2) at every checkpoint that is due, of which "
        "ladagan average makes an average of any length.",
    )
    flags.DEFINE_list(
        "posthoc_sigma_rel",
        list(posthoc.DEFAULT_SIGMA_REL),
        "With --posthoc_ema: the lengths that are stored, each the standard deviation of the "
        "average's profile over time as a share of the time trained.",
    )


@group("Schedules and augmentation")
def _define_schedule_flags():
    flags.DEFINE_enum(
        "schedule",
        "constant",
        list(SCHEDULES),
        "How --lr_final, --penalty_final and --augment_p are reached: linear, along half a cosine, "
        "or not at all (constant).",
    )
    flags.DEFINE_float(
        "schedule_kimg", None, "Thousands of images until they are reached; they stay after that."
    )
    flags.DEFINE_float("lr_final", 1.0, "Both learning rates at the end, as a share of the first.")
    flags.DEFINE_float(
        "penalty_final",
        1.0,
        "Weights of R1 and R2 at the end, as a share of the first.",
    )
    flags.DEFINE_float("augment_p", 1.0, "Probability with which an image is augmented at all.")
    flags.DEFINE_boolean("augment_ramp", False, "Begin that probability at 0, for --schedule.")
    flags.DEFINE_float(
        "augment_target",
        0.0,
        "Adapt that probability, from 0 on, so that the mean sign of D at reals stays here, as 0.6 "
        "(StyleGAN2-ADA); 0: off.",
    )
    flags.DEFINE_float(
        "augment_kimg",
        500.0,
        "With --augment_target: thousands of images in which it can rise from 0 to 1.",
    )


@group("Run")
def _define_run_flags():
    flags.DEFINE_string(
        "config",
        None,
        "An experiment that ships, by its name, or any flagfile; list shows them. Flags behind it "
        "count more than its own, as behind --flagfile.",
    )
    flags.DEFINE_string(
        "run_dir",
        None,
        "Folder of the run; runs/<name of the config> by default, or the folder of the "
        "--flagfile if that is the flags.cfg of a run.",
    )
    flags.DEFINE_float(
        "total_kimg",
        None,
        "Length of the run in thousands of images.",
    )
    flags.DEFINE_integer("batch_size", None, "Images per step over all devices (global).")
    common.define_seed("All randomness derives from it.")
    flags.adopt_module_key_flags(common)
    flags.DEFINE_float("log_kimg", 10.0, "Window of stats.jsonl and of log.txt in kimg.")
    flags.DEFINE_float("sample_kimg", 500.0, "Sample grid every so many kimg.")
    flags.DEFINE_float("checkpoint_kimg", 500.0, "Checkpoint every so many kimg.")
    flags.DEFINE_integer("keep_checkpoints", 2, "Latest checkpoints kept.")
    flags.DEFINE_integer("grid", 8, "Sample grids have this many rows and columns.")
    flags.DEFINE_integer(
        "scale",
        None,
        "Whole factor by which images of sample grids are enlarged; by default the largest that "
        "keeps a grid within 640 pixels.",
        lower_bound=1,
        upper_bound=64,
    )
    flags.DEFINE_float(
        "spike_factor",
        3.0,
        "Count a step as a spike where a network's gradient norm is above this many times its "
        "median over the last 50 steps.",
    )
    flags.DEFINE_enum(
        "draw_keys",
        "64",
        ["32", "64"],
        "Bits of the keys that a step's draws derive from. Runs that began before there was a "
        "choice have 32, which they keep.",
    )
    flags.DEFINE_string(
        "init_from",
        None,
        "Start from trained weights, where names and shapes are the same, with new optimizers: "
        "RUN (its best checkpoint), RUN/checkpoints/step-N, FILE.keras, the authors' folder or "
        "file, hf:USER/REPO or zoo:NAME.",
    )
    flags.register_validator("init_from", common.is_known)
    flags.DEFINE_integer(
        "freeze_d",
        0,
        "With --init_from: keep the first so many blocks of D, counted from the image (FreezeD).",
        lower_bound=0,
    )
    flags.DEFINE_string(
        "wandb",
        None,
        "Project of Weights & Biases to show the run in as well (the wandb extra); with "
        "WANDB_MODE=offline in the environment it stays on this machine.",
    )
    flags.DEFINE_boolean("dry_run", False, "Print the resolved run and its cost, then exit.")
    flags.DEFINE_boolean(
        "force", False, "Continue a run although flags that change its mathematics differ."
    )


@group("Device")
def _define_device_flags():
    flags.DEFINE_enum(
        "strategy",
        "none",
        ["none", "mirrored", "multiworker", "tpu"],
        "One device, all GPUs of this machine, the workers of TF_CONFIG or of a job of Slurm, or a "
        "TPU.",
    )
    flags.DEFINE_float(
        "worker_wait",
        600.0,
        "With --strategy=multiworker: how many seconds to wait for the other workers to begin.",
        lower_bound=1.0,
        upper_bound=1e6,
    )
    flags.DEFINE_integer(
        "virtual_cpus", 1, "Split the CPU into this many devices, to try --strategy=mirrored."
    )
    flags.DEFINE_enum(
        "jit",
        "auto",
        ["auto", "on", "off"],
        "Compile the gradients with XLA; auto is on for GPUs and TPUs, off for CPUs.",
    )
    flags.DEFINE_enum(
        "precision",
        "float32",
        ["float32", "mixed_bfloat16", "mixed_float16"],
        "Arithmetic of the networks.",
    )
    flags.DEFINE_integer(
        "micro_batches",
        1,
        "Parts each device's batch is computed in, to save memory.",
    )


@group("Metric during training")
def _define_metric_flags():
    flags.DEFINE_enum(
        "metric",
        "none",
        ["none", *QUICK_METRICS],
        "Quick metric during training, which chooses the best checkpoint: fid (with Inception),"
        " fcd (with a classifier), swd (without a network).",
    )
    flags.DEFINE_float("metric_kimg", 500.0, "Measure every so many kimg.")
    flags.DEFINE_integer("metric_images", 5_000, "Images of each side of a measurement.")


def resolve():
    """Fills in what the system, its size and the config's name imply.

    Returns:
        Dict from name to text of the flags that a run records; those of the other system are not
        among them.

    Raises:
        InputError: for values that no run can have.
    """
    system, others = SYSTEMS[FLAGS.system], foreign(FLAGS.system)
    for name, value in {**system.DEFAULTS, **system.implied()}.items():
        if FLAGS[name].value is None:
            FLAGS[name].value = value
    if FLAGS.dataset is None:
        raise InputError("--dataset is required: a prepared folder, tfds:NAME[@SPLIT], or shapes")
    if FLAGS.wandb and not importlib.util.find_spec("wandb"):
        raise extras.missing(f"--wandb={FLAGS.wandb}", "wandb")
    _check_ranges()
    _check_schedule()
    _check_averages()
    if FLAGS.freeze_d and not FLAGS.init_from:
        raise InputError(f"--freeze_d={FLAGS.freeze_d}: it needs --init_from, whose weights stay")
    if FLAGS.batch_size % FLAGS.micro_batches:
        raise InputError(
            f"--micro_batches={FLAGS.micro_batches} does not divide --batch_size={FLAGS.batch_size}"
        )
    FLAGS.run_dir = _run_dir()
    _keep_what_began_before()
    return {
        flag.name: as_text(flag.value)
        for flag in FLAGS.get_key_flags_for_module(__name__)
        if flag.name not in UNRECORDED | others and flag.value is not None
    }


def _run_dir():
    """--run_dir, or what the flagfile says: a run's own one lies in the run, wherever that is."""
    config = (flagfiles.paths(sys.argv) or [pathlib.Path("run")])[-1]
    given = {word.lstrip("-").partition("=")[0] for word in sys.argv[1:] if word[:1] == "-"}
    is_own = config.name == FLAGS_FILE and (config.parent / MODELS_FILE).is_file()
    if is_own and "run_dir" not in given:
        return str(config.parent)  # older ones say where they once were
    return FLAGS.run_dir or str(pathlib.Path("runs") / config.stem)


def _keep_what_began_before():
    """Sets `BEFORE` for a run whose record does not name these flags, where they are not given."""
    record = pathlib.Path(FLAGS.run_dir) / FLAGS_FILE
    if record.is_file():
        text = record.read_text(errors="replace")
        for name, value in BEFORE.items():
            if not FLAGS[name].present and f"--{name}=" not in text:
                FLAGS[name].value = value


def _check_ranges():
    """Raises InputError for numbers outside their range; NaN is outside every range."""
    for names, inside, words in (
        (POSITIVE, lambda value: 0 < value < math.inf, "a finite number greater than 0"),
        (NOT_NEGATIVE, lambda value: 0 <= value < math.inf, "a finite number from 0 on"),
        (FRACTIONS, lambda value: 0 <= value < 1, "from 0 to below 1"),
        (SHARES, lambda value: 0 <= value <= 1, "from 0 to 1"),
    ):
        for name in names:
            if FLAGS[name].value is not None and not inside(FLAGS[name].value):
                raise InputError(f"--{name}={FLAGS[name].value}: it must be {words}")


def _check_schedule():
    """Raises InputError for what a schedule lacks, and for what would have no effect."""
    scheduled, ends = FLAGS.schedule != "constant", ("lr_final", "penalty_final", "augment_ramp")
    refused = {}
    if not scheduled:
        refused = dict.fromkeys((*ends, "schedule_kimg"), "it needs --schedule=linear or cosine")
    if FLAGS.augment_target:
        found = f"--augment_target={FLAGS.augment_target:g} finds the probability; give one of them"
        refused |= dict.fromkeys(("augment_p", "augment_ramp"), found)
    else:
        refused["augment_kimg"] = "it needs --augment_target"
    given = {n for n in (*ends, *refused) if FLAGS[n].value != FLAGS[n].default}
    for name in sorted(given & refused.keys()):
        raise InputError(f"--{name}={FLAGS[name].value}: {refused[name]}")
    if scheduled and FLAGS.schedule_kimg is None:
        raise InputError(f"--schedule={FLAGS.schedule}: it needs --schedule_kimg, until when")
    if scheduled and not given.intersection(ends):
        raise InputError(
            f"--schedule={FLAGS.schedule}: nothing changes along it; give --lr_final, "
            "--penalty_final or --augment_ramp"
        )


def _check_averages():
    """Raises InputError for averages that cannot be, and for lengths that would have no effect."""
    for name, inside, words in (
        ("ema_decays", lambda value: 0 <= value < 1, "from 0 to below 1"),
        ("ema_halflives_kimg", lambda value: 0 < value < math.inf, "greater than 0"),
    ):
        try:
            usable = all(map(inside, map(float, FLAGS[name].value)))
        except ValueError:
            usable = False
        if not usable:
            raise InputError(f"--{name}={as_text(FLAGS[name].value)}: give numbers {words}")
    posthoc.parse_sigma_rel("posthoc_sigma_rel", FLAGS.posthoc_sigma_rel)
    if not FLAGS.posthoc_ema and FLAGS.posthoc_sigma_rel != FLAGS["posthoc_sigma_rel"].default:
        raise InputError(
            f"--posthoc_sigma_rel={as_text(FLAGS.posthoc_sigma_rel)}: it needs --posthoc_ema"
        )


def further_averages():
    """Profiles of `training.averages` beside that of --ema_decay or --ema_halflife_kimg: a list."""
    from ladagan_tf.training.averages import Decay, HalfLife, PowerFunction  # need Keras

    found = [Decay(float(decay)) for decay in FLAGS.ema_decays]
    found += [HalfLife(float(kimg), FLAGS.ema_rampup) for kimg in FLAGS.ema_halflives_kimg]
    if FLAGS.posthoc_ema:
        lengths = posthoc.parse_sigma_rel("posthoc_sigma_rel", FLAGS.posthoc_sigma_rel)
        found += map(PowerFunction, lengths)
    return found


def schedules():
    """`training.schedules.Schedules` of the flags."""
    from ladagan_tf.training.schedules import Schedules  # needs Keras

    return Schedules(
        FLAGS.schedule,
        FLAGS.schedule_kimg or 1.0,
        rate=(1.0, FLAGS.lr_final),
        penalty=(1.0, FLAGS.penalty_final),
        augment=(0.0 if FLAGS.augment_ramp else FLAGS.augment_p, FLAGS.augment_p),
    )


def same_for_all_workers(recorded):
    """What all workers of a run must have: flags that change what a step is, and the code.

    Args:
        recorded: dict of text, the flags that a run records.

    Returns:
        Dict of text.
    """
    own = (FREE | BY_CONTENT) - {"total_kimg"}
    package = pathlib.Path(__file__).parents[1]
    code = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        code.update(path.relative_to(package).as_posix().encode() + path.read_bytes())
    flags_of_all = {f"--{name}": value for name, value in recorded.items() if name not in own}
    return flags_of_all | {"the code of ladagan_tf, SHA-256": code.hexdigest()[:16]}


def foreign(system):
    """Names of the flags that only other systems than this one have.

    Raises:
        InputError: if one of them is given.
    """
    names = of_others(system)
    given = [name for name in sorted(names) if FLAGS[name].present]
    if given:
        raise InputError(f"--{given[0]}: there is no such flag with --system={system}")
    return names


def of_others(system):
    """Names of the flags that only other systems than this one have: set of str."""
    names = {
        name: {flag.name for flag in FLAGS.get_key_flags_for_module(module)}
        for name, module in SYSTEMS.items()
    }
    return set().union(*names.values()) - names[system]


def shown(words):
    """What `--help` shows of all systems' flags, given beside it the rest of a command line.

    Args:
        words: list of str, in which the last --system counts.

    Returns:
        (set of names to leave out, dict of the chosen system's defaults, set of the flags whose
        values there are unconfirmed, line on what is left out).
    """
    chosen = re.findall(r"^--?system[=\n](\w+)", "\n".join(words), re.M)
    system = chosen[-1] if chosen and chosen[-1] in SYSTEMS else FLAGS["system"].default
    others = ", ".join(f"--system={name} --help" for name in SYSTEMS if name != system)
    note = f"below: the networks of --system={system}; {others} has the others"
    return of_others(system), SYSTEMS[system].DEFAULTS, SYSTEMS[system].UNCONFIRMED, note


def defaults():
    """Dict from name to text of what flags are if nothing is said: what older runs had."""
    values = {flag.name: flag.default for flag in FLAGS.get_key_flags_for_module(__name__)}
    values |= {**SYSTEMS[FLAGS.system].DEFAULTS, **BEFORE}
    return {name: as_text(value) for name, value in values.items() if value is not None}


def as_text(value):
    """A flag's value as it is written behind `--name=`."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
