"""Checkpoints are complete, verified and found by what they are."""

import errno
import json
import os
import pathlib
import shutil
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.runs.checkpoints import (
    Checkpoints,
    damage,
    find_checkpoint,
    newest_state,
    read_part,
    read_state,
)


@pytest.fixture
def state():
    return {"network/000/kernel": tf.Variable([1.0, 2.0]), "counters/000/step": tf.Variable(0)}


def save(checkpoints, state, step, score=None, metric="fcd"):
    state["counters/000/step"].assign(step)
    checkpoints.save(step, images=500 * step, score=score, metric=metric)


def names(checkpoints):
    return [path.name for path in checkpoints.paths()]


def flip_a_byte(folder):
    (data,) = folder.glob("ckpt.data*")
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)


def test_the_newest_checkpoint_is_restored(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state)
    assert checkpoints.restore_latest() is None
    for step in (1, 2):
        save(checkpoints, state, step)
    state["counters/000/step"].assign(9)
    state["network/000/kernel"].assign([0.0, 0.0])
    assert checkpoints.restore_latest()["step"] == 2
    assert state["counters/000/step"].numpy() == 2
    np.testing.assert_array_equal(state["network/000/kernel"], [1.0, 2.0])


def test_a_checkpoint_that_observed_nothing_or_something_else_fits(tmp_path, state):
    save(Checkpoints(tmp_path, state), state, 1)
    observed = {"observed/000/sums": tf.Variable([0.0])}
    state["network/000/kernel"].assign([0.0, 0.0])
    Checkpoints(tmp_path, {**state, **observed}).restore_latest()
    np.testing.assert_array_equal(state["network/000/kernel"], [1.0, 2.0])
    observed["observed/000/sums"].assign([4.0])
    save(Checkpoints(tmp_path, {**state, **observed}), state, 2)
    observed["observed/000/sums"].assign([0.0])
    Checkpoints(tmp_path, {**state, **observed}).restore_latest()
    np.testing.assert_array_equal(observed["observed/000/sums"], [4.0])
    more = {"observed/000/sums": tf.Variable([7.0, 7.0])}  # of a version that observes more
    Checkpoints(tmp_path, {**state, **more}).restore_latest()
    np.testing.assert_array_equal(more["observed/000/sums"], [7.0, 7.0])
    other = {"spikes/000/totals": tf.Variable([0.0])}
    with pytest.raises(InputError, match="does not fit this model"):
        Checkpoints(tmp_path, {**state, **observed, **other}).restore_latest()


def test_the_latest_few_and_the_best_are_kept(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=2)
    for step, score in ((1, 5.0), (2, 3.0), (3, 4.0), (4, None), (5, 6.0)):
        save(checkpoints, state, step, score)
    assert names(checkpoints) == ["step-00000002", "step-00000004", "step-00000005"]
    assert checkpoints.best().name == "step-00000002"


def test_of_a_checkpoint_that_was_moved_elsewhere_the_link_goes(tmp_path, state):
    checkpoints, kept = Checkpoints(tmp_path / "run", state, keep=1), tmp_path / "kept"
    save(checkpoints, state, 1)
    (tmp_path / "run" / "step-00000001").rename(kept)
    (tmp_path / "run" / "step-00000001").symlink_to(kept)
    (tmp_path / "run" / "step-00000002").symlink_to("gone")
    assert checkpoints.restore_latest()["step"] == 1
    save(checkpoints, state, 2)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["step-00000002"]
    assert damage(tmp_path / "run" / "step-00000002") is None
    assert (kept / "state.json").exists()


