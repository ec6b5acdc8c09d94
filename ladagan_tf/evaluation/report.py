"""What is said and kept of an evaluation: a table, lines of metrics.jsonl, a chart of classes."""

import contextlib
import os
import pathlib
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from ladagan_tf import charts
from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import by_class
from ladagan_tf.evaluation.measure import PUBLISHABLE_IMAGES
from ladagan_tf.files import json_line, writing
from ladagan_tf.runs.results import fields_in_words


def table(records: list[dict]) -> str:
    """The records and their protocol as text for people.

    Args:
        records: what `protocol.evaluate` returned, at least one.

    Returns:
        str of several lines.
    """
    protocol = records[0]["protocol"]
    lines = []
    for part in ("generated", "reference", "features"):
        about = protocol[part]
        text = about if isinstance(about, str) else fields_in_words(about)
        lines.append(f"{part:<10} {text}")
    lines.append(f"{'code':<10} {fields_in_words(_code(protocol))}")
    width = max(len(record["name"]) for record in records)
    lines.append("")
    for record in records:
        spread = ""
        if record["spread"] is not None:
            spread = f" +- {plain(record['spread'], 3)} ({record['spread_over']})"
        if record["metric"] == "modes":
            found = record["details"]
            spread += (
                f" of {found['classes']}, total variation to the real classes "
                f"{found['total_variation']:.3f}"
            )
        arrow = "lower is better" if record["lower_is_better"] else "higher is better"
        lines.append(f"{record['name']:<{width}}  {plain(record['value'], 5)}{spread}   ({arrow})")
        lines += by_class.table(record)
    if unlike := protocol.get("unlike_gats_authors"):
        lines += ["", f"Unlike GAT's authors sample: {unlike}."]
    lines += ["", _note(records)]
    return "\n".join(lines)


def _code(protocol):
    keep = ("ladagan_tf", "revision", "tensorflow", "date")
    return {"engine": protocol["engine"], **{k: protocol["environment"][k] for k in keep}}


def _note(records):
    """What the numbers may be compared with."""
    protocol = records[0]["protocol"]
    generated, features = protocol["generated"]["count"], protocol["features"]
    if {record["metric"] for record in records} == {"ppl"}:
        return "They compare generators in the same features; published lengths are LPIPS's."
    if "Inception" not in str(features):
        return (
            "These numbers compare generators of this data set; no published number is like them."
        )
    if generated < PUBLISHABLE_IMAGES:
        return (
            f"{generated} generated images: a quick look. Published FIDs use 50000; fewer give "
            "larger values."
        )
    return "FID, KID and IS by the usual protocol; cite them with the lines above."


def check_lines(path: pathlib.Path) -> None:
    """Raises InputError if a file holds something else than lines of JSON to append to."""
    if path.is_file() and path.stat().st_size:
        with writing(path), path.open("rb") as file:
            begin = file.read(1)
        if begin != b"{":
            raise InputError(f"out={path}: it holds no lines of numbers; give another file")


def write(
    records: list[dict], path: pathlib.Path, classes: Sequence[str] = ()
) -> list[pathlib.Path]:
    """Appends a JSON line per record to a file, and draws classes beside it where they are counted.

    Args:
        records: what `protocol.evaluate` returned.
        path: pathlib.Path of the file; its folder is made.
        classes: names of the classifier's classes.

    Returns:
        List of pathlib.Path, the files written.

    Raises:
        InputError: if they cannot be written; then no part of a line stays.
    """
    drawn = []
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _append(path, "".join(map(json_line, records)))
        for record in records:
            if record["metric"] == "modes":
                drawn.append(path.with_name("classes.png"))
                counts = record["details"]["real_counts"], record["details"]["generated_counts"]
                class_chart(drawn[-1], classes, *counts)
    return [path, *drawn]


def _append(path, text):
    """Appends all of a text or none, in one write: two evaluations do not mix their lines."""
    was_there = path.exists()
    before = path.stat().st_size if was_there else 0
    try:
        with open(path, "ab+") as file:
            if before:
                file.seek(-1, os.SEEK_END)
                text = text if file.read(1) == b"\n" else f"\n{text}"  # a line was cut short
            file.write(text.encode())
    except OSError:
        with contextlib.suppress(OSError):
            if was_there:
                os.truncate(path, before)
            else:
                path.unlink()
        raise


def class_chart(
    path: str | os.PathLike,
    classes: Sequence[str],
    real_counts: ArrayLike,
    generated_counts: ArrayLike,
) -> None:
    """Draws the share of every class among real and generated images, as a PNG.

    Args:
        path: file to write, atomically.
        classes: sequence of C names.
        real_counts, generated_counts: (C,) images per class.
    """
    rows = np.arange(len(classes))
    figure = Figure(figsize=(7, 1 + 0.22 * len(classes)), layout="constrained")
    axes = figure.subplots()
    for offset, counts, label, colour in (
        (-0.2, real_counts, "real", "#7a8aa0"),
        (0.2, generated_counts, "generated", "#d1603d"),
    ):
        share = 100 * np.asarray(counts) / np.sum(counts)
        axes.barh(rows + offset, share, 0.4, label=label, color=colour)
    axes.set_yticks(rows, classes, fontsize=7)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xlabel("share of images, % (class by the classifier)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    charts.save(path, figure, dpi=110)
