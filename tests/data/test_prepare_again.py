"""What stopped half-way, at bad images, a full disk or a signal, goes on from there."""

import dataclasses
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import tensorflow as tf
from PIL import Image

from ladagan_tf.data import conversion as conversion_module
from ladagan_tf.data import dataset_info, preparation, record_making, unfinished
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError

_ROOT = Path(__file__).resolve().parents[2]
_COMMAND = [sys.executable, "-m", "ladagan_tf.prepare"]


def _visible(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def converted(monkeypatch):
    """Names of the items that are converted, in order."""
    names = []

    def convert_items(read, conversion, items):
        names.extend(item.name for item in items)
        return conversion_module.convert_items(read, conversion, items)

    monkeypatch.setattr(record_making, "convert_items", convert_items)
    return names


def test_bad_images_are_all_listed_and_the_others_kept(flawed, tmp_path, capsys):
    with pytest.raises(InputError, match=r"2 of 5 images are unusable, as (thin|broken)\.png: .*"):
        prepare(str(flawed), tmp_path / "out", resolution=16)
    error = capsys.readouterr().err
    assert "unusable thin.png: 2 x 16 pixels" in error and "unusable broken.png: not an" in error
    assert ".out.preparing keeps 1 complete shard; the same again goes on from there" in error
    assert _visible(tmp_path) == [".out.preparing", "source"]


def _mend(folder):
    for name in ("thin.png", "broken.png"):
        Image.new("RGB", (16, 16), (9, 9, 9)).save(folder / name)


def _remove(folder):
    for name in ("thin.png", "broken.png"):
        (folder / name).unlink()


def _touch(folder):
    _mend(folder)
    Image.new("RGB", (16, 16), (7, 7, 7)).save(folder / "good1.png")


@pytest.mark.parametrize(
    ("change", "anew", "skip_bad"),
    [
        (_mend, ["broken.png", "thin.png"], False),
        (_remove, [], False),
        (_touch, ["broken.png", "good1.png", "thin.png"], False),
        (lambda flawed: None, [], True),
        (_mend, ["broken.png", "thin.png"], True),
    ],
    ids=["mended", "removed", "another changed too", "skip_bad", "mended, with skip_bad"],
)
def test_the_next_attempt_converts_only_what_has_changed(
    flawed, tmp_path, converted, change, anew, skip_bad
):
    with pytest.raises(InputError, match="unusable"):
        prepare(str(flawed), tmp_path / "out", resolution=16)
    change(flawed)
    converted.clear()
    info = prepare(str(flawed), tmp_path / "out", resolution=16, skip_bad=skip_bad)
    assert sorted(converted) == anew
    clean = prepare(str(flawed), tmp_path / "clean", resolution=16, skip_bad=skip_bad)
    assert dataclasses.replace(info, folder=clean.folder) == clean
    pairs = zip(info.shard_paths, clean.shard_paths, strict=True)
    assert all(Path(a).read_bytes() == Path(b).read_bytes() for a, b in pairs)
    assert _visible(tmp_path) == ["clean", "out", "source"]
    assert _visible(info.folder) == ["dataset.json", "records-00000.tfrecord"]


def test_shards_of_two_earlier_attempts_serve_the_third(tmp_path, monkeypatch, converted):
    monkeypatch.setattr(unfinished, "_AUTO_SHARD_BYTES", 300)
    source = tmp_path / "source"
    source.mkdir()
    for i in range(20):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(source / f"{i:02d}.png")
    clean = prepare(str(source), tmp_path / "clean", resolution=8)
    for i in (20, 21):
        (source / f"{i}.png").write_bytes(b"")
    for i in (20, 21):  # with each the order of all is another one
        with pytest.raises(InputError, match="are unusable"):
            prepare(str(source), tmp_path / "out", resolution=8)
        (source / f"{i}.png").unlink()
    converted.clear()
    info = prepare(str(source), tmp_path / "out", resolution=8)
    assert not converted and info.content_sha256 == clean.content_sha256
    assert len(info.shards) > 5


def test_damaged_notes_of_an_earlier_attempt_are_not_used(flawed, tmp_path, converted):
    with pytest.raises(InputError, match="unusable"):
        prepare(str(flawed), tmp_path / "out", resolution=16)
    (notes,) = (tmp_path / ".out.preparing").glob("*.jsonl")
    text = notes.read_bytes()
    for damaged in (b"", text[:-9], text.replace(b"good1", b"good9"), b"\xff" + text):
        notes.write_bytes(damaged)
        converted.clear()
        with pytest.raises(InputError, match="unusable"):
            prepare(str(flawed), tmp_path / "out", resolution=16)
        assert len(converted) == 5


def test_the_work_on_another_set_is_not_taken_for_this(flawed, tmp_path, converted):
    with pytest.raises(InputError, match="unusable"):
        prepare(str(flawed), tmp_path / "out", resolution=16)
    converted.clear()
    info = prepare(str(flawed), tmp_path / "out", resolution=8, skip_bad=True)
    assert len(converted) == 5 and info.resolution == 8


def test_hopeless_sources_are_not_read_to_the_end(tmp_path, monkeypatch, capsys):
    for i in range(9):
        (tmp_path / f"{i}.png").write_bytes(b"")
    monkeypatch.setattr(preparation, "_MOST_BAD", 5)
    monkeypatch.setattr(preparation, "MOST_LISTED", 2)
    with pytest.raises(InputError, match=r"5 of 9 images are unusable \(stopped there\)"):
        prepare(str(tmp_path), tmp_path / "out", resolution=8)
    assert "unusable: 3 more" in capsys.readouterr().err
    assert not (tmp_path / ".out.preparing").exists()


def test_a_full_disk_is_one_line_and_complete_shards_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "_AUTO_SHARD_BYTES", 5_000)
    clean = prepare("shapes", tmp_path / "clean", resolution=32, num_images=60)
    assert len(clean.shards) > 3
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    real_writer, opened = tf.io.TFRecordWriter, []

    def writer(path):
        opened.append(path)
        if len(opened) == 3:  # from here on files may not grow beyond 2 KB
            resource.setrlimit(resource.RLIMIT_FSIZE, (2048, limits[1]))
        return real_writer(path)

    monkeypatch.setattr(tf.io, "TFRecordWriter", writer)
    try:
        with pytest.raises(InputError, match=r"out=.*\.out\.preparing: it cannot be written \("):
            prepare("shapes", tmp_path / "out", resolution=32, num_images=60)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    kept = sorted(path.name for path in (tmp_path / ".out.preparing").glob("*.tfrecord"))
    assert kept == ["records-00000.tfrecord", "records-00001.tfrecord"]
    info = prepare("shapes", tmp_path / "out", resolution=32, num_images=60)
    assert opened[3].endswith("records-00002.tfrecord")
    assert dataclasses.replace(info, folder=clean.folder) == clean


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt(2)])
@pytest.mark.parametrize("last", ["write_info", "_put", "rename"])
def test_a_failure_in_the_last_moment_keeps_all_shards_and_the_set_that_was_there(
    tmp_path, monkeypatch, converted, error, last
):
    out = prepare("shapes", tmp_path / "out", resolution=8, num_images=3).folder
    rename = Path.rename

    def fail(*given):
        if last != "rename" or given[0].name == ".out.preparing":
            raise error
        return rename(*given)

    with monkeypatch.context() as patch:
        place = {"write_info": dataset_info, "_put": preparation, "rename": Path}[last]
        patch.setattr(place, last, fail)
        with pytest.raises((InputError, KeyboardInterrupt)):
            prepare("shapes", out, resolution=8, num_images=4, overwrite=True)
    assert dataset_info.load_info(out).count == 3
    assert _visible(tmp_path) == [".out.preparing", "out"]
    converted.clear()
    assert prepare("shapes", out, resolution=8, num_images=4, overwrite=True).count == 4
    assert not converted
    assert _visible(out) == ["dataset.json", "records-00000.tfrecord"]
    assert _visible(tmp_path) == ["out"]


