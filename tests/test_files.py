"""What is written is whole and readable by others."""

import errno
import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf import files
from ladagan_tf.errors import InputError
from ladagan_tf.files import json_line


def test_a_line_of_json_has_null_for_what_json_has_not():
    content = {"a": np.float32("nan"), "b": [1.5, -math.inf, np.int64(3)], "c": Path("x"), 1: None}
    line = json_line(content)
    assert line.endswith("\n")

    def refuse(name):
        raise AssertionError(name)

    assert json.loads(line, parse_constant=refuse) == {
        "a": None, "b": [1.5, None, 3], "c": "x", "1": None
    }  # fmt: skip


def test_a_user_without_a_home_is_told_where_to_name_a_cache(monkeypatch):
    monkeypatch.setattr(files.os.path, "expanduser", lambda path: path)  # as it is without one
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    with pytest.raises(InputError, match=r"^there is no home folder .*; set XDG_CACHE_HOME, or"):
        files.cache_folder()
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert files.cache_folder() == Path("/somewhere/ladagan_tf")


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError("write failed: errno = 28, error message = 'No space left on device', size 9"),
        tf.errors.UnknownError(None, None, "{{node}} a/b.tempstate1; No space left on device"),
    ],
    ids=["Python's", "HDF5's", "TensorFlow's"],
)
def test_a_full_disk_is_the_same_line_whoever_noticed_it(tmp_path, error):
    path = tmp_path / "a.keras"
    with pytest.raises(InputError) as refused, files.new_file(path):
        raise error
    assert str(refused.value) == f"out={path}: it cannot be written (No space left on device)"
    with pytest.raises(OSError, match="No space left on device"), files.disk_errors():
        raise error
    assert not list(tmp_path.iterdir())


def test_an_error_without_a_name_gets_that_of_the_file_that_was_to_be(tmp_path):
    path = tmp_path / "a.png"
    named = pytest.raises(OSError, match=f"No space left on device: '{path}'")
    with named, files.atomic_path(path):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize("new", [files.new_file, files.new_folder])
def test_a_link_that_leads_nowhere_is_not_replaced(tmp_path, new):
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"out: it exists already"), new(tmp_path / "out"):
        pytest.fail("it was begun")
    assert (tmp_path / "out").is_symlink()


@pytest.mark.parametrize("new", [files.new_file, files.new_folder])
def test_a_name_of_the_longest_that_a_folder_takes_is_written(tmp_path, new):
    path = tmp_path / f"{'n' * 251}.png"
    with new(path) as temporary:
        assert temporary.parent == tmp_path
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_no_place_for_results_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "o.jsonl")
    with pytest.raises(InputError, match=r"o\.jsonl: it cannot be written \(it is a pipe or a s"):
        files.check_writable(tmp_path / "o.jsonl")
    files.check_writable("/dev/null")


def test_a_link_to_nothing_is_a_name_that_is_taken(tmp_path):
    (tmp_path / "out").symlink_to("nowhere")
    with pytest.raises(InputError, match=r"^out=.*out: it exists already; give another name"):
        files.vacant(tmp_path / "out")


def test_what_is_read_is_not_written_over_by_any_of_its_names(tmp_path):
    picture, link = tmp_path / "cat.png", tmp_path / "link.png"
    files.refuse_input(picture, picture)  # that it is not there, others say
    picture.touch()
    link.symlink_to(picture)
    with pytest.raises(InputError, match=r"^out=.*link\.png: it is read, and would be lost"):
        files.refuse_input(link, picture)
    files.refuse_input(tmp_path / "other.png", picture)


def test_what_is_set_aside_replaces_nothing(tmp_path):
    (tmp_path / "a.old-1").symlink_to("nowhere")
    (tmp_path / "a").touch()
    assert files.set_aside(tmp_path / "a").name == "a.old-2"


def test_what_is_written_has_the_permissions_that_the_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        files.write_text(tmp_path / "a.txt", "a")
        with files.new_folder(tmp_path / "b") as folder:
            (folder / "c").touch()
    finally:
        os.umask(before)
    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("a.txt", "b", "b/c")}
    assert modes == {"a.txt": 0o640, "b": 0o750, "b/c": 0o640}


def test_only_an_error_of_what_is_written_is_said_of_the_flag(tmp_path):
    out = tmp_path / "made/out"
    of_it = out, out / "a", out.parent, tmp_path, out.with_name(".out-1f") / "b", out.parent / "t"
    for file in (None, *map(str, of_it)):
        ours = pytest.raises(InputError, match=r"out=.*: it cannot be written \(Permission denied")
        with ours, files.writing(out):
            raise OSError(errno.EACCES, "Permission denied", file)
    for file in (tmp_path / "other", out.parent / "data/set.json"):
        with pytest.raises(PermissionError, match=f"denied: '{file}'"), files.new_folder(out):
            raise OSError(errno.EACCES, "Permission denied", str(file))
    with pytest.raises(BrokenPipeError), files.new_folder(out):  # of what is printed into
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")
    assert not out.exists() and not list(out.parent.iterdir())
