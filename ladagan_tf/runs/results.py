"""What runs measured of themselves, read from their files: columns, curves and tables.

A run may still be going on: lines that are not complete yet are left out.
"""

import json
import math
import pathlib
import re

import numpy as np
from matplotlib.lines import Line2D

from ladagan_tf import charts
from ladagan_tf.charts import COLOURS, STYLES
from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError
from ladagan_tf.runs import METRICS_FILE, STRENGTHS
from ladagan_tf.runs.json_lines import is_number, read_lines

MEASURED = "metric_seconds"  # only lines of the quick metric have it
NOT_METRICS = ("step", "kimg", MEASURED)
COLUMNS_OF_TABLE = (
    "run",
    "metric",
    "value",
    "better",
    "generated",
    "real",
    "features",
    "checkpoint",
)

# What the y axis shows, and of what: fields of stats.jsonl and their names in words.
PANELS = (
    ("loss", {"d_loss": "D", "g_loss": "G", "velocity_loss": "velocity"}),
    ("mean logit", {"real_logits": "real", "fake_logits": "fake", "margin": "real - fake"}),
    ("gradient norm", {"d_grad_norm": "D", "g_grad_norm": "G"}),
    ("penalty times its weight", {"r1": "R1", "bcr": "bCR", "r2": "R2", "centring": "centring"}),
    ("alignment with the teacher", {"alignment": "loss of"}),
    # CAT's, see `training.latent_objective.diagnostics`.
    ("of the stages, unweighted", {"consistency": "consistency"}),
    ("distance from the last stage", {f"stage_distance_{k}": f"stage {k}" for k in (1, 2, 3)}),
    ("rewritten by the next stage", {f"stage_rewrite_{k}": f"stage {k}" for k in (1, 2, 3)}),
    ("cosine of rewrite and remainder", {f"stage_cosine_{k}": f"stage {k}" for k in (1, 2)}),
    ("images/s", {"img_per_s": "speed in"}),
    ("peak memory, GB", {"cpu_peak_gb": "CPU", "gpu_peak_gb": "GPU"}),
)
FEW_POINTS = 40  # up to here a curve shows them


def read_stats(run_dir):
    """Reads a run's stats.jsonl.

    Args:
        run_dir: a run directory.

    Returns:
        (windows, measured): the lines of logging windows and those of the quick metric, each a list
        of dicts in the order in which they were written.

    Raises:
        InputError: if there is no such folder.
    """
    lines = [
        {name: value for name, value in line.items() if _is_value(value)}
        for line in _lines(run_dir, "stats.jsonl")
        if is_number(line.get("kimg"))
    ]
    windows = [line for line in lines if MEASURED not in line]
    return windows, [line for line in lines if MEASURED in line]


def _is_value(value):
    """Whether a value of stats.jsonl is one: losses and norms may be NaN or infinite, too."""
    return is_number(value) or (isinstance(value, float) and not math.isfinite(value))


def read_metrics(run_dir):
    """Reads a run's metrics.jsonl: what `evaluate.py` measured, one dict per number.

    Lines that it did not write are left out.

    Raises:
        InputError: if there is no such folder.
    """
    return [line for line in _lines(run_dir, METRICS_FILE) if _is_measurement(line)]


def _is_measurement(line):
    protocol = line.get("protocol", {})
    if not isinstance(protocol, dict):
        return False
    generated, reference = (protocol.get(name, {}) for name in ("generated", "reference"))
    return (
        isinstance(line.get("metric"), str)
        and isinstance(line.get("name", ""), str)
        and is_number(line.get("value"))
        and (line.get("spread") is None or is_number(line["spread"]))
        and isinstance(protocol.get("features", {}), dict | str)
        and isinstance(generated, dict)
        and all(is_number(generated.get(name, 1)) for name in STRENGTHS)
        and isinstance(reference, dict)
        and all(isinstance(reference.get(name, ""), str) for name in ("images", "statistics"))
    )


def column(lines, name):
    """One field over the course of a run.

    Args:
        lines: list of dicts, of `read_stats`.
        name: str, a field; lines without it are passed over.

    Returns:
        Two float arrays of one length: thousands of real images seen, and values.
    """
    pairs = [(line["kimg"], line[name]) for line in lines if name in line]
    kimg, values = np.asarray(pairs, np.float64).reshape(-1, 2).T
    return kimg, values


