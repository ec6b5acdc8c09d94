"""The run directory keeps true statistics and unchanged mathematics."""

import io
import json
import os
import pathlib
import re
import sys

import pytest
import tensorflow as tf

from ladagan_tf.errors import DivergenceError, InputError, StoppedError
from ladagan_tf.runs import directory
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory, read_flags
from ladagan_tf.runs.environment import environment


def test_statistics_after_the_restored_step_and_a_cut_line_are_dropped(tmp_path):
    run = RunDirectory(tmp_path)
    for step in (1, 2, 3):
        run.append_stats({"step": step})
    with open(run.stats_file, "a") as file:
        file.write('{"step": 4, "d_lo')
    run.truncate_stats(2)
    assert [json.loads(line)["step"] for line in run.stats_file.read_text().splitlines()] == [1, 2]


def lines(run):
    return run.stats_file.read_text().splitlines()


def test_lines_that_no_run_wrote_are_kept_aside_and_the_run_goes_on(tmp_path):
    run, said = RunDirectory(tmp_path), []
    run.say = said.append
    for text in ("[1]", '{"step": "1"}', "null", "\udcff", "[" * 100_000, "1e999"):
        good = ['{"step": 1}', '{"step": 2, "d_loss": NaN}']
        run.stats_file.write_text("\n".join([good[0], text, good[1], ""]), errors="surrogateescape")
        run.truncate_stats(2)
        assert lines(run) == good
    assert said[0] == (
        f"{run.stats_file}: 1 of its lines cannot be read; it is kept as stats.jsonl.old-1"
    )
    assert (tmp_path / "stats.jsonl.old-6").is_file() and len(said) == 6


def test_statistics_of_a_run_whose_checkpoints_are_gone_are_kept_aside(tmp_path):
    run, said = RunDirectory(tmp_path), []
    run.say = said.append
    for step in (1, 2):
        run.append_stats({"step": step})
    (tmp_path / "metrics.jsonl").write_text("of weights that are gone")
    run.samples.mkdir()
    (run.samples / "000002.png").touch()
    run.truncate_stats(0)
    assert lines(run) == [] and len((tmp_path / "stats.jsonl.old-1").read_text().split()) == 4
    assert (tmp_path / "metrics.jsonl.old-1").exists() and not run.metrics_file.exists()
    assert (tmp_path / "samples.old-1" / "000002.png").exists() and not [*run.samples.iterdir()]
    assert "it tells of 2 steps, but there is no checkpoint: the run begins anew" in said[0]


@pytest.mark.parametrize("text", ['[{"date": 1}', "{}", "\x00", "[" * 100_000], ids=len)
def test_a_record_of_starts_that_cannot_be_read_is_kept_aside(tmp_path, text):
    run, said = RunDirectory(tmp_path), []
    run.say = said.append
    run.environment_file.write_text(text)
    run.start({}, networks=())
    assert len(json.loads(run.environment_file.read_text())) == 1
    assert (tmp_path / "environment.json.old-1").read_text() == text
    assert said[0].startswith(f"{run.environment_file}: it cannot be read (") and len(said[0]) < 300


def test_a_flagfile_is_read_as_a_person_writes_it(tmp_path):
    (tmp_path / "flags.cfg").write_bytes(
        b"\xef\xbb\xbf--noflip\n# mine\n --g_lr=0.1 \n--bcr\nrest\n--x=\xff\n"
    )
    found = read_flags(tmp_path / "flags.cfg")
    assert {k: found[k] for k in ("flip", "g_lr", "bcr")} == {
        "flip": "False",
        "g_lr": "0.1",
        "bcr": "True",
    }


def test_a_text_that_its_flagfile_would_lose_is_refused(tmp_path):
    run = RunDirectory(tmp_path / "run")
    with pytest.raises(InputError, match=r"^--dataset=photos : it ends in a blank, which flags"):
        run.start({"dataset": "photos "}, networks=())
    assert not run.path.exists()


def test_many_changed_flags_are_still_a_line_that_can_be_read(tmp_path):
    run = RunDirectory(tmp_path)
    run.start({f"flag_{i}": "a" * 100 for i in range(30)}, networks=())
    with pytest.raises(InputError, match=r"b\.\.\. would change the") as error:
        run.check_flags({f"flag_{i}": "b" * 1000 for i in range(30)}, free=(), force=False)
    assert len(str(error.value)) - len(str(tmp_path)) < 400


def begun(path, contents):
    """A run with a checkpoint that records `contents`, or none."""
    run = RunDirectory(path)
    run.start({"dataset": "data/here", "g_lr": "0.1"}, networks=())
    state, about = {"a/000/b": tf.Variable(0)}, {"contents": contents} if contents else {}
    Checkpoints(run.checkpoints, state, about=about).save(1, 8)
    return run


