"""Preparing a set, from the command line: what it says, and what it refuses."""

import errno
import json

import pytest
from in_process import command, error_line, outcome

from ladagan_tf import prepare as prepare_command
from ladagan_tf.data import dataset_info
from ladagan_tf.flags import prepare as prepare_flags


@pytest.mark.parametrize("name", ["shapes", "tfds:mine", "zoo:mine"])
def test_a_set_gets_no_name_that_means_another_one(flawed, name):
    with command(prepare_command, prepare_flags.define) as call:
        status, _, error = outcome(call, [f"--source={flawed}", f"--out={name}", "--resolution=16"])
    assert status == 2 and f"--out={name}: as --dataset that is another set; give ./" in error


def test_what_is_for_latents_is_not_passed_over(flawed, tmp_path):
    given = [f"--source={flawed}", f"--out={tmp_path / 'out'}", "--resolution=16"]
    with command(prepare_command, prepare_flags.define) as call:
        status, _, error = outcome(call, [*given, "--nostore_images"])
    assert status == 2 and "--store_images=False: only for latents" in error


def test_without_locks_a_set_is_prepared_all_the_same(flawed, tmp_path, monkeypatch, capsys):
    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    with command(prepare_command, prepare_flags.define) as call:
        call(f"--source={flawed}", f"--out={tmp_path / 'out'}", "--resolution=16", "--skip_bad")
    assert "this file system has no locks" in capsys.readouterr().err
    assert dataset_info.load_info(tmp_path / "out").count == 3


def test_the_command_line_prepares_a_folder_with_workers(flawed, tmp_path):
    arguments = [
        f"--source={flawed}", f"--out={tmp_path / 'out'}", "--resolution=16", "--crop=none",
        "--background=10,20,30", "--skip_bad", "--workers=2", "--shards=2",
    ]  # fmt: skip
    with command(prepare_command, prepare_flags.define) as call:
        status, said, error = outcome(call, arguments)
    assert status == 0, error
    assert "3 images of 16 x 16, no classes, 2 shards" in said
    assert "2 skipped, 0 other files left out" in said
    assert "skipped thin.png: 2 x 16 pixels" in said
    preparation = json.loads((tmp_path / "out" / "dataset.json").read_text())["preparation"]
    assert preparation["background"] == [10, 20, 30] and preparation["crop"] == "none"
    assert {path.name for path in tmp_path.iterdir()} == {"out", "source"}


def test_the_command_line_reports_a_mistake_in_one_line(tmp_path, capsys):
    with command(prepare_command, prepare_flags.define) as call:
        arguments = ["--source=nowhere", f"--out={tmp_path / 'out'}", "--resolution=8"]
        assert error_line(call, arguments, capsys) == (
            "error: source=nowhere: not found; it must be a folder or a .zip of images, an .npz, "
            "tfds:NAME or shapes"
        )


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--seed=3", "error: --seed=3: only for --source=shapes; leave the flag out"),
        (
            "--source=shapes --crop=none",
            "error: --crop=none: shapes are drawn as they are; leave the flag out",
        ),
        ("--data_dir=x", "error: --data_dir=x: only for --source=tfds:NAME; leave the flag out"),
    ],
)
def test_a_flag_that_would_do_nothing_is_refused(flawed, tmp_path, capsys, flag, message):
    with command(prepare_command, prepare_flags.define) as call:
        arguments = [
            f"--source={flawed}",
            f"--out={tmp_path / 'out'}",
            "--resolution=8",
            *flag.split(),
        ]
        assert error_line(call, arguments, capsys) == message