def test_leftovers_of_a_killed_save_are_not_checkpoints_and_go_away(tmp_path, state):
    (tmp_path / ".step-00000001.partial").mkdir(parents=True)
    checkpoints = Checkpoints(tmp_path, state)
    assert checkpoints.paths() == []
    save(checkpoints, state, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_one_that_another_process_reads_on_a_file_server_goes_later(tmp_path, state, monkeypatch):
    checkpoints = Checkpoints(tmp_path, state, keep=1)
    save(checkpoints, state, 1)
    with monkeypatch.context() as served:
        told = OSError(errno.ENOTEMPTY, "Directory not empty")  # by its .nfs... of an open file
        served.setattr(os, "rmdir", unittest.mock.Mock(side_effect=told))
        save(checkpoints, state, 2)
        assert names(checkpoints) == ["step-00000002"]
    save(checkpoints, state, 3)
    assert names(checkpoints) == os.listdir(tmp_path) == ["step-00000003"]


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_restored(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    save(checkpoints, state, 2)
    flip_a_byte(tmp_path / "step-00000002")
    said = []
    assert checkpoints.restore_latest(said.append)["step"] == 1
    assert "step-00000002 is damaged" in said[0] and "has changed" in said[0]


@pytest.mark.parametrize("name", ["ckpt.index", "state.json"])
def test_a_missing_file_is_damage(tmp_path, state, name):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    folder = tmp_path / "step-00000001"
    assert damage(folder) is None
    (folder / name).unlink()
    assert name in damage(folder)


def test_what_a_checkpoint_says_of_itself_cannot_be_changed(tmp_path, state):
    """No byte of step, images, score, what it was trained on, or the hashes."""
    checkpoints = Checkpoints(tmp_path, state, about={"contents": {"dataset": "0123"}})
    save(checkpoints, state, 1, score=12.5)
    folder = tmp_path / "step-00000001"
    file, written = folder / "state.json", read_state(folder)
    content = file.read_bytes()
    for i in range(len(content)):
        changed = bytearray(content)
        changed[i] ^= 1 << i % 8
        file.write_bytes(changed)
        assert read_state(folder) in (None, written), changed
    file.write_bytes(content)
    assert damage(folder) is None


def old_state(folder, **changes):
    """Rewrites a state.json as it was before it had a hash of its own."""
    state = {k: v for k, v in read_state(folder).items() if k != "about"} | changes
    (folder / "state.json").write_text(json.dumps(state, indent=2))


def test_a_checkpoint_from_before_there_was_a_hash_of_its_state_is_read(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    old_state(tmp_path / "step-00000001")
    assert checkpoints.restore_latest()["images"] == 500
    assert newest_state(tmp_path)["about"] == {}


@pytest.mark.parametrize(
    "change",
    [{"step": 2}, {"images": -1}, {"images": True}, {"score": "1"}, {"sha256": {}}, {"more": 0}],
    ids=str,
)
def test_an_old_state_that_no_checkpoint_can_have_is_damage(tmp_path, state, change):
    save(Checkpoints(tmp_path, state), state, 1)
    old_state(tmp_path / "step-00000001", **change)
    assert "state.json cannot be read" in damage(tmp_path / "step-00000001")


@pytest.mark.parametrize("text", ["[" * 100_000, "[]", "1", "", "\x00", "{}", '{"step": 1'])
def test_a_state_that_is_something_else_is_damage(tmp_path, state, text):
    save(Checkpoints(tmp_path, state), state, 1)
    (tmp_path / "step-00000001" / "state.json").write_text(text)
    assert "state.json cannot be read" in damage(tmp_path / "step-00000001")


def test_a_copy_that_somebody_keeps_is_no_checkpoint(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=1)
    save(checkpoints, state, 1)
    shutil.copytree(tmp_path / "step-00000001", tmp_path / "step-00000001.mine")
    save(checkpoints, state, 2)
    assert names(checkpoints) == ["step-00000002"]
    assert (tmp_path / "step-00000001.mine").is_dir()


def test_on_a_full_disk_what_was_complete_stays_and_nothing_half_written(
    tmp_path, state, monkeypatch
):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    message = "/a/ckpt.index.tempstate1; No space left on device [Op:SaveV2]"
    full = unittest.mock.Mock(side_effect=tf.errors.ResourceExhaustedError(None, None, message))
    monkeypatch.setattr(checkpoints.checkpoint, "write", full)
    with pytest.raises(OSError, match="No space left on device"):
        save(checkpoints, state, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000001"]


def test_a_lack_of_memory_is_no_full_disk(tmp_path, state, monkeypatch):
    checkpoints = Checkpoints(tmp_path, state)
    failure = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")
    monkeypatch.setattr(checkpoints.checkpoint, "write", unittest.mock.Mock(side_effect=failure))
    with pytest.raises(tf.errors.ResourceExhaustedError):
        save(checkpoints, state, 1)


def test_when_every_checkpoint_is_damaged_the_run_does_not_start_over(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    flip_a_byte(tmp_path / "step-00000001")
    with pytest.raises(InputError, match="every checkpoint"):
        checkpoints.restore_latest(lambda line: None)


def test_a_checkpoint_of_another_model_is_one_clear_line(tmp_path, state):
    save(Checkpoints(tmp_path, state), state, 1)
    other = {**state, "network/001/bias": tf.Variable([0.0])}
    with pytest.raises(InputError, match="does not fit this model") as caught:
        Checkpoints(tmp_path, other).restore_latest()
    assert "\n" not in str(caught.value)


def test_the_best_is_chosen_among_scores_of_the_newest_metric(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=9)
    for step, score, metric in ((1, 0.1, "swd"), (2, 7.0, "fcd"), (3, 6.0, "fcd")):
        save(checkpoints, state, step, score, metric)
    assert checkpoints.best().name == "step-00000003"


def test_scores_of_another_feature_network_are_another_metrics(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=9)
    scored = ((1, 2.0, "fcd"), (2, 1.0, "fcd aaaa"), (3, 5.0, "fcd bbbb"), (4, 3.0, "fcd bbbb"))
    for step, score, metric in scored:  # the first of a version that did not say of which
        save(checkpoints, state, step, score, metric)
        if step == 3:
            assert checkpoints.best().name == "step-00000001"
    (tmp_path / "step-00000001").rename(tmp_path / "gone")
    assert checkpoints.best().name == "step-00000004"


def test_a_checkpoint_is_found_as_best_latest_or_by_its_images(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=9)
    for step, score in ((1, 5.0), (2, 3.0), (3, 4.0)):
        save(checkpoints, state, step, score)
    for which, step in (("best", 2), ("latest", 3), ("0.5", 1), ("1", 2)):
        path, found = find_checkpoint(tmp_path, which)
        assert (path.name, found["step"]) == (f"step-{step:08d}", step)
    with pytest.raises(InputError, match=r"checkpoint=7: give best, latest or .*: 0.5, 1, 1.5"):
        find_checkpoint(tmp_path, "7")


def test_checkpoints_a_few_images_apart_in_millions_are_told_apart(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=9)
    for step, images in ((1, 123_456_500), (2, 123_456_400), (3, 200_000_016)):
        checkpoints.save(step, images)
    for which, step in (("123456.5", 1), ("123456.4", 2), ("200000.016", 3), ("200000", 3)):
        assert find_checkpoint(tmp_path, which)[1]["step"] == step  # the last as once written
    with pytest.raises(InputError, match=r"checkpoint=123456: .*: 123456\.5, 123456\.4, 200"):
        find_checkpoint(tmp_path, "123456")


def test_the_latest_has_the_most_steps_however_many_digits(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=9)
    for step in (99_999_999, 100_000_000):
        save(checkpoints, state, step)
    assert find_checkpoint(tmp_path, "latest")[0].name == "step-100000000"


def test_a_newest_checkpoint_that_is_passed_over_is_said(tmp_path, state, capsys):
    checkpoints = Checkpoints(tmp_path, state, keep=9)
    for step in (1, 2):
        save(checkpoints, state, step)
    (tmp_path / "step-00000002/state.json").write_text("{")
    assert find_checkpoint(tmp_path, "latest")[0].name == "step-00000001"
    said = capsys.readouterr().err
    assert said.startswith("warning: ") and "step-00000002 is damaged" in said


def test_a_damaged_newest_one_goes_once_the_run_has_gone_on_without_it(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=1)
    save(checkpoints, state, 1, score=1.0)
    save(checkpoints, state, 3, score=2.0)
    flip_a_byte(tmp_path / "step-00000003")
    assert checkpoints.restore_latest(say=lambda line: None)["step"] == 1
    save(checkpoints, state, 2, score=3.0)
    assert names(checkpoints) == ["step-00000001", "step-00000002"]  # the best and the newest


@pytest.mark.parametrize("closed", ["ckpt.index", "state.json"])
def test_what_the_disk_does_not_give_is_never_deleted(tmp_path, state, closed, monkeypatch, capsys):
    checkpoints = Checkpoints(tmp_path, state, keep=1)
    for step, score in ((1, 1.0), (2, 2.0), (4, 3.0)):
        save(checkpoints, state, step, score)
    opened = open

    def failing(path, *mode, **how):
        if str(path).endswith((f"2/{closed}", f"4/{closed}", "1/state.json")):
            raise OSError(5, "Input/output error", str(path))
        return opened(path, *mode, **how)

    shutil.copytree(tmp_path / "step-00000004", tmp_path / "step-00000002")
    monkeypatch.setattr("builtins.open", failing)
    monkeypatch.setattr(pathlib.Path, "open", failing)
    save(checkpoints, state, 2, 9.0)  # as after falling back to the first, which closes then
    assert names(checkpoints) == ["step-00000001", "step-00000002"]
    said = capsys.readouterr().err
    for step in (2, 4):
        aside = tmp_path / f"step-0000000{step}.old-1"
        assert (aside / "ckpt.index").is_file()
        assert f"{aside.stem} cannot be read; it is now {aside.name}" in said


def test_without_scores_the_best_is_the_latest(tmp_path, state):
    save(Checkpoints(tmp_path, state), state, 1)
    assert find_checkpoint(tmp_path, "best")[0].name == "step-00000001"


def test_an_empty_or_damaged_folder_is_one_line(tmp_path, state):
    with pytest.raises(InputError, match="no checkpoint in it"):
        find_checkpoint(tmp_path, "best")
    save(Checkpoints(tmp_path, state), state, 1)
    flip_a_byte(tmp_path / "step-00000001")
    with pytest.raises(InputError, match="is damaged"):
        find_checkpoint(tmp_path, "latest")


def test_one_part_is_read_in_its_order_without_the_objects(tmp_path):
    numbers = [*range(12), 998, 999, 1000, 1001]  # beyond three digits names sort otherwise
    state = {f"part/{i:03d}/net/w": tf.Variable(float(i)) for i in numbers}
    Checkpoints(tmp_path, {**state, "other/000/net/w": tf.Variable(99.0)}).save(1, 1)
    arrays = read_part(tmp_path / "step-00000001", "part")
    assert [float(a) for a in arrays] == numbers
