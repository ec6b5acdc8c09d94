"""`benchmarks/official_gat.py`: this code and the authors' take turns, and a gain is of a pair."""

import argparse
import pathlib
import subprocess
import sys

from benchmarks import official_gat

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIDE = """\
import pathlib, sys
who = " ".join(word for word in sys.argv if word.startswith(("--side=", "--remat")))
turns = 0
for line in sys.stdin:
    with open(pathlib.Path(__file__).with_suffix(".txt"), "a") as file:
        file.write(f"{who} {line}")
    turns += 1
    print(turns * (3.0 if "theirs" in who else 2.0), flush=True)
"""


def test_the_sides_take_turns_and_gains_are_of_pairs(tmp_path, monkeypatch):
    script = tmp_path / "side.py"
    script.write_text(SIDE)
    monkeypatch.setattr(official_gat, "__file__", str(script))
    sizes = {"size": "S/2", "batch_size": 2, "threads": 1, "rounds": 3}
    found = official_gat.compared(argparse.Namespace(code=tmp_path, python=sys.executable, **sizes))
    step = found["seconds"]["step"]
    assert step["ours, as stored"] == [8.0, 6.0, 10.0]  # of turns 3, 4 and 5: two warm up
    assert step["gain, as stored"] == step["gain, rematerialised"] == [1.5, 1.5, 1.5]
    turns = script.with_suffix(".txt").read_text().splitlines()
    assert turns[:5] == [
        "--side=ours step",
        "--side=theirs step",
        "--side=ours --remat step",
        "--side=theirs --remat step",
        "--side=ours step",
    ]
    assert len(turns) == 4 * (5 + 5 + 1) and turns[-1] == "--side=theirs --remat memory"
    assert found["size"] == "S/2" and found["cores"] >= 1


def test_what_is_no_checkout_of_the_authors_code_is_one_line(tmp_path):
    given = [f"--code={tmp_path}", "--python=python"]
    done = subprocess.run(
        [sys.executable, "benchmarks/official_gat.py", *given],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.endswith(f"error: --code={tmp_path}: it is no checkout of hse1032/GAT\n")
