"""Whatever became of a run's files: it goes on, or is refused in one line; and tables are drawn.

`MUTANTS=2000 pytest tests/runs/test_damaged_runs.py` tries more of each file.
"""

import json
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.exporting.card import _results
from ladagan_tf.runs import METRICS_FILE, directory, results
from ladagan_tf.runs.checkpoints import Checkpoints, damage, find_checkpoint, newest_state
from ladagan_tf.runs.directory import RunDirectory, read_integer
from ladagan_tf.studies import outcome, report
from ladagan_tf.studies.collecting import last_evaluation, traces

MUTANTS = int(os.environ.get("MUTANTS", "40"))
SOME = max(MUTANTS // 10, 40)  # of what takes thirty times as long
FLAGS = {"batch_size": "8", "flip": "True", "g_lr": "0.0002", "dataset": "data/x"}
PROTOCOL = {
    "generated": {
        "ema": True,
        "image_seeds": [0, 9],
        "checkpoint": "step-00000004",
        "kimg": 2.5,
        "count": 9,
        "psi": 0.7,
    },
    "reference": {"images": "data/shapes-32", "count": 10_000},
    "features": {"network": "classifier", "sha256": "01" * 32, "trained_on": "shapes-32"},
    "engine": "ours",
    "environment": {"date": "2026-11-21"},
}
VALUES = [
    *(None, True, "", "x" * 999, "\udcff", [], {}, [[]], {"a": []}, 0, -1, 0.5),
    *(float("inf"), float("nan"), 10**400, 2**63, [1, 2], "1"),
]


def flipped(data, rng):
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))
    return data


def cut(data, rng):
    return data[: rng.integers(len(data))]


def without_a_part(data, rng):
    start = rng.integers(len(data))
    return data[:start] + data[start + rng.integers(1, 65) :]


def with_a_part_twice(data, rng):
    start, length = rng.integers(len(data)), rng.integers(1, 65)
    return data[: start + length] + data[start:]


def edited(data, rng):
    """Another value, of another type, somewhere in one of its objects."""
    lines = data.split(b"\n")
    which = rng.choice([i for i, line in enumerate(lines) if line.strip()])
    whole = len(lines) < 3 or lines[0] in (b"[", b"{")
    try:
        tree = json.loads(data if whole else lines[which])
    except ValueError:
        return flipped(data, rng)
    parent = tree
    while True:
        keys = list(parent) if isinstance(parent, dict) else range(len(parent))
        key = keys[rng.integers(len(keys))]
        if not (isinstance(parent[key], dict | list) and parent[key]) or rng.random() < 0.3:
            break
        parent = parent[key]
    parent[key] = VALUES[rng.integers(len(VALUES))]
    text = json.dumps(tree).encode()
    return bytearray(text if whole else b"\n".join([*lines[:which], text, *lines[which + 1 :]]))


def mutants(path, count=MUTANTS):
    """Writes one damaged version of a file after the other, each yielded as a number."""
    written = path.read_bytes()
    kinds = (flipped, cut, without_a_part, with_a_part_twice, edited)
    for number in range(count):
        rng = np.random.default_rng([len(path.name), number])
        data = kinds[number % len(kinds)](bytearray(written), rng)
        path.write_bytes(data)
        yield number
    path.write_bytes(written)


def goes_on(function, *arguments, **named):
    """Its result; None where it was refused in one line."""
    try:
        return function(*arguments, **named)
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 600
        return None


@pytest.fixture
def run(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.say = lambda line: None
    run.start(FLAGS, networks=())
    run.start(FLAGS, networks=())
    for step in (1, 2, 3, 4):
        run.append_stats({"step": step, "kimg": 0.5 * step, "d_loss": 1.5, "img_per_s": 9.0})
    run.append_stats({"step": 4, "kimg": 2.0, "swd_20": 5.5, "metric_seconds": 0.5})
    record = {"name": "fcd_9", "metric": "fcd", "value": 12.5, "spread": 0.5, "spread_over": "3"}
    record |= {"lower_is_better": True, "protocol": PROTOCOL}
    (run.path / METRICS_FILE).write_text(2 * (json.dumps(record) + "\n"))
    return run


def test_statistics(run):
    for _ in mutants(run.stats_file):
        windows, _ = results.read_stats(run.path)
        results.progress_table([run.path])
        for name in ("d_loss", "img_per_s"):
            results.column(windows, name)
        traces(windows)
        run.truncate_stats(3)
        kept = [json.loads(line)["step"] for line in run.stats_file.read_text().splitlines()]
        assert all(step <= 3 for step in kept)


def test_measurements(run):
    for _ in mutants(run.path / METRICS_FILE):
        results.metrics_table([run.path])
        records = goes_on(last_evaluation, run.path)
        if records:
            outcome.comparable(records[0]["protocol"])
        sampler = type("Sampler", (), {"about": PROTOCOL["generated"]})
        _results(sampler, run)


def test_the_record_of_starts(run, monkeypatch):
    monkeypatch.setattr(directory, "environment", lambda: {"date": "today"})  # it asks git
    for _ in mutants(run.environment_file, SOME):
        run.start(FLAGS, networks=())
        assert run.starts()[-1] == {"date": "today"}


def test_flags(run):
    for _ in mutants(run.flags_file):
        goes_on(run.check_flags, FLAGS, free=(), force=False)
        goes_on(read_integer, run.flags_file, "batch_size")
    run.flags_file.write_text(f"--batch_size={'9' * 5000}\n")
    assert goes_on(read_integer, run.flags_file, "batch_size") is None


def test_the_state_of_a_checkpoint(run):
    state = {"network/000/kernel": tf.Variable([1.0, 2.0])}
    checkpoints = Checkpoints(run.checkpoints, state, about={"contents": {"dataset": "01"}})
    for step in (1, 2):
        checkpoints.save(step, 8 * step, score=0.5, metric="swd_20")
    for _ in mutants(run.checkpoints / "step-00000002" / "state.json", SOME):
        whole = damage(run.checkpoints / "step-00000002") is None
        found = checkpoints.restore_latest(lambda line: None)
        assert found == newest_state(run.checkpoints)
        assert found["images"] == (16 if whole else 8)
        goes_on(find_checkpoint, run.checkpoints, "best")


ROWS = pathlib.Path(__file__).parents[2] / "docs" / "studies" / "attention" / "results.jsonl"


def test_results_of_studies(tmp_path):
    rows = outcome.read_results(ROWS)[:2]
    file = tmp_path / "results.jsonl"
    file.write_text("".join(map(report.sealed, rows)))
    for _ in mutants(file):
        found = goes_on(outcome.read_results, file)
        assert found is None or all(row in rows for row in found)
