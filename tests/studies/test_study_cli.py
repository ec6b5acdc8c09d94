"""`python -m ladagan_tf.study` as users run it."""

import importlib

import pytest
from absl import flags
from in_process import command, error_line
from in_process import outcome as exit_of

from ladagan_tf import flagfiles, study
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.flags import study as study_flags
from ladagan_tf.studies import outcome, running

TINY = """
--g_widths=32,8,2
--g_heads=2,2,1
--g_mlp_widths=16,16,16
--g_modulation=layer_norm
--nog_conv
--noise_dim=8
--nod_ladaformer
--d_widths=8,16
--d_heads=2
--d_mlp_width=16
--d_out_widths=16,16
--jit=off
--strategy=none
--batch_size=8
--r1_weight=0
--total_kimg=0.024
--log_kimg=0.008
--grid=2
"""


@pytest.fixture
def call():
    others = set(flags.FLAGS)
    with command(study, study_flags.define) as call:
        InThisProcess.flags_of_study = set(flags.FLAGS) - others
        yield call


@pytest.fixture
def file(tmp_path):
    """A study of one system with one seed."""
    (tmp_path / "base.cfg").write_text(f"--dataset={tmp_path / 'shapes'}\n{TINY}")
    path = tmp_path / "small.cfg"
    path.write_text(
        f"--title=A small study\n--base={tmp_path / 'base.cfg'}\n--seeds=3\n"
        "--system=Lada: --policy=\n"
        "--evaluate=--features=none --metrics=swd --num_samples=16 --num_real=16\n"
    )
    return path


def arguments(file, *more):
    return [f"--flagfile={file}", f"--study={file}", f"--runs_dir={file.parent / 'runs'}", *more]


def test_flags_beside_the_file_count_more_than_those_in_it(call, file):
    flags.FLAGS.unparse_flags()
    file.write_text(file.read_text() + "--jobs=5\n")
    assert study_flags.parse(["study", "--jobs=2", f"--study={file}", "rest"]) == ["study", "rest"]
    assert study_flags.parse(["study", "--study", str(file), "--jobs=2"]) == ["study"]
    assert (flags.FLAGS.jobs, flags.FLAGS.title) == (2, "A small study")


def test_every_study_that_ships_finds_its_base_from_any_folder(call, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    studies = [
        name
        for name in flagfiles.names()
        if name.startswith("studies/")
        and "\n--system=" in (flagfiles.CONFIGS / f"{name}.cfg").read_text()
    ]
    assert len(studies) >= 8
    for name in studies:
        file = flagfiles.find(name, "study")
        call(f"--flagfile={file}", f"--study={name}", "--dry_run")
        assert "missing" in capsys.readouterr().out


def test_a_study_file_that_is_not_there_is_one_line(call):
    with pytest.raises(InputError, match=r"^--study=none\.cfg: no such config ships, and"):
        study_flags.parse(["study", "--study=none.cfg"])


def test_flags_that_are_no_study_end_in_one_line(call, file, capsys):
    for flag, message in {
        "--seeds=0,-1": "--seeds=0,-1: give integers from 0 on, as 0,1,2",
        "--seeds=": "--seeds=: give integers from 0 on",
        "--seeds=1,1": "--seeds=1,1: give each of them once",
        "--lr_scales=0,1": "--lr_scales=0,1: give finite numbers greater than 0, as 1,2,4",
        "--lr_scales=2,2.0": "--lr_scales=2,2.0: give each of them once",
        "--system=A: --seed=1": "--seed is what the study decides",
        "--prepare=--source=shapes": "--prepare=--source=shapes: give --out=",
        "rest": "unexpected argument 'rest'",
    }.items():
        assert message in error_line(call, arguments(file, flag), capsys)
    assert not (file.parent / "runs").exists()


def test_a_file_where_a_folder_should_be_is_one_line(call, file, capsys):
    given = arguments(file, f"--runs_dir={file}", "--dry_run")
    assert f"--runs_dir={file}: it is no folder" in error_line(call, given, capsys)
    line = error_line(call, ["--cost", f"--out={file}", "--configs=quickstart"], capsys)
    assert f"out={file / 'hardware.md'}: it cannot be written (File exists)" in line


def test_a_dry_run_lists_the_runs_and_makes_none(call, file, capsys):
    call(*arguments(file, "--dry_run"))
    runs = file.parent / "runs"
    assert capsys.readouterr().out == f"missing   {runs / 'lada_seed-3'}\nruns: 1 missing\n"
    assert not runs.exists()


def test_a_stopped_study_does_not_end_as_a_finished_one(call, file, monkeypatch):
    ending = running.Ending(stopped_by="SIGTERM")
    monkeypatch.setattr(running.Runner, "run", lambda self: ending)
    status, _, error = exit_of(call, arguments(file))
    assert status == 4
    assert error.startswith("stopped by SIGTERM; run the same command to continue ")
    assert not (file.parent / "runs").exists()  # nothing came into it


class InThisProcess:
    """Of a program that a study runs: `test_running.py` tries the processes that usually are."""

    def __init__(self, words, stdout, *_):
        verb = words[1].rpartition(".")[2]
        module, ours = (importlib.import_module(f"ladagan_tf{at}.{verb}") for at in ("", ".flags"))
        held = {name: flags.FLAGS[name] for name in self.flags_of_study}
        for name in held:
            delattr(flags.FLAGS, name)
        with command(module, ours.define) as program:
            self.returncode, *said = exit_of(program, words[2:])
        for name, flag in held.items():
            flags.FLAGS[name] = flag
        stdout.write("".join(said).encode())

    def poll(self):
        return self.returncode


@pytest.mark.slow
def test_a_study_trains_measures_and_reports(call, file, capsys, monkeypatch, eagerly):
    monkeypatch.setattr(running, "start_python", InThisProcess)
    prepare("shapes", file.parent / "shapes", resolution=32, num_images=16, workers=1)
    call(*arguments(file))
    runs = file.parent / "runs"
    (row,) = outcome.read_results(runs)
    assert (row["status"], row["kimg"], row["seed"]) == ("finished", 0.024, 3)
    assert row["metrics"]["swd"] > 0 and row["lower_is_better"] == {"swd": True}
    assert row["protocol"]["generated"]["count"] == 16
    assert (
        len(row["traces"]["g_grad_norm"]) == len(row["traces"]["clipped"]) == 3
        and row["seconds_per_step"] > 0
    )
    assert row["generator"]["multiply_adds"] > row["generator"]["parameters"] > 0
    assert "# A small study" in (runs / "table.md").read_text()
    assert (runs / "metrics.png").is_file() and (runs / "gradients.png").is_file()
    said = capsys.readouterr().out
    call(*arguments(file))  # nothing is left to run
    again = capsys.readouterr().out
    assert "begun" in said and "begun" not in again and "written:" in again
