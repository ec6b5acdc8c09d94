"""`benchmarks/train_step.py`: what a step takes, of each variant."""

import functools
import json

import pytest
import tensorflow as tf
from absl import flags
from in_process import benchmark, error_line

LADA = """\
--preset=cifar10_32
--g_widths=64,16,4
--g_heads=1,1,1
--g_mlp_widths=4,4,4
--g_modulation=layer_norm
--nog_conv
--d_widths=4,4
--d_out_widths=4,4
--nod_ladaformer
--noise_dim=8
--r1_weight=0
--policy=
"""
GAT = """\
--system=gat
--resolution=64
--latent_size=8
--num_classes=3
--levels=1
--g_shape=16,1,1
--d_shape=16,1,1
--teacher=none
--r1_weight=0
--r2_weight=0
"""


@pytest.fixture
def measure(tmp_path, monkeypatch):
    """`measure(flags)` measures a variant of a config of these flags, in this process."""
    train_step = benchmark("train_step")
    small = functools.partial(train_step.matmul_rate, size=64)
    monkeypatch.setattr(train_step, "matmul_rate", small)
    for name in ("intra", "inter"):  # TensorFlow is set up already, with as many as asked for
        monkeypatch.setattr(tf.config.threading, f"set_{name}_op_parallelism_threads", [].append)
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")  # which it sets itself
    others = set(flags.FLAGS)

    def call(lines):
        (tmp_path / "tiny.cfg").write_text(lines)
        given = ["--variant=float32,0", "--batch_size=2", "--steps=1", "--operations=3"]
        given.append(f"--config={tmp_path / 'tiny.cfg'}")
        monkeypatch.setattr(train_step.sys, "argv", ["train_step.py", *given])
        train_step.main()

    yield call
    for name in set(flags.FLAGS) - others:
        delattr(flags.FLAGS, name)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [LADA, GAT], ids=["without classes", "latents of classes"])
def test_a_variant_is_measured(measure, capsys, lines):
    measure(lines)
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["batch_size"] == 2 and found["seconds_per_step"] > 0.0
    assert found["train_images_per_s"] > 0.0 < found["generator_images_per_s"]
    assert found["training_multiply_adds_per_image"] > 0 < found["peak_memory_gb"]
    kinds = found["seconds_by_kind_of_operation"]
    assert len(kinds) == 3 and sorted(kinds.values(), reverse=True) == list(kinds.values())
    assert any("MatMul" in kind or "Conv2D" in kind or kind == "Mul" for kind in kinds), kinds


def test_what_has_no_variants_is_one_line(measure, tmp_path, capsys):
    line = error_line(measure, ["--system=flow\n--resolution=32\n"], capsys)
    assert line == f"error: --config={tmp_path / 'tiny.cfg'}: of lada, gat or cat, not flow"
