"""What a study runs: systems, values of flags, learning rates and seeds, and what comes next."""

import dataclasses
import itertools
import math
import re
import shlex

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError
from ladagan_tf.runs import DEFAULT_RATE
from ladagan_tf.studies.outcome import all_diverged, climb

# Flags that a study gives itself, or that would not make a run that can be measured.
GIVEN_TO_TRAIN = ("run_dir", "seed", "dry_run", "force", "measure_seconds")
GIVEN_TO_EVALUATE = (
    "run_dir", "model", "images", "out", "cost", "sweep_psi", "sweep_guidance",
    "sweep_truncation_z", "sweep_sampler_steps", "sweep_average",
)  # fmt: skip
# Of `train.py` and `evaluate.py`, whose values are names: 1e3 is another folder than 1000.
NAMES = (
    "cache_dir", "data_dir", "dataset", "features", "inception_weights", "init_from",
    "save_samples", "vae",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Run:
    """One run of `train.py`.

    Attributes:
        system: str, its row of the table.
        axes: dict from flag to text, what was varied within the system.
        lr_scale: float, or None where learning rates are not varied.
        seed: int.
        train: tuple of flags, without --run_dir.
    """

    system: str
    axes: dict
    lr_scale: float | None
    seed: int
    train: tuple

    @property
    def name(self):
        """Name of its folder."""
        scale = [] if self.lr_scale is None else [f"lr-x{self.lr_scale:g}"]
        values = [f"{flag}-{_slug_of_value(value)}" for flag, value in self.axes.items()]
        return "_".join([_slug(self.system), *values, *scale, f"seed-{self.seed}"])


@dataclasses.dataclass(frozen=True)
class Study:
    """A grid of runs.

    Attributes:
        name: str, of its file.
        title: str.
        runs: tuple of Run, in the order of the table.
        evaluate: tuple of flags of `evaluate.py`, without --run_dir.
        diverged_factor: float, see `outcome.climb`.
        sets: tuple of tuples of flags of `prepare.py`, the sets that runs read.
    """

    name: str
    title: str
    runs: tuple
    evaluate: tuple
    diverged_factor: float
    sets: tuple = ()

    def arguments(self, run):
        """What a run's result is the result of."""
        return {"train": list(run.train), "evaluate": list(self.evaluate)}


def make_study(
    name,
    title,
    base,
    systems,
    axes=(),
    seeds=(0,),
    lr_scales=(),
    evaluate="",
    diverged_factor=2.0,
    sets=(),
):
    """The product of systems, axes, learning rates and seeds.

    Args:
        name, title: str.
        base: str, the flagfile of `train.py` that all runs share, see `flagfiles.find`.
        systems: sequence of "NAME: --flag=value ...".
        axes: sequence of "FLAG: value, value", or with semicolons where values have commas.
        seeds: sequence of ints from 0 on, at least one.
        lr_scales: sequence of positive floats, by which both learning rates are multiplied; empty
            to leave them.
        evaluate: str, flags of `evaluate.py`.
        diverged_factor: float above 1, see `outcome.climb`.
        sets: sequence of str, flags of `prepare.py`, with --out.

    Returns:
        Study.

    Raises:
        InputError: naming what cannot be read, would give two runs one folder, or is a flag of an
            axis that another or a system has too.
    """
    shared = _arguments(
        [f"--flagfile={flagfiles.find(base, 'base')}"], f"--base={base}", GIVEN_TO_TRAIN
    )
    if not systems:
        raise InputError("--system is required: NAME: --flag=value ..., once for every row")
    measured = _split(evaluate, f"--evaluate={evaluate}", GIVEN_TO_EVALUATE)
    values, rows = [_axis(text) for text in axes], [*map(_system, systems)]
    _check_axes([axis[0][0] for axis in values], rows)
    runs = []
    grid = itertools.product(rows, itertools.product(*values), sorted(lr_scales) or [None], seeds)
    for (system, extra), chosen, scale, seed in grid:
        train = [*shared, *extra, *(f"--{flag}={value}" for flag, value in chosen)]
        if scale is not None:
            train += [f"--{n}={scale * learning_rate(train, n):.6g}" for n in ("g_lr", "d_lr")]
        runs.append(Run(system, dict(chosen), scale, seed, (*train, f"--seed={seed}")))
    names = [run.name for run in runs]
    for run in runs:
        if names.count(run.name) > 1:
            raise InputError(
                f"--system={run.system}: two runs would be in the folder {run.name}; names of "
                "systems, values and seeds must differ"
            )
    prepared = tuple(map(_set, sets))
    return Study(name, title or name, tuple(runs), tuple(measured), diverged_factor, prepared)


def learning_rate(arguments, name):
    """The value of --g_lr or --d_lr among flags of `train.py`: the last one, or its default."""
    given = [value or "" for flag, value in map(flagfiles.parts, arguments) if flag == name]
    try:
        return float(given[-1]) if given else DEFAULT_RATE
    except ValueError:
        raise InputError(f"--{name}={given[-1]}: give a number") from None


def next_runs(study, rows):
    """The runs that can begin now, in the order to begin them in.

    All seeds of a learning rate have to be known before the next higher one begins, and none does
    after one at which every seed diverged. A seed of every system comes before the next seed, so
    that a study cut short compares all systems.

    Args:
        study: Study.
        rows: dict from a run's name to its result, of those that are done.

    Returns:
        List of Run.
    """
    ladders = {}
    for run in study.runs:
        ladder = ladders.setdefault((run.system, *run.axes.items()), {})
        ladder.setdefault(run.lr_scale, []).append(run)
    ready = []
    for ladder in ladders.values():
        known = []
        for runs in ladder.values():
            missing = [run for run in runs if run.name not in rows]
            ready += missing
            known += [rows[run.name] for run in runs if run.name in rows]
            if missing or all_diverged(climb(known, study.diverged_factor)[-1]):
                break
    seeds = [run.seed for run in study.runs]
    return sorted(ready, key=lambda run: (run.lr_scale or 0.0, seeds.index(run.seed)))


def differences(recorded, wanted):
    """How the arguments of a result differ from those now wanted, in words; "" if they do not.

    What they mean counts, not how it is written: of a flag that comes twice the last one, whatever
    comes between, and 1e-3 is 0.001.
    """
    found = []
    for command in wanted:
        old, new = _meaning(recorded.get(command, [])), _meaning(wanted[command])
        found += [f"{command}.py {text} is gone" for text in _not_in(old, new)]
        found += [f"{command}.py {text} is new" for text in _not_in(new, old)]
    return ", ".join(found)


def _not_in(some, others):
    return [text for flag, (value, text) in some.items() if others.get(flag, (None,))[0] != value]


def _meaning(arguments):
    """Dict: flag -> what its last value means, and that argument."""
    found = {}
    for argument in arguments:
        flag, value = _flag(argument)
        parts = [part.strip() for part in value.split(",")]
        found[flag] = value if flag in NAMES else [*map(_number, parts)], argument
    return found


def _flag(argument):
    """A flag and its value as text, those of a switch too."""
    flag, value = flagfiles.parts(argument)
    if value is not None:
        return flag, value
    negated = flag.startswith("no") and not flag.startswith("noise")  # --noise_guidance
    return (flag[2:], "false") if negated else (flag, "true")


def _number(text):
    try:
        number = float(text)
    except ValueError:
        return text.lower() if text.lower() in ("true", "false") else text
    return number if math.isfinite(number) else text.lower()  # NaN is not itself


def _check_axes(axes, systems):
    """Refuses flags that two axes vary, or an axis and a system: one of them would not count."""
    for flag in axes:
        if axes.count(flag) > 1:
            raise InputError(f"--axis={flag}: it is given more than once; give one, of all values")
        for system, extra in systems:
            own = [argument for argument in extra if _flag(argument)[0] == flag]
            if own:
                raise InputError(
                    f"--axis={flag}: --system={system} has {own[-1]}, which the axis would "
                    "override; leave one of them out"
                )


def _system(text):
    name, _, extra = text.partition(":")
    name = name.strip()
    if not _slug(name) or "--" in name:
        raise InputError(f"--system={text}: give NAME: --flag=value ...")
    return name, _split(extra, f"--system={text}", GIVEN_TO_TRAIN)


def _set(text):
    given = _split(text, f"--prepare={text}", ())
    if not any(flag.startswith("--out=") for flag in given):
        raise InputError(f"--prepare={text}: give --out=, the folder that --dataset= names")
    return tuple(given)


def _axis(text):
    """[(flag, value), ...] of one axis."""
    flag, _, values = text.partition(":")
    flag = flag.strip().removeprefix("--")
    found = [value.strip() for value in values.split(";" if ";" in values else ",")]
    if not re.fullmatch(r"\w+", flag) or not values.strip() or flag in GIVEN_TO_TRAIN:
        raise InputError(f"--axis={text}: give FLAG: value, value ..., as bcr: false, true")
    return [(flag, value) for value in found]


def _split(text, where, refused):
    try:
        return _arguments(shlex.split(text), where, refused)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{where}: {error}") from None


def _arguments(given, where, refused):
    """Flags with those of flagfiles in their place, so that contents count and not names."""
    try:
        found = flagfiles.expanded(["", *given])[1:]
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    for argument in found:
        name, _ = flagfiles.parts(argument)
        if name in refused:
            raise InputError(f"{where}: --{name} is what the study decides; leave it out")
        if not argument.startswith("--"):
            raise InputError(f"{where}: {argument} is no flag; write --flag=value")
    return found


def _slug_of_value(text):
    """As `_slug`, where a minus sign before a number counts."""
    return _slug(re.sub(r"(?<![a-z0-9.])-(?=[.0-9])", "minus", text.lower()))


def _slug(text):
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-")
