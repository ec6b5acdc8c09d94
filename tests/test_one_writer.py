"""Of two commands that write to one place the second gets a line, whichever command it is."""

import pytest
from absl import flags as absl_flags
from in_process import command, error_line

from ladagan_tf import (
    average,
    convert,
    evaluate,
    export,
    generate,
    prepare,
    project,
    study,
    train,
    train_classifier,
    train_vae,
)
from ladagan_tf.data import pipeline
from ladagan_tf.flags import average as average_flags
from ladagan_tf.flags import convert as convert_flags
from ladagan_tf.flags import evaluate as evaluate_flags
from ladagan_tf.flags import export as export_flags
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.flags import prepare as prepare_flags
from ladagan_tf.flags import project as project_flags
from ladagan_tf.flags import study as study_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.flags import train_classifier as train_classifier_flags
from ladagan_tf.flags import train_vae as train_vae_flags
from ladagan_tf.locks import locked

A_STUDY = ("--study=a.cfg", "--base=base.cfg", "--system=A:")
# Flag of the place, whether it is a folder that is worked in, and the other flags.
WRITING = {
    "train": (train, train_flags, "run_dir", True, ("--dataset=none",)),
    "prepare": (prepare, prepare_flags, "out", False, ("--source=none", "--resolution=8")),
    "generate": (generate, generate_flags, "out.npz", False, ("--model=none",)),
    "generate a folder": (generate, generate_flags, "out", True, ("--model=none",)),
    "generate a walk": (
        generate,
        generate_flags,
        "out.gif",
        False,
        ("--model=none", "--interpolate"),
    ),
    "project": (project, project_flags, "out.gif", False, ("--model=none", "--image=none")),
    "average": (average, average_flags, "out", False, ("--run_dir=none", "--sigma_rel=0.1")),
    "export": (export, export_flags, "out", False, ("--model=none",)),
    "convert": (convert, convert_flags, "out.keras", False, ("--run_dir=none",)),
    "evaluate": (evaluate, evaluate_flags, "out", False, ("--model=none",)),
    "the samples of evaluate": (
        evaluate,
        evaluate_flags,
        "save_samples.npz",
        False,
        ("--model=none", "--out=metrics.jsonl"),
    ),
    "train_vae": (train_vae, train_vae_flags, "out", False, ("--dataset=none",)),
    "train_classifier": (
        train_classifier,
        train_classifier_flags,
        "out",
        False,
        ("--dataset=none",),
    ),
    "study": (study, study_flags, "runs_dir", True, A_STUDY),
    "the report of a study": (study, study_flags, "out", True, (*A_STUDY, "--runs_dir=runs")),
}


@pytest.mark.parametrize("name", WRITING)
def test_the_second_of_two_commands_gets_a_line(name, tmp_path, capsys, monkeypatch):
    module, verb, flag, inside, others = WRITING[name]
    flag, dot, suffix = flag.partition(".")
    place = tmp_path / f"place{dot}{suffix}"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(pipeline, "open_dataset", lambda name, **_: tmp_path / name)
    (tmp_path / "base.cfg").write_text("--batch_size=8\n")
    with locked(place, inside=inside), command(module, verb.define) as call:
        before = sorted(tmp_path.rglob("*"))
        line = error_line(call, (*others, f"--{flag}={place}"), capsys)
        assert sorted(tmp_path.rglob("*")) == before
    assert line.startswith(f"error: {flag}={place}: process ") and "is writing there" in line


def test_of_several_workers_of_a_run_only_the_first_writes_and_locks(tmp_path, monkeypatch):
    monkeypatch.setattr(train.devices, "worker", lambda strategy: (1, 2))
    monkeypatch.setattr(train, "open_dataset", lambda recorded: tmp_path)
    monkeypatch.setattr(train.model_flags, "build", lambda strategy, folder: None)
    trained = []
    monkeypatch.setattr(train, "train", lambda gan, recorded, folder: trained.append(folder))
    run_dir = tmp_path / "run"
    with locked(run_dir, inside=True), command(train, train_flags.define) as call:
        call("--dataset=none", f"--run_dir={run_dir}")
    assert trained == [tmp_path]
    assert "run_dir" not in absl_flags.FLAGS
