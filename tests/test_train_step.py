"""`benchmarks/train_step.py`: what a step takes, of each variant in a process of its own."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
LADA = """\
--preset=cifar10_32
--g_widths=16,8,4
--g_heads=1,1,1
--g_mlp_widths=4,4,4
--d_widths=4,4
--d_out_widths=4,4
--d_heads=1
--d_mlp_width=4
--noise_dim=8
"""
GAT = """\
--system=gat
--resolution=64
--latent_size=8
--num_classes=3
--g_shape=16,4,1
--d_shape=16,4,1
--teacher=none
"""


def measured(folder, flags, *more):
    """The finished process that measures a config of these flags."""
    (folder / "tiny.cfg").write_text(flags)
    code = [sys.executable, "benchmarks/train_step.py", f"--config={folder / 'tiny.cfg'}", *more]
    return subprocess.run(code, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("flags", [LADA, GAT], ids=["without classes", "latents of classes"])
def test_a_variant_is_measured(tmp_path, flags):
    done = measured(
        tmp_path, flags, "--batch_size=2", "--steps=1", "--variant=float32,0", "--operations=3"
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["batch_size"] == 2 and found["seconds_per_step"] > 0.0
    assert found["train_images_per_s"] > 0.0 < found["generator_images_per_s"]
    assert found["training_multiply_adds_per_image"] > 0 < found["peak_memory_gb"]
    kinds = found["seconds_by_kind_of_operation"]
    assert len(kinds) == 3 and sorted(kinds.values(), reverse=True) == list(kinds.values())
    assert any("MatMul" in kind or "Conv2D" in kind or kind == "Mul" for kind in kinds), kinds


@pytest.mark.slow
def test_what_has_no_variants_is_one_line(tmp_path):
    done = measured(tmp_path, "--system=flow\n--resolution=32\n")
    assert done.returncode == 2 and done.stdout == ""
    said = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert said == [f"error: --config={tmp_path / 'tiny.cfg'}: of lada, gat or cat, not flow"]
