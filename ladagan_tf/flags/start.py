"""What the flags of `train.py` mean for a start: what they imply, refuse, and leave in the run."""

import hashlib
import math
import pathlib
import sys

from absl import flags

from ladagan_tf import extras, flagfiles
from ladagan_tf.data.source import TFDS_PREFIX
from ladagan_tf.errors import InputError, warn
from ladagan_tf.flags import common, train
from ladagan_tf.runs import FLAGS_FILE, MODELS_FILE
from ladagan_tf.systems import listed, refuse, refuse_without

FLAGS = flags.FLAGS
# What may differ between two starts of one run, because it changes no mathematics.
FREE = {
    "data_dir", "total_kimg", "jit", "worker_wait", "virtual_cpus", "log_kimg", "sample_kimg",
    "checkpoint_kimg", "keep_checkpoints", "grid", "scale", "metric", "metric_kimg",
    "metric_images", "features", "inception_weights", "cache_dir", "wandb", "sampler",
    "sampler_steps",
}  # fmt: skip
# Free as well where checkpoints record what is found there (`training.loop.contents_of`).
BY_CONTENT = {"dataset", "vae", "teacher", "init_from"}
UNRECORDED = {"config", "dry_run", "force", "measure_seconds", "preset", "size", "run_dir"}
BEFORE = {"draw_keys": "32"}  # of runs that began before there was the flag
FRACTIONS = ("beta1", "beta2", "ema_decay", "augment_target")  # from 0, below 1
SHARES = ("augment_p",)  # from 0 to 1
NOT_NEGATIVE = (
    "r1_weight", "r2_weight", "bcr_weight", "range_weight", "alignment_weight", "clip_norm",
    "ema_halflife_kimg", "ema_rampup", "penalty_final", "consistency_weight",
    "centring_weight",
)  # fmt: skip
POSITIVE = (
    "total_kimg", "log_kimg", "sample_kimg", "checkpoint_kimg", "batch_size", "micro_batches",
    "metric_kimg", "metric_images", "noise_dim", "num_classes", "keep_checkpoints",
    "g_lr", "d_lr", "spike_factor", "epsilon", "lr_final", "schedule_kimg",
    "augment_kimg", "time_std", "patch", "latent_size", "levels", "class_dim", "projector_dim",
)  # fmt: skip


def resolve(argv=None):
    """Fills in what the system, its size and the config's name imply.

    Args:
        argv: list of str, the command line, whose flags without effect are warned of; that of this
            process by default.

    Returns:
        Dict from name to text of the flags that a run records; those of the other system are not
        among them.

    Raises:
        InputError: for values that no run can have.
    """
    system, others = train.SYSTEMS[FLAGS.system], train.foreign(FLAGS.system)
    implied = system.implied()
    decided = all(FLAGS[name].present for name in implied)  # nothing is left for a size to say
    for name, value in {**system.DEFAULTS, **implied}.items():
        if FLAGS[name].value is None:
            FLAGS[name].value = value
    if FLAGS.dataset is None:
        raise InputError("--dataset is required: a prepared folder, tfds:NAME[@SPLIT], or shapes")
    if FLAGS.wandb:
        with extras.needed(f"--wandb={FLAGS.wandb}", "wandb"):
            from wandb import init  # noqa: F401 - a folder wandb/ of runs can be imported, too
    _check_ranges()
    _check_schedule()
    _check_penalties(system)
    _check_averages()
    refuse_without("freeze_d", FLAGS.init_from, "--init_from, whose weights stay")
    refuse_without("worker_wait", FLAGS.strategy == "multiworker", "--strategy=multiworker")
    for line in _idle(argv or sys.argv, decided):
        warn(line)
    if FLAGS.batch_size % FLAGS.micro_batches:
        raise InputError(
            f"--micro_batches={FLAGS.micro_batches} does not divide --batch_size={FLAGS.batch_size}"
        )
    FLAGS.run_dir = _run_dir()
    _keep_what_began_before()
    return {
        flag.name: as_text(flag.value)
        for flag in FLAGS.get_key_flags_for_module(train.__name__)
        if flag.name not in UNRECORDED | others and flag.value is not None
    }