def test_the_same_data_may_lie_elsewhere(tmp_path):
    run = begun(tmp_path, {"dataset": "01" * 32})
    moved = {"dataset": "/elsewhere", "g_lr": "0.1"}
    run.check_flags(moved, free=(), force=False, by_content={"dataset"})
    run.check_contents({"dataset": "01" * 32}, moved, force=False)


def test_other_data_at_the_same_path_are_refused_unless_forced(tmp_path):
    run, flags = begun(tmp_path, {"dataset": "01" * 32}), {"dataset": "data/here"}
    with pytest.raises(InputError) as error:
        run.check_contents({"dataset": "23" * 32}, flags, force=False)
    said = str(error.value)
    assert "--dataset=data/here holds something else (232323232323) than this run" in said
    with pytest.raises(InputError, match="--teacher=none holds something else"):
        run.check_contents({"dataset": "01" * 32, "teacher": "dinov2 45"}, flags, force=False)
    with pytest.raises(InputError, match=r"--dataset=data/here holds something else \(none\)"):
        run.check_contents({}, flags, force=False)
    run.check_contents({"dataset": "23" * 32}, flags, force=True)


def test_a_run_from_before_there_were_hashes_resumes_by_its_paths(tmp_path):
    run, flags = begun(tmp_path, None), {"dataset": "data/here", "g_lr": "0.1"}
    run.check_flags(flags, free=(), force=False, by_content={"dataset"})
    run.check_contents({"dataset": "01" * 32}, flags, force=False)
    with pytest.raises(InputError, match=r"--dataset=other \(the run has data/here\)"):
        run.check_flags(flags | {"dataset": "other"}, (), force=False, by_content={"dataset"})


def test_only_flags_that_change_the_mathematics_are_refused(tmp_path):
    run = RunDirectory(tmp_path)
    run.start({"g_lr": "0.1", "log_kimg": "10"}, networks=())
    run.check_flags({"g_lr": "0.1", "log_kimg": "20"}, free={"log_kimg"}, force=False)
    with pytest.raises(InputError, match=r"--g_lr=0.2 \(the run has 0.1\)"):
        run.check_flags({"g_lr": "0.2", "log_kimg": "20"}, free={"log_kimg"}, force=False)
    run.check_flags({"g_lr": "0.2", "log_kimg": "20"}, free={"log_kimg"}, force=True)


def test_every_start_is_recorded_with_its_environment(tmp_path):
    run = RunDirectory(tmp_path)
    for _ in range(2):
        run.start({}, networks=())
    starts = json.loads(run.environment_file.read_text())
    assert len(starts) == 2
    assert starts[0]["tensorflow"] == environment()["tensorflow"] == tf.__version__


def test_a_program_of_this_code_is_recorded_from_its_folder(monkeypatch):
    root = pathlib.Path(__file__).resolve().parents[2]
    for path, recorded in ((f"{root}/train.py", "train.py"), ("/bin/train", "/bin/train")):
        monkeypatch.setattr(sys, "argv", [path, "--seed=1"])
        assert environment()["command"] == [recorded, "--seed=1"]


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize("terminal", [True, False])
def test_what_a_run_says_is_logged_with_dates_and_printed_plainly_to_a_terminal(
    tmp_path, capsys, monkeypatch, terminal
):
    if terminal:
        monkeypatch.setattr(sys, "stderr", Terminal())
    run = RunDirectory(tmp_path)
    run.say("before it has a folder")
    assert not run.log_file.exists()
    run.start({}, networks=())
    run.note("what a bar shows")
    logged = run.log_file.read_text().splitlines()
    date = r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d "
    assert [re.sub(date, "", line) for line in logged] == [
        "before it has a folder", "what a bar shows",
    ]  # fmt: skip
    assert all(re.match(date, line) for line in logged)
    printed = capsys.readouterr().out.splitlines()
    assert printed == (["before it has a folder"] if terminal else logged)


def test_what_is_said_into_a_pipe_that_nobody_reads_is_logged(tmp_path, monkeypatch):
    reading, writing = os.pipe()
    os.close(reading)
    left = []
    monkeypatch.setattr(directory, "leave_pipe", lambda: left.append(writing))
    monkeypatch.setattr(sys, "stdout", os.fdopen(writing, "w"))
    run = RunDirectory(tmp_path)
    run.start({}, networks=())
    assert run.heard
    run.say("2 kimg")
    assert left and not run.heard and run.log_file.read_text().endswith(" 2 kimg\n")
    os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # as the real one does with its own


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (DivergenceError("a loss became NaN"), "error: a loss became NaN"),
        (StoppedError("stopped by SIGTERM"), "stopped by SIGTERM"),
        (ZeroDivisionError("two\nlines"), "ZeroDivisionError: two lines"),
    ],
)
def test_what_ends_a_run_is_the_last_line_of_its_log(tmp_path, error, line):
    run = RunDirectory(tmp_path)
    run.start({}, networks=())
    with pytest.raises(type(error)), run.logged_end():
        raise error
    assert run.log_file.read_text().endswith(f" {line}\n")
