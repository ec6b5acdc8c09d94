"""Where a run computes, in words."""

import unittest.mock

import pytest
import tensorflow as tf

from ladagan_tf import devices
from ladagan_tf.errors import InputError


def test_the_start_line_names_devices_precision_and_xla():
    line = devices.in_words("mixed_bfloat16", jit=True)
    assert line.endswith("; mixed_bfloat16, XLA on") and "\n" not in line
    if not tf.config.list_physical_devices("GPU"):
        assert line.startswith("no GPU found, training on the CPU: ")


def test_a_gpu_that_tensorflow_does_not_see_is_told_with_the_way_out(tmp_path):
    assert devices.unseen_gpu(tmp_path / "none") is None
    assert devices.unseen_gpu(tmp_path) is None  # a driver without a card
    (tmp_path / "0000:01:00.0").mkdir()
    if not tf.config.list_physical_devices("GPU"):
        assert "tensorflow[and-cuda]" in devices.unseen_gpu(tmp_path)


def test_a_precision_that_is_emulated_is_told_with_the_way_out(monkeypatch):
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: True)
    assert devices.emulated("mixed_bfloat16") is None
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda: False)
    assert devices.emulated("float32") is None
    assert "--precision=float32" in devices.emulated("mixed_bfloat16")


def test_a_batch_is_padded_by_its_last_row():
    assert devices.padded([[1], [2]], 4).tolist() == [[1], [2], [2], [2]]


def test_what_is_said_to_several_workers_is_nothing_to_the_devices_of_one(monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "none\nsuch")
    assert devices.make_strategy("mirrored").num_replicas_in_sync >= 1


def test_a_worker_that_cannot_listen_is_one_line(monkeypatch):
    monkeypatch.setenv(
        "TF_CONFIG", '{"cluster": {"worker": ["host:1"]}, "task": {"type": "worker", "index": 0}}'
    )
    refused = tf.errors.UnknownError(None, None, "Could not start gRPC server")
    failing = unittest.mock.Mock(side_effect=refused)
    monkeypatch.setattr(tf.distribute, "MultiWorkerMirroredStrategy", failing)
    with pytest.raises(InputError, match=r"^strategy=multiworker: .*Could not start gRPC server"):
        devices.make_strategy("multiworker")
