"""What runs of a study gave: rows of results.jsonl, compared with each other."""

import dataclasses
import pathlib

import numpy as np

from ladagan_tf.errors import InputError, reason
from ladagan_tf.runs.json_lines import unsealed

RESULT = "result.json"
FINISHED, DIVERGED = "finished", "diverged"
NUMBER = int | float
LABELS = "labels"  # of a protocol: what classes images were asked for
ROW = {  # a result's fields and their types, see `collecting.collect`
    "study": str,
    "system": str,
    "axes": dict,
    "lr_scale": NUMBER | None,
    "seed": int,
    "arguments": dict,
    "run_dir": str,
    "status": str,
    "message": str | None,
    "generator": dict,
    "discriminator": dict | None,
    "seconds_per_step": NUMBER | None,
    "jobs": int,
    "kimg": NUMBER,
    "metrics": dict,
    "lower_is_better": dict,
    "protocol": dict | None,
    "gradients": dict,
    "traces": dict,
    "environment": dict,
}


@dataclasses.dataclass(frozen=True)
class Setting:
    """What runs that differ only in their seed have in common.

    Attributes:
        system: str.
        axes: tuple of (flag, value).
        lr_scale: float or None.
    """

    system: str
    axes: tuple
    lr_scale: float | None

    @property
    def label(self):
        """In words."""
        values = [f"{flag}={value}" for flag, value in self.axes]
        scale = [] if self.lr_scale is None else [f"lr x{self.lr_scale:g}"]
        return ", ".join([self.system, *values, *scale])


@dataclasses.dataclass(frozen=True)
class Rung:
    """The runs at one learning rate.

    Attributes:
        scale: float, or None where learning rates are not varied.
        rows: list of dict.
        diverged: list of bool, one per row.
    """

    scale: float | None
    rows: list
    diverged: list


