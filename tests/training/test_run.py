"""The run directory keeps complete checkpoints, true statistics and unchanged mathematics."""

import json

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.training.run import Checkpoints, RunDirectory, damage, environment


@pytest.fixture
def state():
    return {"network/000/kernel": tf.Variable([1.0, 2.0]), "counters/000/step": tf.Variable(0)}


def save(checkpoints, state, step, score=None):
    state["counters/000/step"].assign(step)
    checkpoints.save(step, images=8 * step, score=score)


def names(checkpoints):
    return [path.name for path in checkpoints.paths()]


def flip_a_byte(folder):
    (data,) = folder.glob("ckpt.data*")
    content = bytearray(data.read_bytes())
    content[0] ^= 1
    data.write_bytes(content)


def test_the_newest_checkpoint_is_restored(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state)
    assert checkpoints.restore_latest() == 0
    for step in (1, 2):
        save(checkpoints, state, step)
    state["counters/000/step"].assign(9)
    state["network/000/kernel"].assign([0.0, 0.0])
    assert checkpoints.restore_latest() == 2
    assert state["counters/000/step"].numpy() == 2
    np.testing.assert_array_equal(state["network/000/kernel"], [1.0, 2.0])


def test_the_latest_few_and_the_best_are_kept(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state, keep=2)
    for step, score in ((1, 5.0), (2, 3.0), (3, 4.0), (4, None), (5, 6.0)):
        save(checkpoints, state, step, score)
    assert names(checkpoints) == ["step-00000002", "step-00000004", "step-00000005"]
    assert checkpoints.best().name == "step-00000002"


def test_leftovers_of_a_killed_save_are_not_checkpoints_and_go_away(tmp_path, state):
    (tmp_path / ".step-00000001.partial").mkdir(parents=True)
    checkpoints = Checkpoints(tmp_path, state)
    assert checkpoints.paths() == []
    save(checkpoints, state, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000002"]


def test_a_damaged_checkpoint_is_noticed_and_the_one_before_is_restored(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    save(checkpoints, state, 2)
    flip_a_byte(tmp_path / "step-00000002")
    said = []
    assert checkpoints.restore_latest(said.append) == 1
    assert "step-00000002 is damaged" in said[0] and "has changed" in said[0]


@pytest.mark.parametrize("name", ["ckpt.index", "state.json"])
def test_a_missing_file_is_damage(tmp_path, state, name):
    checkpoints = Checkpoints(tmp_path, state)
    save(checkpoints, state, 1)
    folder = tmp_path / "step-00000001"
    assert damage(folder) is None
    (folder / name).unlink()
    assert name in damage(folder)


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


def test_statistics_after_the_restored_step_and_a_cut_line_are_dropped(tmp_path):
    run = RunDirectory(tmp_path)
    for step in (1, 2, 3):
        run.append_stats({"step": step})
    with open(run.stats_file, "a") as file:
        file.write('{"step": 4, "d_lo')
    run.truncate_stats(2)
    assert [json.loads(line)["step"] for line in run.stats_file.read_text().splitlines()] == [1, 2]


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