def test_a_killed_run_leaves_nothing_that_looks_finished_and_can_be_repeated(tmp_path):
    out = tmp_path / "out"
    arguments = [
        "--source=shapes", f"--out={out}", "--resolution=64", "--num_images=200000", "--workers=2"
    ]  # fmt: skip
    process = subprocess.Popen(
        [*_COMMAND, *arguments], cwd=_ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    hidden = tmp_path / ".out.preparing"
    deadline = time.monotonic() + 300  # on a busy machine
    while not list(hidden.glob("*.tfrecord")):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    workers = _children(process.pid)
    for worker in workers:  # as Ctrl-C sends it to all: it is the parent's to answer
        os.kill(worker, signal.SIGINT)
    time.sleep(0.1)
    assert workers and all(map(_is_running, workers))
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    with pytest.raises(InputError):
        dataset_info.load_info(hidden)
    (hidden / "records-00099.tfrecord").write_bytes(b"left behind")

    info = prepare("shapes", out, resolution=8, num_images=20)
    assert info.count == 20 and _visible(tmp_path) == [".out.lock", "out"]  # the killed one's
    assert _visible(out) == ["dataset.json", "records-00000.tfrecord"]
    while any(_is_running(worker) for worker in workers):
        assert time.monotonic() < deadline, "workers end with the process that started them"
        time.sleep(0.05)


def _children(pid):
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    return state != "Z"
