"""Runs are begun once, continued when stopped, and written down as they ended."""

import errno
import os
import pathlib
import signal
import subprocess
import threading
import time
import unittest.mock

import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.runs.json_lines import sealed
from ladagan_tf.stopping import start_python
from ladagan_tf.studies import outcome, plan, running

HERE = pathlib.Path(__file__).parent
FAKES = running.Programs(
    *((str(HERE / f"fake_{program}.py"),) for program in ("train", "evaluate", "prepare"))
)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A folder with the files by which a run says what it is."""
    folder = tmp_path_factory.mktemp("template")
    sizes = {"widths": (16, 16, 16), "mlp_widths": (8, 8, 8)}
    networks = (
        Generator(noise_dim=8, **sizes),
        Discriminator(widths=(8, 16), num_heads=2, mlp_width=8, out_widths=(8, 8)),
    )
    RunDirectory(folder / "run").start({"batch_size": "16"}, networks)
    for name in ("checkpoints", "samples", "tensorboard"):
        (folder / "run" / name).rmdir()
    return folder / "run"


@pytest.fixture
def study(template, tmp_path):
    """`study(*systems)` with one seed."""
    base = tmp_path / "base.cfg"
    base.write_text(f"--template={template}\n")

    def make(*systems, **changes):
        return plan.make_study("study", "", base, systems, **changes)

    return make


def run(study, folder, jobs=1):
    """(Runner, Ending, lines said)."""
    said = []
    runner = running.Runner(study, folder, FAKES, jobs, said.append)
    return runner, runner.run(), said


def starts(folder):
    return {p.parent.name: len(p.read_text().splitlines()) for p in folder.glob("*/starts")}


def test_a_result_says_what_the_run_measured_of_itself(study, tmp_path):
    runner, ending, _ = run(study("A: --x=1", evaluate="--metrics=fcd"), tmp_path / "runs")
    assert ending == running.Ending()
    row = runner.rows["a_seed-0"]
    assert outcome.read_result(tmp_path / "runs" / "a_seed-0") == row
    assert row["arguments"]["train"][-2:] == ["--x=1", "--seed=0"]
    assert row["arguments"]["evaluate"] == ["--metrics=fcd"]
    assert (row["status"], row["message"], row["kimg"]) == ("finished", None, 4.0)
    assert row["metrics"] == {"fcd": 50.1235, "is": 3.0}
    assert row["lower_is_better"] == {"fcd": True, "is": False}
    assert row["protocol"]["reference"] == {"images": "shapes-32"}
    assert row["seconds_per_step"] == 0.2  # 16 images; the first window is left out
    assert row["gradients"]["g_grad_norm"] == {"median": 2.5, "max": 4.0}
    assert row["gradients"]["g_grad_spikes"] == 12 and row["gradients"]["d_grad_spikes"] is None
    assert row["traces"]["kimg"] == [1.0, 2.0, 3.0, 4.0]
    assert row["traces"]["blocks"] == {"g_grad_norm/block_8": [0.3333] * 4}
    seconds = [25.0, 50.0]  # 80 images/s, the median; what the measuring took is left out
    quick = {"metric": "fcd8", "kimg": [2.0, 4.0], "seconds": seconds, "values": [90.0, 60.5]}
    assert row["traces"]["quick"] == quick
    assert row["generator"]["parameters"] > row["discriminator"]["parameters"] > 0


def test_what_is_done_is_skipped_and_what_is_new_is_run(study, tmp_path):
    run(study("A:"), tmp_path)
    runner, _, said = run(study("A:", "B:"), tmp_path)
    assert starts(tmp_path) == {"a_seed-0": 1, "b_seed-0": 1}
    assert list(runner.rows) == ["a_seed-0", "b_seed-0"]
    assert said[0] == "b_seed-0: begun (1 of 2 done)" and "fcd 50.12" in said[1]


@pytest.mark.parametrize("change", [("finished", "finishes"), ("{", "["), ("fcd", "\\ud800")])
def test_a_result_that_is_not_as_it_was_written_is_set_aside_and_measured_again(
    study, tmp_path, change
):
    run(study("A:"), tmp_path)
    file = tmp_path / "a_seed-0" / "result.json"
    written = file.read_text()
    file.write_text(written.replace(*change))
    runner, ending, said = run(study("A:"), tmp_path)
    assert ending == running.Ending() and runner.rows["a_seed-0"]["metrics"]["fcd"] == 51.1235
    assert said[0].startswith(f"{file}: ") and "measured again" in said[0]
    assert (file.parent / "result.json.old-1").read_text() == written.replace(*change)


def test_what_a_run_left_of_other_hands_does_not_stop_a_study(study, tmp_path):
    run(study("A:"), tmp_path)
    folder = tmp_path / "a_seed-0"
    (folder / "result.json").unlink()
    with open(folder / "metrics.jsonl", "a") as file:
        file.write('{"metric": 1}\n[]\n{"metric": "fcd", "value": 1, "protocol": []}\n{"val')
    runner, ending, _ = run(study("A:"), tmp_path)
    assert ending == running.Ending() and runner.rows["a_seed-0"]["metrics"]["is"] == 3.0


def test_a_run_with_other_flags_is_refused_and_nothing_begins(study, tmp_path):
    run(study("A:"), tmp_path)
    with pytest.raises(InputError) as error:
        running.Runner(study("A: --x=1", "B:"), tmp_path, FAKES)
    assert "a_seed-0" in str(error.value) and "train.py --x=1 is new" in str(error.value)
    assert "--runs_dir" in str(error.value)


def test_a_run_measured_in_another_way_ends_a_study_before_the_next_begins(study, tmp_path):
    runner, _, _ = run(study("A:"), tmp_path)
    row = runner.rows["a_seed-0"]
    row["protocol"]["features"] = "of a classifier that another machine trained"
    (tmp_path / "a_seed-0" / "result.json").write_text(sealed(row))
    runner, ending, _ = run(study("A:", "B:", "C:"), tmp_path)
    assert ending.failure.startswith("protocol: features is of a classifier that another machine")
    assert starts(tmp_path) == {"a_seed-0": 1, "b_seed-0": 1} and list(runner.rows) == ["a_seed-0"]


def test_a_run_that_diverged_is_a_result_and_the_study_goes_on(study, tmp_path):
    runner, ending, _ = run(study("A: --diverge", "B:"), tmp_path)
    assert ending == running.Ending()
    row = runner.rows["a_seed-0"]
    assert (row["status"], row["message"]) == ("diverged", "a loss became NaN at step 5")
    assert row["metrics"] == {} and row["protocol"] is None
    assert runner.rows["b_seed-0"]["status"] == "finished"
    assert running.states(study("A: --diverge", "B:", "C:"), tmp_path) == {
        "a_seed-0": "diverged",
        "b_seed-0": "finished",
        "c_seed-0": "missing",
    }


def test_learning_rates_are_climbed_until_a_system_diverges(study, tmp_path):
    systems = ("A: --diverge", "B:")
    runner, _, _ = run(study(*systems, lr_scales=(1.0, 2.0)), tmp_path)
    assert list(runner.rows) == ["a_lr-x1_seed-0", "b_lr-x1_seed-0", "b_lr-x2_seed-0"]


def test_a_failure_stops_the_others_and_names_the_run_its_words_and_its_log(study, tmp_path):
    wanted = study("First:", "A: --wait", "B: --fail")
    runner, ending, _ = run(wanted, tmp_path, jobs=2)
    assert ending.failure == (
        "b_seed-0: fake_train.py ended with status 2, saying: error: --fail is no flag; "
        f"all it said is in {tmp_path / 'b_seed-0' / 'study.log'}"
    )
    assert list(runner.rows) == ["first_seed-0"] and runner.children == []
    assert list(running.states(wanted, tmp_path).values()) == ["finished", "begun", "begun"]


def test_a_full_disk_leaves_no_run_behind(study, tmp_path, monkeypatch):
    run(study("First:"), tmp_path)
    full = unittest.mock.Mock(side_effect=OSError(errno.ENOSPC, "No space left on device"))
    monkeypatch.setattr(running, "write_text", full)
    runner = running.Runner(study("First:", "A: --wait", "B:"), tmp_path, FAKES, 2, [].append)
    with pytest.raises(OSError, match="No space left"):
        runner.run()
    assert runner.children == []


def test_the_first_run_goes_alone_to_prepare_what_all_read(study, tmp_path):
    _, _, said = run(study("A:", "B:", "C:"), tmp_path, jobs=3)
    names = [(line.partition(":")[0], ": begun" in line) for line in said]
    assert names[:2] == [("a_seed-0", True), ("a_seed-0", False)]
    assert names[2:4] == [("b_seed-0", True), ("c_seed-0", True)]


def test_sets_are_prepared_before_the_runs_and_not_for_nothing(study, tmp_path):
    wanted = study("A:", sets=(f"--out={tmp_path}/x", f"--corrupt=noise:0.1 --out={tmp_path}/y"))
    _, ending, said = run(wanted, tmp_path / "runs")
    assert ending == running.Ending()
    assert said[:3] == [
        f"{tmp_path}/x: prepared",
        f"{tmp_path}/y: prepared",
        "a_seed-0: begun (0 of 1 done)",
    ]
    assert (tmp_path / "y").read_text() == f"--corrupt=noise:0.1 --out={tmp_path}/y\n"
    assert run(wanted, tmp_path / "runs")[2] == []  # nothing is left to run


def test_a_set_that_cannot_be_prepared_ends_the_study_before_any_run(study, tmp_path):
    wanted = study("A:", sets=(f"--fail --out={tmp_path}/x",))
    _, ending, said = run(wanted, tmp_path / "runs")
    assert ending.failure == (
        f"--prepare=--fail --out={tmp_path}/x: fake_prepare.py ended with status 2, saying: "
        f"error: --fail is no flag; all it said is in {tmp_path / 'runs' / 'sets' / 'study.log'}"
    )
    assert said == [] and starts(tmp_path / "runs") == {}


def test_a_program_that_cannot_begin_leaves_its_own_error(study, tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "Popen", unittest.mock.Mock(side_effect=OSError("no more")))
    runner = running.Runner(study("A:", sets=("--out=x",)), tmp_path, FAKES, 1, [].append)
    with pytest.raises(OSError, match="no more"):
        runner.run()
    assert runner.children == []


def test_a_study_that_is_stopped_stops_what_prepares(study, tmp_path):
    wanted = study("A:", sets=(f"--wait --out={tmp_path}/x",))
    when_waiting(tmp_path, signal.SIGTERM)
    runner, ending, _ = run(wanted, tmp_path / "runs")
    assert ending.stopped_by == "SIGTERM" and runner.children == []
    assert starts(tmp_path / "runs") == {} and not (tmp_path / "x").exists()


def when_waiting(folder, number, process=os.getpid):
    """Sends a process, which a function names, a signal as soon as a run waits."""

    def send():
        deadline = time.monotonic() + 30
        while not (folder / "waiting").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        os.kill(process(), number)

    threading.Thread(target=send).start()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_study_stops_its_runs_and_the_same_one_continues_them(study, tmp_path, number):
    usual = signal.getsignal(number)
    wanted = study("A: --wait")
    when_waiting(tmp_path / "a_seed-0", number)
    runner, ending, _ = run(wanted, tmp_path)
    assert ending.stopped_by == number.name and runner.rows == {}
    assert (tmp_path / "a_seed-0" / "stopped").exists()  # by SIGTERM, whatever the study got
    assert signal.getsignal(number) == usual
    runner, ending, _ = run(wanted, tmp_path)
    assert ending == running.Ending() and runner.rows["a_seed-0"]["status"] == "finished"
    assert starts(tmp_path) == {"a_seed-0": 2}


def test_a_run_that_somebody_else_stopped_is_not_measured(study, tmp_path):
    runner = running.Runner(study("A: --wait"), tmp_path, FAKES, 1, [].append)
    when_waiting(tmp_path / "a_seed-0", signal.SIGTERM, lambda: runner.children[0].process.pid)
    ending = runner.run()
    assert ending.failure.startswith("a_seed-0: fake_train.py ended with status 4")
    assert runner.rows == {} and not (tmp_path / "a_seed-0" / "metrics.jsonl").exists()


def test_the_last_evaluation_counts(study, tmp_path):
    run(study("A:"), tmp_path)
    (tmp_path / "a_seed-0" / "result.json").unlink()
    runner, _, _ = run(study("A:"), tmp_path)
    assert runner.rows["a_seed-0"]["metrics"] == {"fcd": 51.1235, "is": 3.0}


def test_runs_at_once_share_the_cores(study, tmp_path, monkeypatch):
    monkeypatch.setattr(running, "usable_cores", lambda: 7)
    alone = running.Runner(study("A:"), tmp_path, FAKES)._environment()
    shared = running.Runner(study("A:"), tmp_path, FAKES, jobs=3)._environment()
    assert alone == dict(os.environ)
    threads = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
    assert {shared[name] for name in threads} == {"2"}


def test_what_a_study_runs_is_installed_with_it(study, tmp_path):
    child = running.Child(study("A:").runs[0], tmp_path, dict(os.environ))
    programs = running.Programs()
    for program in (programs.train, programs.evaluate, programs.prepare):
        child.begin(program, ["--version"])
        assert child.process.wait() == 0 and child.last_line().startswith("ladagan_tf ")


def test_a_run_ends_with_its_study(study, tmp_path, monkeypatch):
    """However that ends: `tests/test_stopping.py` kills a parent."""
    start = unittest.mock.Mock(wraps=start_python)
    monkeypatch.setattr(running, "start_python", start)
    run(study("A: --fail"), tmp_path)
    start.assert_called_once()