def sheets(run_dir):
    """What a run drew over training.

    Args:
        run_dir: a run directory.

    Returns:
        Dict from the kind, as "samples" or "attention", to a list of (kimg, pathlib.Path), the
        oldest first.
    """
    found = {}
    for path in (_folder(run_dir) / "samples").glob("*kimg.png"):
        match = re.fullmatch(r"(.+)_(\d+(?:\.\d+)?)kimg\.png", path.name)
        if match:
            found.setdefault(match[1], []).append((float(match[2]), path))
    return {kind: sorted(drawn) for kind, drawn in sorted(found.items())}


def sample_grids(run_dir):
    """A run's sample grids, oldest first: list of (kimg, pathlib.Path)."""
    return sheets(run_dir).get("samples", [])


def _lines(run_dir, name):
    """Objects of a file of JSON lines; [] if there is none."""
    path = _folder(run_dir) / name
    return [value for _, value in read_lines(path)[0]] if path.is_file() else []


def _folder(run_dir):
    path = pathlib.Path(run_dir)
    if not path.is_dir():
        raise InputError(f"run_dir={run_dir}: there is no such folder")
    return path


def plot_curves(runs, path=None):
    """Draws the curves of stats.jsonl over training: a colour per run, a kind of line per field.

    Each quick metric gets a panel of its own: values of different metrics cannot be compared.

    Args:
        runs: sequence of run directories.
        path: file to write as PNG, atomically, or None.

    Returns:
        matplotlib.figure.Figure.
    """
    stats = [read_stats(run) for run in runs]
    metrics = {name for _, measured in stats for line in measured for name in line}
    windows = {name for lines, _ in stats for line in lines for name in line}
    panels = [(label, _logged(fields, windows), 0) for label, fields in PANELS]
    panels = [panel for panel in panels if panel[1]]
    panels += [("of EMA samples", {m: m}, 1) for m in sorted(metrics.difference(NOT_METRICS))]
    seen = [line["kimg"] for part in stats for lines in part for line in lines]
    end = 1.02 * max(seen, default=0.0) or 1.0
    figure, drawn = charts.panels(len(panels), 3, 3.6, 2.5, above=0.4, dpi=90)
    for axes, (label, fields, part) in zip(drawn, panels, strict=True):
        for lines, colour in zip(stats, _colours(len(runs)), strict=True):
            _draw(axes, lines[part], fields, colour)
        _finish(axes, label, fields, end)
    handles = [Line2D([], [], color=colour) for colour in _colours(len(runs))]
    figure.legend(handles, run_names(runs), loc="outside upper center", ncols=4, frameon=False)
    if path is not None:
        charts.save(path, figure)
    return figure


def _logged(fields, names):
    """Those fields that a run has; all if no run has any field of stats.jsonl."""
    return {f: text for f, text in fields.items() if f in names or not names}


def _colours(count):
    return [COLOURS[i % len(COLOURS)] for i in range(count)]


def _draw(axes, lines, fields, colour):
    for name, style in zip(fields, STYLES, strict=False):
        kimg, values = column(lines, name)
        marker = "o" if len(kimg) <= FEW_POINTS else None
        axes.plot(kimg, values, style, color=colour, marker=marker, markersize=2.5, linewidth=1.2)


def _finish(axes, label, fields, end):
    axes.set_xlabel(charts.KIMG, fontsize=8)
    axes.set_xlim(0.0, end)
    single = next(iter(fields.values())) if len(fields) == 1 else ""
    axes.set_ylabel(f"{single} {label}".strip(), fontsize=8)
    charts.plain(axes)
    if label != "mean logit" and axes.dataLim.y0 >= 0.0:
        axes.set_ylim(bottom=0.0)
    if len(fields) > 1:
        handles = [Line2D([], [], color="#555555", linestyle=s) for s in STYLES[: len(fields)]]
        axes.legend(handles, fields.values(), fontsize=8, frameon=False, handlelength=2.4)


def run_names(runs):
    """Short names of run directories: their folders', or the whole paths if those are the same."""
    names = [pathlib.Path(run).resolve().name for run in runs]
    return names if len(set(names)) == len(names) else [str(run) for run in runs]


def metrics_table(runs):
    """What `evaluate.py` measured of runs, each number with its protocol, as a Markdown table.

    Of numbers that were measured in the same way more than once, the last one counts.

    Args:
        runs: sequence of run directories.

    Returns:
        str; a sentence instead of a table if nothing was measured.
    """
    rows = {}
    for name, run in zip(run_names(runs), runs, strict=True):
        for record in read_metrics(run):
            protocol = protocol_of(record)
            key = name, record["metric"], json.dumps(protocol, sort_keys=True)
            rows[key] = (name, *number_in_words(record), *protocol_in_words(protocol))
    if not rows:
        return f"*No {METRICS_FILE} in {', '.join(run_names(runs))}: run `evaluate.py` first.*"
    return markdown_table(COLUMNS_OF_TABLE, rows.values())


