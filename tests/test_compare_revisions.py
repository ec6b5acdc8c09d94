"""Two revisions of a benchmark, run in turn and compared."""

import json
import subprocess
import sys

import pytest
from in_process import benchmark

COUNTED = """
import json, pathlib
seconds, log = {seconds}, pathlib.Path({log!r})
log.write_text(log.read_text() + {name!r})
print("warming up")
part = {{"s": seconds + len(log.read_text())}}
print(json.dumps({{"cpu": "x", "batch": 8, "parts": [part]}}, indent=1))
"""


@pytest.fixture(scope="module")
def compare():
    return benchmark("compare")


@pytest.fixture
def repository(compare, tmp_path, monkeypatch):
    """A repository of two commits, tagged, whose benchmark notes who ran in a log beside it."""
    monkeypatch.setattr(compare, "ROOT", tmp_path / "code")
    (tmp_path / "log").touch()
    folder = tmp_path / "code" / "benchmarks"
    folder.mkdir(parents=True)
    ours = ["git", "-c", "user.name=a", "-c", "user.email=a@b.c"]
    subprocess.run(["git", "init", "-q"], cwd=folder.parent, check=True)
    for name, seconds in (("a", 100), ("b", 50)):
        text = COUNTED.format(seconds=seconds, log=str(tmp_path / "log"), name=name)
        (folder / "timed.py").write_text(text)
        for words in (["add", "."], ["commit", "-qm", name], ["tag", name]):
            subprocess.run([*ours, *words], cwd=folder.parent, check=True)
    return tmp_path


def call(compare, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["compare.py", *map(str, words)])
    compare.main()


def test_revisions_take_turns_and_leave_no_checkout(compare, repository, monkeypatch, capsys):
    out = repository / "found.jsonl"
    call(compare, monkeypatch, "a", "b", "--rounds=3", f"--out={out}", "timed.py")
    assert (repository / "log").read_text() == "abbaab"
    (line,) = map(json.loads, out.read_text().splitlines())
    assert line["name"] == "parts.0.s" and line["benchmark"] == "timed.py"
    assert (line["old"], line["new"]) == (104, 53)
    assert line["ratio"] == [52 / 101, 53 / 104, 56 / 105]
    assert "parts.0.s         104         53   0.515, 0.510 to 0.533" in capsys.readouterr().out
    listed = subprocess.run(
        ["git", "worktree", "list"], cwd=compare.ROOT, capture_output=True, text=True, check=True
    )
    assert len(listed.stdout.splitlines()) == 1


def test_this_checkout_is_a_revision_with_what_changed(compare, repository, monkeypatch):
    file = compare.ROOT / "benchmarks" / "timed.py"
    file.write_text(
        file.read_text().replace("seconds = 50", "seconds = 1000").replace("50,", "1000,")
    )
    out = repository / "found.jsonl"
    call(compare, monkeypatch, "b", ".", "--rounds=1", f"--out={out}", "timed.py")
    line = json.loads(out.read_text())
    assert line["ratio"] == [1002 / 51] * 3
    assert line["new_commit"] == line["old_commit"] + "+"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["a", "nowhere", "timed.py"], "nowhere: git knows no such revision"),
        (["a", "b", "none.py"], "none.py: a has no such file in benchmarks/"),
        (["a", "b", "--rounds=0", "timed.py"], "--rounds=0: give at least 1"),
        (["a"], "the following arguments are required: new, benchmark"),
    ],
)
def test_what_cannot_be_compared_ends_in_one_line(
    compare, repository, monkeypatch, capsys, words, message
):
    with pytest.raises(SystemExit) as stopped:
        call(compare, monkeypatch, *words)
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_the_last_document_counts_and_its_numbers_have_their_place_as_name(compare):
    text = 'x\n{"a": 1}\nnoise\n{\n "a": {"b": [1.5, true, null, "2"]},\n "n": 3\n}\n'
    assert compare.numbers(compare.document(text)) == {"a.b.0": 1.5, "n": 3.0}
    with pytest.raises(SystemExit, match="printed no JSON document"):
        compare.document("nothing\n\n")


def test_what_is_the_same_in_all_runs_or_not_in_all_is_not_compared(compare):
    old = {"batch": 8.0, "s": 2.0, "only_old": 1.0, "zero": 0.0}
    new = {"batch": 8.0, "s": 1.0, "zero": 1.0}
    assert compare.compared([(old, new)]) == [
        {"name": "s", "old": 2.0, "new": 1.0, "ratio": [0.5, 0.5, 0.5]}
    ]
