"""A place has one writer at a time, who is named, and a killed one locks nobody out."""

import errno
import fcntl
import os
import pathlib
import subprocess
import sys

import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.locks import locked

ROOT = pathlib.Path(__file__).resolve().parents[1]
HOLD = """
import sys, time
from ladagan_tf.locks import locked
with locked(sys.argv[1], inside=sys.argv[2] == "inside"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=["beside", "inside"])
def kind(request):
    return request.param


def test_the_second_process_names_the_first_and_a_killed_one_locks_nobody_out(tmp_path, kind):
    place, inside = tmp_path / "new" / "place", kind == "inside"
    command = [sys.executable, "-c", HOLD, place, kind]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(InputError) as error, locked(place, inside=inside):
            pytest.fail("both had it")
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    said = str(error.value)
    assert said.startswith(f"out={place}: process {process.pid} on {os.uname().nodename} (-c ")
    assert said.endswith("is writing there; wait until it ends, or give another place")
    with locked(place, inside=inside):
        pass


def test_nothing_stays_of_a_lock_but_what_was_written(tmp_path, kind):
    place, inside = tmp_path / "a" / "b", kind == "inside"
    with locked(place, inside=inside):
        pass
    assert list(tmp_path.iterdir()) == []
    with locked(place, inside=inside):
        (place / "image" if inside else place).touch()
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]


def test_a_failure_gives_the_lock_back(tmp_path):
    with pytest.raises(KeyError), locked(tmp_path / "out"):
        raise KeyError
    with locked(tmp_path / "out"):
        pass


@pytest.mark.parametrize("inside", [False, True])
def test_where_nothing_can_be_written_is_one_line(tmp_path, inside):
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "place"
    with pytest.raises(InputError) as error, locked(place, "run_dir", inside):
        pass
    assert str(error.value).startswith(f"run_dir={place}: it cannot be written (")


def test_a_command_of_any_length_gives_a_line_of_some_length(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["train.py", "--flag=" + "é\n" * 500])
    with locked(tmp_path / "out"), pytest.raises(InputError) as error, locked(tmp_path / "out"):
        pass
    assert len(str(error.value).replace(str(tmp_path), "")) < 350
    assert "\n" not in str(error.value)


def test_a_file_system_without_locks_is_warned_of(tmp_path, monkeypatch, capsys):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with locked(tmp_path / "out"):
        pass
    assert capsys.readouterr().err == (
        f"warning: out={tmp_path / 'out'}: this file system has no locks; see that nothing else "
        "writes there\n"
    )


@pytest.mark.skipif(not pathlib.Path("/proc/self").is_dir(), reason="hardware: no /proc")
def test_a_folder_that_takes_no_files_is_refused_and_not_tried_for_ever():
    said = r"^out=/proc/x: it cannot be written \(No such file"
    with pytest.raises(InputError, match=said), locked("/proc/x"):
        pytest.fail("it was held")


def test_another_user_s_lock_is_named(tmp_path, kind, monkeypatch):
    inside = kind == "inside"
    file = tmp_path / (".lock" if inside else ".grid.png.lock")

    def refuse(*_):
        raise PermissionError(errno.EACCES, "Permission denied", str(file))

    monkeypatch.setattr(os, "open", refuse)
    for said in (r"it cannot be written \(Permission denied\)", f"{file} is another user's lock; "):
        place = tmp_path if inside else tmp_path / "grid.png"
        with pytest.raises(InputError, match=f"^out={place}: {said}"):
            locked(place, inside=inside).__enter__()
        file.write_text("process 9 on host (train.py)")


def _text(file):
    file.write_text("notes of my own")
    return file


def _link(file):
    file.symlink_to(_text(file.with_name("target.txt")))
    return file.with_name("target.txt")


@pytest.mark.parametrize("make", [_text, _link, pathlib.Path.mkdir, os.mkfifo])
def test_what_is_no_lock_is_refused_and_kept(tmp_path, kind, make):
    inside = kind == "inside"
    file = tmp_path / (".lock" if inside else ".grid.png.lock")
    kept = make(file)
    said = f"^out=.*: {file} is no lock of ours; move it, or give another place$"
    place = tmp_path if inside else tmp_path / "grid.png"
    with pytest.raises(InputError, match=said), locked(place, inside=inside):
        pytest.fail("it was held")
    assert file.exists() and (kept is None or kept.read_text() == "notes of my own")
