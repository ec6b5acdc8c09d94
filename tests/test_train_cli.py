"""`train.py` through real processes: exact resume, signals, damage, divergence, strategies."""

import json
import shutil
import signal
import socket
import sys

import numpy as np
import pytest
import tensorflow as tf
from train_processes import (
    assert_identical,
    finish,
    start,
    start_each,
    stats,
    variables,
    wait_for_checkpoint,
)

from ladagan_tf.data.preparation import prepare
from ladagan_tf.training.checkpoints import best_checkpoint

STEPS = 12
BATCH = 8
TINY = [
    "--g_widths=32,16,16",
    "--g_heads=2,2,2",
    "--g_mlp_widths=16,16,16",
    "--noise_dim=8",
    "--d_widths=8,16",
    "--d_heads=2",
    "--d_mlp_width=16",
    "--d_out_widths=16,16",
    f"--batch_size={BATCH}",
    f"--total_kimg={STEPS * BATCH / 1000}",
    "--log_kimg=0.024",
    "--sample_kimg=0.048",
    "--checkpoint_kimg=0.016",
    "--metric=swd",
    "--metric_images=20",
    "--metric_kimg=0.048",
    "--grid=2",
    "--seed=3",
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    prepare("shapes", folder, resolution=32, num_images=50, workers=1)
    return folder


def command(dataset, run_dir, *flags):
    return [
        sys.executable,
        "train.py",
        f"--dataset={dataset}",
        f"--run_dir={run_dir}",
        *TINY,
        *flags,
    ]


@pytest.fixture(scope="module")
def reference(dataset, tmp_path_factory):
    """A run that nothing interrupted."""
    run_dir = tmp_path_factory.mktemp("runs") / "reference"
    code, output = finish(start(command(dataset, run_dir)))
    assert code == 0, output
    return run_dir


def test_a_run_directory_holds_what_the_readme_promises(reference):
    windows = [line for line in stats(reference) if "d_loss" in line]
    assert [line["step"] for line in windows] == [3, 6, 9, 12]
    assert [line["kimg"] for line in windows] == [0.024, 0.048, 0.072, 0.096]
    names = {path.name for path in (reference / "samples").iterdir()}
    assert names == {
        f"{kind}_{kimg}kimg.png"
        for kind in ("samples", "attention")
        for kimg in ("000000.000", "000000.048", "000000.096")
    }
    kept = {path.name for path in (reference / "checkpoints").iterdir()}
    assert {"step-00000010", "step-00000012"} <= kept
    assert "--seed=3" in (reference / "flags.cfg").read_text().splitlines()
    environment = json.loads((reference / "environment.json").read_text())
    assert environment[0]["tensorflow"] == tf.__version__
    assert any((reference / "tensorboard").iterdir())


def test_the_quick_metric_is_recorded_and_its_best_checkpoint_kept(reference):
    measured = {line["step"]: line["swd_20"] for line in stats(reference) if "swd_20" in line}
    assert list(measured) == [6, 12]
    best = best_checkpoint(reference / "checkpoints")
    assert best.name == f"step-{min(measured, key=measured.get):08d}"


def test_kill_and_the_same_command_again_is_the_uninterrupted_run(dataset, reference, tmp_path):
    run_dir = tmp_path / "killed"
    for step in (2, 6):
        process = start(command(dataset, run_dir))
        wait_for_checkpoint(run_dir, process, step)
        process.kill()
        finish(process)
    code, output = finish(start(command(dataset, run_dir)))
    assert code == 0, output
    assert_identical(run_dir, reference, STEPS)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_and_says_how_to_continue(dataset, reference, tmp_path, number):
    run_dir = tmp_path / "stopped"
    process = start(command(dataset, run_dir, "--checkpoint_kimg=0.008"))
    wait_for_checkpoint(run_dir, process, 1)
    process.send_signal(number)
    code, output = finish(process)
    assert code == 0, output
    assert f"stopped by {number.name}; run the same command to continue" in output
    code, output = finish(start(command(dataset, run_dir)))
    assert code == 0, output
    assert_identical(run_dir, reference, STEPS)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(dataset, reference, tmp_path):
    run_dir = tmp_path / "damaged"
    shutil.copytree(reference, run_dir)
    (data,) = (run_dir / "checkpoints" / "step-00000012").glob("ckpt.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    code, output = finish(start(command(dataset, run_dir)))
    assert code == 0, output
    assert "step-00000012 is damaged" in output
    assert "falling back" in output
    assert_identical(run_dir, reference, STEPS)


def test_a_finished_run_says_so_and_can_be_prolonged(dataset, reference, tmp_path):
    run_dir = tmp_path / "finished"
    shutil.copytree(reference, run_dir)
    code, output = finish(start(command(dataset, run_dir)))
    assert code == 0, output
    assert "already trained" in output
    code, output = finish(start(command(dataset, run_dir, "--total_kimg=0.104")))
    assert code == 0, output
    assert stats(run_dir)[-1]["step"] == 13


def test_changed_mathematics_is_refused_unless_forced(dataset, reference, tmp_path):
    run_dir = tmp_path / "changed"
    shutil.copytree(reference, run_dir)
    code, output = finish(start(command(dataset, run_dir, "--r1_weight=0.5")))
    assert code == 2
    assert "--r1_weight=0.5 (the run has 0.0001) would change the mathematics" in output
    assert "Traceback" not in output
    code, output = finish(start(command(dataset, run_dir, "--r1_weight=0.5", "--force")))
    assert code == 0, output


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(dataset, reference, tmp_path):
    run_dir = tmp_path / "diverged"
    shutil.copytree(reference, run_dir)
    before = variables(run_dir, STEPS)
    code, output = finish(
        start(command(dataset, run_dir, "--g_lr=1e30", "--total_kimg=0.4", "--force"))
    )
    assert code == 2, output
    assert "NaN or infinite" in output
    assert "the last good checkpoint is" in output
    assert "step-00000012. Lower --g_lr" in output
    assert "Traceback" not in output
    after = variables(run_dir, STEPS)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value)


def test_flags_cfg_alone_reproduces_the_run(dataset, reference, tmp_path):
    flags = tmp_path / "flags.cfg"
    shutil.copy(reference / "flags.cfg", flags)
    run_dir = tmp_path / "again"
    arguments = [sys.executable, "train.py", f"--flagfile={flags}", f"--run_dir={run_dir}"]
    code, output = finish(start(arguments))
    assert code == 0, output
    assert_identical(run_dir, reference, STEPS)


def test_two_workers_equal_two_replicas(dataset, tmp_path):
    """Both normalise batches of four with their own statistics, so the weights agree."""
    replicas = tmp_path / "replicas"
    flags = ["--total_kimg=0.032", "--policy="]  # four steps
    mirrored = ["--strategy=mirrored", "--virtual_cpus=2"]
    code, output = finish(start(command(dataset, replicas, *flags, *mirrored)))
    assert code == 0, output
    assert "1 worker(s) x 2 replica(s)" in output

    run_dir = tmp_path / "workers"
    cluster = {"worker": [f"localhost:{free_port()}", f"localhost:{free_port()}"]}
    processes = []
    for index in range(2):
        config = json.dumps({"cluster": cluster, "task": {"type": "worker", "index": index}})
        arguments = command(dataset, run_dir, *flags, "--strategy=multiworker")
        processes.append(start(arguments, TF_CONFIG=config))
    for process in processes:
        code, output = finish(process)
        assert code == 0, output
    ours, expected = variables(run_dir, 4), variables(replicas, 4)
    moved = 0
    for name, value in expected.items():
        if "generator" in name and "optimizer" not in name:
            np.testing.assert_allclose(ours[name], value, atol=1e-5, err_msg=name)
            moved += 1
    assert moved > 50


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


def test_bad_flags_end_in_one_line(dataset, tmp_path):
    refusals = {
        "--batch_size=64": "fewer than one batch; batch_size=64",
        "--g_widths=32,16,x": "--g_widths=32,16,x: give integers",
        "--g_heads=2,3,2": "num_heads=[2, 3, 2]: 3 does not divide the width 16",
        "--policy=colour": "policy='colour': 'colour' is not one of color",
        "--resolution=64": "prepared with resolution=32",
        "--g_lr=0": "--g_lr=0.0: it must be greater than 0",
        "--micro_batches=3": "--micro_batches=3 does not divide",
        "--levels=4": "--levels: there is no such flag with --system=lada",
    }
    starts = [command(dataset, tmp_path / "run", flag)[2:] for flag in refusals]
    for message, output in zip(refusals.values(), start_each(starts), strict=True):
        assert output.endswith("code 2\n"), output
        assert message in output
        assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


def test_dry_run_prints_flags_summaries_and_cost_and_writes_nothing(dataset, tmp_path):
    code, output = finish(start(command(dataset, tmp_path / "run", "--dry_run")))
    assert code == 0, output
    for expected in ("--batch_size=8", "latent_to_tokens", "from_rgb", "multiply-adds", "memory"):
        assert expected in output
    assert not (tmp_path / "run").exists()
