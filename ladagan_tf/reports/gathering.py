"""What a run's files tell of it, read while it may still be going on."""

import dataclasses
import math
import pathlib

import numpy as np
from PIL import Image

from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.runs import FLAGS_FILE, MODELS_FILE, results
from ladagan_tf.runs.directory import RunDirectory, read_flags
from ladagan_tf.untrusted import read_json

REALS = "reals.png"
SYSTEMS = {"lada": "LadaGAN", "gat": "GAT", "cat": "CAT", "flow": "flow matching"}  # by --system


@dataclasses.dataclass(frozen=True)
class Run:
    """A run as its files describe it.

    Attributes:
        name: str, what it is called beside the others.
        path: pathlib.Path.
        flags: dict of text.
        starts: list of dicts, what each start ran on.
        windows, measured: see `runs.results.read_stats`.
        metrics: see `runs.results.read_metrics`.
        sheets: see `runs.results.sheets`.
        reals: pathlib.Path of its real images, or None.
    """

    name: str
    path: pathlib.Path
    flags: dict
    starts: list
    windows: list
    measured: list
    metrics: list
    sheets: dict
    reals: pathlib.Path | None

    @property
    def kimg(self):
        """Thousands of real images that it has seen, as far as its files say."""
        lines = [line["kimg"] for line in (*self.windows, *self.measured)]
        drawn = [kimg for sheets in self.sheets.values() for kimg, _ in sheets]
        return max([0.0, *lines, *drawn])


def read_runs(paths):
    """Reads runs.

    Args:
        paths: sequence of run directories.

    Returns:
        List of `Run`.

    Raises:
        InputError: if one of them is no run, or is there twice.
    """
    places = [pathlib.Path(path).resolve() for path in paths]
    for number, path in enumerate(paths):
        first = places.index(places[number])
        if first < number:
            raise InputError(f"runs={path}: it is the same run as {paths[first]}; give each once")
    return [_read(name, path) for name, path in zip(results.run_names(paths), paths, strict=True)]


def _read(name, path):
    run = RunDirectory(path)
    if not run.path.is_dir():
        raise InputError(f"runs={path}: there is no such folder")
    if not run.flags_file.is_file():
        raise InputError(f"runs={path}: no {FLAGS_FILE} in it, so it is not a run")
    try:
        starts = run.starts()
    except ValueError:  # the next start sets it aside
        starts = []
    reals = run.path / REALS
    return Run(
        name,
        run.path,
        read_flags(run.flags_file),
        starts,
        *results.read_stats(path),
        results.read_metrics(path),
        results.sheets(path),
        reals if reals.is_file() else None,
    )


def classes_of_rows(num_classes, rows):
    """The class that each row of a sample grid shows: int32 (rows,), spread over all classes."""
    return np.linspace(0, num_classes - 1, rows).round().astype(np.int32)


def names_of_rows(run):
    """What the classes of the rows are called, in words; "" if they have no names."""
    try:
        names = read_json(run.path / MODELS_FILE)["generator"]["config"]["class_names"]
        rows = classes_of_rows(len(names), int(run.flags["grid"])) if names else []
        return ", ".join(names[number] for number in rows)
    except (InputError, KeyError, TypeError, ValueError, OSError):  # it has none, or no models.json
        return ""


def facts(run):
    """A run in a few words, a dict from what to text; what is not known is left out.

    Args:
        run: Run.
    """
    flags, last = run.flags, run.starts[-1] if run.starts else {}
    system = SYSTEMS.get(flags.get("system"), flags.get("system"))
    size = f"{flags['resolution']} px" if "resolution" in flags else None
    return {
        name: text
        for name, text in {
            "progress": _progress(run.kimg, flags.get("total_kimg")),
            "model": _joined(system, flags.get("precision")),
            "images": _joined(flags.get("dataset"), size),
            "rows of grids": names_of_rows(run),
            "best": "; ".join(
                f"{metric} {plain(value, 4)} at {plain(at)} kimg"
                for metric, (value, at) in results.best_scores(run.measured).items()
            ),
            "speed": _speed(run.windows),
            "peak memory": _memory(run.windows),
            "hardware": _joined(last.get("cpu"), _cores(last), *_texts(last.get("gpus"))),
            "last start": _joined(_minute(last.get("date")), _counted(len(run.starts), "start")),
        }.items()
        if text
    }


def picture(path):
    """A picture of a run (pathlib.Path) as an RGB PIL.Image; None if it is gone or cut short."""
    try:
        with one_line_about(path, "picture"), Image.open(path) as opened:
            return opened.convert("RGB")
    except InputError:
        return None


def environment(run):
    """The last start's record of what it ran on, a dict of texts.

    Args:
        run: Run.
    """
    last = run.starts[-1] if run.starts else {}
    return {name: " ".join(_texts(value)) for name, value in last.items() if value}


def _progress(kimg, total):
    try:
        return f"{plain(kimg)} of {plain(float(total))} kimg"
    except (TypeError, ValueError):
        return f"{plain(kimg)} kimg"


def _speed(windows):
    _, speed = results.column(windows, "img_per_s")
    median = float(np.median(speed)) if len(speed) else math.nan
    return (
        f"{plain(median, 3)} images/s, {plain(1000 / median, 3)} s per kimg" if median > 0 else ""
    )


def _memory(windows):
    found = []
    for name, words in (("cpu_peak_gb", "CPU"), ("gpu_peak_gb", "GPU")):
        _, values = results.column(windows, name)
        found += [f"{words} {plain(values.max(), 3)} GB"] if len(values) else []
    return ", ".join(found)


def _minute(date):
    """A date of `environment`, in UTC, to the minute."""
    return f"{date[:16].replace('T', ' ')} UTC" if isinstance(date, str) else None


def _cores(start):
    return _counted(start["cores"], "core") if isinstance(start.get("cores"), int) else None


def _counted(count, word):
    return f"{count} {word}{'' if count == 1 else 's'}" if count else None


def _texts(value):
    return [str(part) for part in (value if isinstance(value, list) else [value])]


def _joined(*parts):
    return ", ".join(str(part) for part in parts if part not in (None, "", "None"))