def read_results(path):
    """Rows of a results.jsonl.

    Args:
        path: the file, or the folder it lies in.

    Returns:
        List of dict, in the order of the file.

    Raises:
        InputError: if there is no such file, or a line is not as it was written.
    """
    path = pathlib.Path(path)
    path = path / "results.jsonl" if path.is_dir() else path
    try:
        return [_row(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: no results of a study can be read ({reason(error)})") from None


def read_result(run_dir):
    """The row of a run directory.

    Args:
        run_dir: pathlib.Path.

    Returns:
        dict; None if the run is not done.

    Raises:
        ValueError: if the file that says so is not as it was written.
    """
    path = run_dir / RESULT
    return _row(path.read_text(encoding="utf-8")) if path.is_file() else None


def _row(text):
    row = unsealed(text)
    wrong = [name for name, types in ROW.items() if not isinstance(row.get(name), types)]
    wrong += sorted(row.keys() - ROW.keys())
    if wrong or not ROW.keys() <= row.keys():
        raise ValueError(f"it is no result of a run ({', '.join(wrong)[:100]})")
    return row


def by_setting(rows, scales=True):
    """Groups rows that differ only in their seed.

    Args:
        rows: list of dict.
        scales: bool, False to put all learning rates of a system into one group.

    Returns:
        Dict from Setting to list of rows, in the order of the rows.
    """
    found = {}
    for row in rows:
        scale = row["lr_scale"] if scales else None
        setting = Setting(row["system"], tuple(row["axes"].items()), scale)
        found.setdefault(setting, []).append(row)
    return found


def metric_names(rows):
    """Dict from each metric of the rows to whether lower is better, in order of appearance."""
    return {name: lower for row in rows for name, lower in row["lower_is_better"].items()}


def values(rows, metric):
    """float64 array of a metric's values over the rows that have one."""
    return np.asarray([r["metrics"][metric] for r in rows if metric in r["metrics"]], np.float64)


def climb(rows, factor):
    """Which runs of one ladder of learning rates diverged.

    A run has diverged if it stopped at a loss that is not finite, or if its first metric is worse
    by `factor` than the best mean over seeds up to its own learning rate. Higher rates do not
    count, because a rate that is too low to learn anything in the given time is not unstable.

    Args:
        rows: list of dict, of one system.
        factor: float above 1.

    Returns:
        List of Rung, in the order of the scales.
    """
    best, rungs = None, []
    for scale in sorted({row["lr_scale"] for row in rows}, key=lambda s: s or 0.0):
        here = [row for row in rows if row["lr_scale"] == scale]
        names = metric_names(here)
        metric = next(iter(names), None)
        if metric:
            mean = values(here, metric).mean()
            better = min if names[metric] else max
            best = mean if best is None else better(best, mean)
        rungs.append(Rung(scale, here, [_diverged(row, metric, best, factor) for row in here]))
    return rungs


def _diverged(row, metric, best, factor):
    if row["status"] == DIVERGED:
        return True
    if row["lr_scale"] is None or metric not in row["metrics"]:
        return False
    value = row["metrics"][metric]
    if best <= 0:  # of an unbiased estimate, as KID, a factor says nothing
        return False
    return value > factor * best if row["lower_is_better"][metric] else value < best / factor


def all_diverged(rung):
    """Whether every run of a rung diverged: bool."""
    return all(rung.diverged)


def largest_stable(rungs):
    """The highest scale at which, and below which, no run diverged; None if there is none."""
    found = None
    for rung in rungs:
        if any(rung.diverged):
            break
        found = rung.scale
    return found


def comparable(protocol):
    """What of a metric's protocol says how it was measured, without what is of the run itself."""
    of_run = ("model", "checkpoint", "kimg")
    about = {name: part for name, part in protocol.items() if name != "environment"}
    about["generated"] = {
        k: v
        for k, v in protocol["generated"].items()
        if k not in of_run and (k, v) != (LABELS, "none")
    }
    about["reference"] = {
        k: pathlib.PurePath(v).name if k in ("images", "statistics") else v
        for k, v in protocol["reference"].items()
    }
    if isinstance(protocol["features"], dict):  # the hash counts, not where the file lies
        about["features"] = {k: v for k, v in protocol["features"].items() if k != "file"}
    return about


def check_protocols(rows):
    """Refuses rows that were not measured in the same way.

    Raises:
        InputError: naming the first field that differs, and two runs.
    """
    measured = [row for row in rows if row["protocol"]]
    # With labels first: those of all others are compared with them.
    measured.sort(key=lambda row: LABELS not in row["protocol"]["generated"])
    for row in measured[1:]:
        field = _first_difference(*(_of_any_system(r["protocol"]) for r in (measured[0], row)))
        if field:
            path, ours, theirs = field
            raise InputError(
                f"protocol: {path} is {ours} in {measured[0]['run_dir']} and {theirs} in "
                f"{row['run_dir']}; numbers of one table must be measured in the same way"
            )


def _of_any_system(protocol):
    """Without what systems of several kinds differ in by being what they are."""
    generated = protocol["generated"]
    own = {"paper", "sampler", "sampler_steps"}
    # That a latent was not truncated, nor a class exaggerated, is as if there were no such thing.
    own |= {name for name in ("psi", "guidance") if generated.get(name) == 1.0}
    kept = {k: v for k, v in generated.items() if k not in own}
    return {k: v for k, v in protocol.items() if k != "unlike_gats_authors"} | {"generated": kept}


def _first_difference(one, other, path=""):
    """(path, value, value) of the first field in which two nested dicts differ, or None."""
    if not (isinstance(one, dict) and isinstance(other, dict)):
        return None if one == other else (path, one, other)
    for name in {**one, **other}:
        if name == LABELS and not (name in one and name in other):
            continue  # an unconditional generator beside a conditional one
        inner = f"{path}.{name}" if path else name
        found = _first_difference(one.get(name), other.get(name), inner)
        if found:
            return found
    return None