def _idle(argv, decided):
    """Flags of a command line itself that the other flags leave without effect: lines.

    They are not refused as those in `refuse_without` are: a study has the lines of its base as
    words of its command, and switches off behind them what they speak of.

    Args:
        argv: list of str, the program's name first.
        decided: bool, all that --size or --preset would say is given.
    """
    tfds = FLAGS.dataset.startswith(TFDS_PREFIX)
    of_none = f"--metric={FLAGS.metric} needs no network"
    typed = {flagfiles.parts(word)[0] for word in argv[1:]}
    typed |= {name.removeprefix("no") for name in typed}  # of switches
    for names, there, why in (
        (("metric_images", "metric_kimg"), FLAGS.metric != "none", "it needs --metric"),
        (("features", "inception_weights"), FLAGS.metric not in ("none", "swd"), of_none),
        (("d_heads", "d_mlp_width"), FLAGS.d_ladaformer, "it needs --d_ladaformer"),
        (("projector_dim",), FLAGS.teacher != "none", "it needs --teacher"),
        (("noise_schedule",), FLAGS.levels > 2, "it needs --levels=3 or more"),
        (("min_information",), FLAGS.levels > 1, "it needs --levels=2 or more"),
        (("stop_anchor",), FLAGS.consistency_weight, "it needs --consistency_weight"),
        (("data_dir",), tfds, "it is for --dataset=tfds:NAME"),
        (("size", "preset"), not decided, "the sizes that it stands for are all given"),
    ):
        for name in names:
            if not there and name in typed:
                yield f"--{name}={as_text(FLAGS[name].value)} has no effect: {why}"


def _run_dir():
    """--run_dir, or what the flagfile says: a run's own one lies in the run, wherever that is."""
    config = (flagfiles.paths(sys.argv) or [pathlib.Path("run")])[-1]
    given = {flagfiles.parts(word)[0] for word in sys.argv[1:]}
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
        (("subset",), lambda value: 0 < value <= 1, "above 0, at most 1"),
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
    for name in sorted(refused):
        refuse([name], refused[name])
    given = {n for n in ends if FLAGS[n].value != FLAGS[n].default}
    if scheduled and FLAGS.schedule_kimg is None:
        raise InputError(f"--schedule={FLAGS.schedule}: it needs --schedule_kimg, until when")
    if scheduled and not given:
        raise InputError(
            f"--schedule={FLAGS.schedule}: nothing changes along it; give --lr_final, "
            "--penalty_final or --augment_ramp"
        )


def _check_penalties(system):
    """Raises InputError for what would say more of penalties that are not taken."""
    if FLAGS.r1_weight or FLAGS.r2_weight:
        return
    names = ["penalty_final", "exact_penalties", "precise_penalties"]
    if FLAGS.penalty_share != system.DEFAULTS.get("penalty_share"):
        names.append("penalty_share")
    refuse(names, "it needs --r1_weight or --r2_weight")


def _check_averages():
    """Raises InputError for averages that cannot be, and for lengths that would have no effect."""
    _averages()
    refuse_without("posthoc_sigma_rel", FLAGS.posthoc_ema, "--posthoc_ema")
    halves = FLAGS.ema_halflife_kimg or FLAGS.ema_halflives_kimg
    refuse_without("ema_rampup", halves, "--ema_halflife_kimg or --ema_halflives_kimg")
    if FLAGS.ema_halflife_kimg:
        taken = f"--ema_halflife_kimg={FLAGS.ema_halflife_kimg:g} takes its place; give that as 0"
        refuse(["ema_decay"], taken)


def _averages():
    """(Decays, half-lives in kimg, lengths) of the flags that name averages beside the first."""
    return (
        listed("ema_decays", float, "numbers from 0 to below 1", lambda decay: 0 <= decay < 1),
        listed("ema_halflives_kimg", float, "numbers greater than 0", lambda kimg: kimg > 0),
        common.sigma_rels("posthoc_sigma_rel"),
    )


def further_averages():
    """Profiles of `training.averages` beside that of --ema_decay or --ema_halflife_kimg: a list."""
    from ladagan_tf.training.averages import Decay, HalfLife, PowerFunction  # need Keras

    decays, halflives, lengths = _averages()
    found = [Decay(decay) for decay in decays]
    found += [HalfLife(kimg, FLAGS.ema_rampup) for kimg in halflives]
    return found + [PowerFunction(length) for length in lengths if FLAGS.posthoc_ema]


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


def defaults():
    """Dict from name to text of what flags are if nothing is said: what older runs had."""
    values = {flag.name: flag.default for flag in FLAGS.get_key_flags_for_module(train.__name__)}
    values |= {**train.SYSTEMS[FLAGS.system].DEFAULTS, **BEFORE}
    return {name: as_text(value) for name, value in values.items() if value is not None}


def as_text(value):
    """A flag's value as it is written behind `--name=`."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
