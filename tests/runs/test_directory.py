"""The run directory keeps true statistics and unchanged mathematics."""

import json

import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.runs.environment import environment


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
