"""What training costs on this machine, config by config, beside what the papers say.

Each config is measured by a process of its own, `train --measure_seconds`, so that its peak memory
is its own. A page keeps the rows of every machine and day: `docs/studies/hardware.md`.
"""

import json
import re
import statistics
import tempfile
import time

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError
from ladagan_tf.files import write_text
from ladagan_tf.stopping import start_python

TIMED_SECONDS = 2.0  # of steps, and three of them at least
POLL_SECONDS = 0.1
# Per image, from the longest time and the images that the authors give; GAT's give neither.
PAPERS = {
    "cifar10": "below 2.1 ms: 40 h of an RTX 3080 Ti",
    "celeba64": "below 2.0 ms: 40 h of an RTX 3080 Ti",
}
HEAD = """\
# Cost on real hardware

What a training step costs, both updates and the average, on random data: no input, no grids, no
teacher. `python -m ladagan_tf.study --cost` adds the rows of the machine it runs on; those of the
same machine, day and config are replaced. Every config runs in a process of its own, with its batch
and precision.

**m**: measured, the median of three steps or more, and the most memory that the process took,
TensorFlow's own gigabyte included; on a GPU its allocator's. **e**: estimated and not tried, as
memory does not suffice, or not done within `--cost_seconds`. Such times are at the median rate, in
multiply-adds, of what was measured in the same call, which is rough: small networks are slow for
theirs. Memory **e** is that of `--dry_run`'s formula; on a CPU it counts the process, too. What the
machine did beside it is not known.
"""
COLUMNS = (
    "config", "batch", "precision", "a step", "an image", "memory", "multiply-adds an image",
    "the paper, an image",
)  # fmt: skip


def experiments():
    """Names of the configs that ship and are runs by themselves: list of str."""
    return [name for name in flagfiles.names() if "/" not in name and not name.endswith("_base")]


def measured(name, program, limit, stopped=lambda: False):
    """What a config costs, by a process that ends after `limit` seconds at the latest.

    Args:
        name: a config that ships, or a flagfile.
        program: sequence of str, what Python is told to run.
        limit: float, seconds.
        stopped: function that says whether to give up.

    Returns:
        Dict as `train --measure_seconds` prints it, with "config", and without "seconds_per_step"
        where it was not measured; None if it was stopped.

    Raises:
        InputError: if the process fails, with what it said.
    """
    flags = [
        f"--config={name}",
        "--dataset=none",
        "--strategy=none",
        f"--measure_seconds={TIMED_SECONDS}",
    ]
    with (
        tempfile.TemporaryDirectory() as folder,
        open(f"{folder}/out", "w+") as out,
        open(f"{folder}/error", "w+") as error,
    ):
        process = start_python([*program, *flags, f"--run_dir={folder}/run"], out, error)
        end = time.monotonic() + limit
        try:
            while process.poll() is None and time.monotonic() < end and not stopped():
                time.sleep(POLL_SECONDS)
        finally:
            late = process.poll() is None
            if late:
                process.kill()
            process.wait()
        for file in (out, error):
            file.seek(0)
        lines = [line for line in out.read().splitlines() if line.startswith("{")]
        said = error.read().strip().splitlines() or ["nothing"]
    if stopped():
        return None
    if not lines and late:
        raise InputError(f"{name}: not even estimated in {limit:g} s; give more --cost_seconds")
    # Killed for memory it has left its estimate; what fails otherwise says why.
    if not lines or (process.returncode > 0 and not late):
        raise InputError(f"{name}: {said[-1].removeprefix('error: ')}")
    return {"config": str(name), **json.loads(lines[-1])}


def rate(rows):
    """Multiply-adds per second, the median of the rows that were measured; None without any."""
    rates = [
        row["multiply_adds_per_image"] * row["batch_size"] / row["seconds_per_step"]
        for row in rows
        if "seconds_per_step" in row
    ]
    return statistics.median(rates) if rates else None


def cells(row, per_second=None):
    """A row of the page, a tuple of text in the order of `COLUMNS`.

    Args:
        row: dict, see `measured`.
        per_second: float, multiply-adds, for times that were not measured.
    """
    seconds, mark = row.get("seconds_per_step"), "**m**"
    if seconds is None:
        mark, counted = "**e**", row["multiply_adds_per_image"] * row["batch_size"]
        seconds = counted / per_second if per_second else None
    peak = row.get("gpu_peak_gb", row.get("cpu_peak_gb"))
    memory = f"{row['estimated_gb']:.3g} GB **e**"
    if peak is not None:
        memory = f"{peak:.3g} GB **m**, {memory}"
    times = ["not known"] * 2
    if seconds is not None:
        times = [f"{_time(s)} {mark}" for s in (seconds, seconds / row["batch_size"])]
    return (
        row["config"], str(row["batch_size"]), row["precision"], *times, memory,
        _giga(row["multiply_adds_per_image"]), PAPERS.get(row["config"], "-"),
    )  # fmt: skip


def _giga(count):
    return f"{count / 1e9:,.0f} G" if count >= 1e11 else f"{count / 1e9:.3g} G"


def _time(seconds):
    if seconds >= 7200:
        return f"{seconds / 3600:.3g} h"
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def joined(text, title, rows):
    """The page with the rows of a machine and day among its others.

    Args:
        text: str, the page as it is, or "".
        title: str, the machine and the day.
        rows: list of tuples of cells; they replace those of the same title and config.

    Returns:
        str. Sections of other titles stay as they are.
    """
    head, *sections = re.split(r"^(?=## )", text or HEAD, flags=re.M)
    known = {}
    for section in sections:
        if section.splitlines()[0] == f"## {title}":
            found = [line for line in section.splitlines() if line.startswith("| ")][1:]
            known = {line.split(" | ")[0].removeprefix("| "): line for line in found}
    known |= {row[0]: f"| {' | '.join(row)} |" for row in rows}
    new = "\n".join(
        [f"## {title}", "", f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|"]
        + [known[name] for name in sorted(known)]
    )
    others = [s.strip() for s in sections if s.splitlines()[0] != f"## {title}"]
    return "\n\n".join([head.strip(), *others, new]) + "\n"


def measure_all(names, path, title, program, limit, say, stopped=lambda: False):
    """Measures configs one after the other and keeps their rows on the page, each when it is done.

    Args:
        names: list of str.
        path: pathlib.Path of the page.
        title: str, the machine and the day.
        program, limit, stopped: see `measured`.
        say: function of str, for a line about each.

    Returns:
        List of str, what went wrong with which config.
    """
    rows, failures = [], []
    for i, name in enumerate(names, 1):
        try:
            row = measured(name, program, limit, stopped)
        except InputError as error:
            failures.append(str(error))
            say(f"{i} of {len(names)}: {error}")
            continue
        if row is None:
            break
        rows.append(row)
        done = [cells(each, rate(rows)) for each in rows]
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        write_text(path, joined(text, title, done))
        say(f"{i} of {len(names)}: {name}: {done[-1][3]} a step, {done[-1][5]}")
    return failures
