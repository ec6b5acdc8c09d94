"""The result of one run, from the files in its directory."""

import functools
import json

import keras
import numpy as np

from ladagan_tf.cost import sample
from ladagan_tf.cost.lada import parameter_counts
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.models import registered as registered
from ladagan_tf.runs import METRICS_FILE, results
from ladagan_tf.runs.directory import RunDirectory, read_integer
from ladagan_tf.studies.outcome import DIVERGED, FINISHED, comparable

NORMS = ("g_grad_norm", "d_grad_norm")
AT_THE_END = ("g_grad_spikes", "d_grad_spikes", "clipped")
ENVIRONMENT = (
    "date", "revision", "ladagan_tf", "python", "tensorflow", "keras", "numpy", "cpu", "cores",
    "gpus",
)  # fmt: skip
POINTS = 100  # of a trace; more windows are averaged


def collect(study, run, run_dir, jobs, diverged=None):
    """What a run that is done gave.

    Args:
        study: plan.Study.
        run: plan.Run.
        run_dir: its directory.
        jobs: int, how many runs shared the machine.
        diverged: str, what `train.py` said when it stopped at a loss that is not finite; or None.

    Returns:
        Dict, a line of results.jsonl.

    Raises:
        InputError: if a file is missing or cannot be read.
    """
    directory = RunDirectory(run_dir)
    windows, measured = results.read_stats(run_dir)
    records = [] if diverged else last_evaluation(run_dir)
    _, speed = results.column(windows[1:], "img_per_s")  # the first window compiles
    batch_size = read_integer(directory.flags_file, "batch_size")
    with one_line_about(directory.models_file, "record of networks"):
        networks = sizes(directory.models_file.read_text(encoding="utf-8"))
    return {
        "study": study.name,
        "system": run.system,
        "axes": run.axes,
        "lr_scale": run.lr_scale,
        "seed": run.seed,
        "arguments": study.arguments(run),
        "run_dir": str(run_dir),
        "status": DIVERGED if diverged else FINISHED,
        "message": diverged,
        **networks,
        "seconds_per_step": _rounded(batch_size / np.median(speed)) if len(speed) else None,
        "jobs": jobs,
        "kimg": windows[-1]["kimg"] if windows else 0.0,
        "metrics": {r["metric"]: _rounded(r["value"], 6) for r in records},
        "lower_is_better": {r["metric"]: r["lower_is_better"] for r in records},
        "protocol": comparable(records[0]["protocol"]) if records else None,
        "gradients": gradients(windows),
        "traces": traces(windows) | quick(measured, speed),
        "environment": _environment(directory),
    }


def last_evaluation(run_dir):
    """The records of the last call of `evaluate.py`; all of a call have the same protocol."""
    whole = {"metric", "value", "lower_is_better", "protocol"}
    parts = {"generated", "reference", "features"}
    records = [
        record
        for record in results.read_metrics(run_dir)
        if whole <= record.keys() and parts <= record["protocol"].keys()
    ]
    if not records:
        raise InputError(f"{run_dir}: evaluate.py left no {METRICS_FILE} there")
    last = records[-1]["protocol"]
    return [record for record in records if record["protocol"] == last]


@functools.lru_cache(maxsize=1)  # the seeds of a system have the same networks
def sizes(models):
    """Parameters and multiply-adds per image of the networks.

    Args:
        models: str, contents of models.json.

    Returns:
        Dict "generator" and "discriminator", each of "parameters" and "multiply_adds", ints; None
        for the latter if there is none.
    """
    networks = {
        name: keras.saving.deserialize_keras_object(config)
        for name, config in json.loads(models).items()
    }
    formulas = sample.formulas(networks["generator"])
    found = dict.fromkeys(("generator", "discriminator"))
    for name, network in networks.items():
        found[name] = {
            "parameters": parameter_counts(network)[0],
            "multiply_adds": getattr(formulas, f"{name}_multiply_adds")(network),
        }
    return found


def gradients(windows):
    """Median and maximum of gradient norms over windows, spikes in all, clipped values at the end.

    Args:
        windows: list of dict, of `results.read_stats`.

    Returns:
        Dict; None for what a run did not record.
    """
    found = {}
    for name in NORMS:
        _, norms = results.column(windows, name)
        found[name] = None
        if len(norms):
            found[name] = {"median": _rounded(np.median(norms)), "max": _rounded(norms.max())}
    return found | {name: windows[-1].get(name) if windows else None for name in AT_THE_END}


def traces(windows):
    """Gradient norms over training, of networks and by layer, and the share of clipped values.

    Returns:
        Dict of lists: "kimg", those of NORMS, and "clipped" where a run has recorded it; and
        "blocks", a dict of such lists, which is empty for a run that recorded no norms by layer.
    """
    first = windows[0] if windows else {}
    kept = [n for n in first if n.startswith(NORMS) or n == "clipped"]
    names = [n for n in kept if all(n in line for line in windows)]
    columns = {name: _thinned(windows, name) for name in ("kimg", *names)}
    blocks = {name: columns.pop(name) for name in names if "/" in name}
    return {"kimg": [], **{name: [] for name in NORMS}, **columns, "blocks": blocks}


def quick(measured, speed):
    """The quick metric over the course of a run.

    Args:
        measured: list of dict, the second of `results.read_stats`.
        speed: float array, images per second of every window.

    Returns:
        Dict "quick" of "metric", its name, and the lists "kimg", "seconds" and "values"; empty for
        a run without one. Seconds are those of so many images at the median speed: measuring, and
        whatever else the machine did in between, does not count.
    """
    name = next((n for line in measured for n in line if n not in results.NOT_METRICS), None)
    kimg, values = results.column(measured, name)
    if not len(values) or not len(speed):
        return {}
    seconds = 1000 * kimg / np.median(speed)
    found = {"kimg": kimg, "seconds": seconds, "values": values}
    return {"quick": {"metric": name, **{k: list(map(_rounded, v)) for k, v in found.items()}}}


def _thinned(windows, name):
    """A field of each window, or means of equally many neighbours if there are many windows."""
    together = max(1, -(-len(windows) // POINTS))
    parts = [windows[i : i + together] for i in range(0, len(windows), together)]
    if name == "kimg":
        return [part[-1][name] for part in parts]
    return [_rounded(np.mean([line[name] for line in part])) for part in parts]


def _environment(directory):
    """What the last start ran on."""
    try:
        last = [{}, *directory.starts()][-1]
    except ValueError:  # the next start says so; numbers do not depend on it
        last = {}
    return {name: last.get(name) for name in ENVIRONMENT}


def _rounded(value, digits=4):
    return float(f"{value:.{digits}g}")