def progress_table(runs):
    """How far runs are, their speed, and the best value of each quick metric, as Markdown.

    Args:
        runs: sequence of run directories.

    Returns:
        str, a table; quick metrics are such that the lowest value is the best.
    """
    rows = []
    for name, run in zip(run_names(runs), runs, strict=True):
        windows, measured = read_stats(run)
        kimg, speed = column(windows, "img_per_s")
        done = (name, plain(kimg[-1]), plain(np.median(speed), 3)) if len(kimg) else (name, 0, "-")
        best = [
            (metric, plain(v, 4), plain(at)) for metric, (v, at) in best_scores(measured).items()
        ]
        rows += [(*done, *cells) for cells in best or [("-", "-", "-")]]
    header = ("run", "kimg", "images/s (median)", "quick metric", "best value", "at kimg")
    return markdown_table(header, rows)


def best_scores(measured):
    """The lowest value of each quick metric and when it was reached.

    Args:
        measured: lines of `read_stats`.

    Returns:
        Dict from a metric's name to (value, kimg).
    """
    names = sorted({field for line in measured for field in line}.difference(NOT_METRICS))
    pairs = ((n, [(line[n], line["kimg"]) for line in measured if n in line]) for n in names)
    return {name: min(values) for name, values in pairs}


def markdown_table(header, rows):
    """A Markdown table of cells of any type, without what would break it."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def protocol_of(record):
    """How a number of `read_metrics` was measured: a dict, without where and when that was."""
    protocol = record.get("protocol")
    protocol = protocol if isinstance(protocol, dict) else {}
    return {name: value for name, value in protocol.items() if name != "environment"}


def number_in_words(record):
    """Metric, value and which direction is better, of a record of `read_metrics`: texts."""
    engine, spread = protocol_of(record).get("engine", "ours"), record.get("spread")
    # Beside its own numbers an evaluation by tensorflow-gan has those that only we compute.
    own = engine == "ours" or not str(record.get("definition")).startswith("tensorflow-gan")
    metric = record["metric"] if own else f"{record['metric']} by {engine}"
    value = plain(record["value"], 4)
    if spread is not None:
        value += f" ± {plain(spread, 2)} ({record.get('spread_over', '?')})"
    return metric, value, "lower" if record.get("lower_is_better") else "higher"


def protocol_in_words(protocol):
    """Generated images, real images, features and checkpoint, of a `protocol_of`: texts."""
    generated = protocol.get("generated", {})
    real = protocol.get("reference", {})
    sets = protocol.get("sets", 1)
    count = generated.get("count", "-")
    where = pathlib.PurePath(str(real.get("images") or real.get("statistics") or "-")).name
    return (
        f"{sets} sets of {count}" if sets != 1 else count,
        f"{real['count']} of {where}" if real.get("count") else where,
        _features(protocol.get("features", "-")),
        _checkpoint(generated) + (", of a sweep" if protocol.get("sweep") else ""),
    )


def fields_in_words(about):
    """A dict on one line, hashes shortened: str."""
    short = {k: v[:12] if isinstance(v, str) and len(v) == 64 else v for k, v in about.items()}
    return ", ".join(f"{name} {value}" for name, value in short.items())


def _features(about):
    if not isinstance(about, dict):
        return about
    digest = str(about.get("sha256", ""))[:8]
    trained_on = f" on {about['trained_on']}" if "trained_on" in about else ""
    return f"{about.get('network', '-')}{trained_on} ({digest})"


def _checkpoint(about):
    if "checkpoint" not in about:
        return "-"
    weights = "EMA" if about.get("ema") else "not averaged"
    weights += f" {about['average']}" if "average" in about else ""
    known = about["checkpoint"] != "untrained"
    numbers = {name: value for name, value in about.items() if is_number(value)}
    text = f"{plain(numbers.get('kimg', math.nan))} kimg, {weights}" if known else "untrained"
    strengths = {name: numbers.get(name, plain) for name, plain in STRENGTHS.items()}
    changed = [f"{n} {v:g}" for n, v in strengths.items() if v != STRENGTHS[n]]
    sampler = [str(about["sampler"])] if "sampler" in about else []
    return ", ".join([text, *sampler, *changed])


def _cell(value):
    return str(value).replace("|", "/").replace("\n", " ")
