"""Where a run computes, in words."""

import tensorflow as tf

from ladagan_tf import devices


def test_the_start_line_names_devices_precision_and_xla():
    line = devices.in_words("mixed_bfloat16", jit=True)
    assert line.endswith("; mixed_bfloat16, XLA on") and "\n" not in line
    if not tf.config.list_physical_devices("GPU"):
        assert line.startswith("no GPU found, on the CPU: ")


def test_a_gpu_that_tensorflow_does_not_see_is_told_with_the_way_out(tmp_path):
    assert devices.unseen_gpu(tmp_path / "none") is None
    assert devices.unseen_gpu(tmp_path) is None  # a driver without a card
    (tmp_path / "0000:01:00.0").mkdir()
    if not tf.config.list_physical_devices("GPU"):
        assert "tensorflow[and-cuda]" in devices.unseen_gpu(tmp_path)


def test_a_batch_is_padded_by_its_last_row():
    assert devices.padded([[1], [2]], 4).tolist() == [[1], [2], [2], [2]]
