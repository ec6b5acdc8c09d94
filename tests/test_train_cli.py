"""`train.py`, in processes of its own where it is stopped: exact resume, damage, divergence.

Without graphs where not the step but what is around it is looked at; a run of graphs in two parts:
test_train_flow_cli.py.
"""

import json
import re
import shutil
import signal
import socket
import types
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from train_processes import (
    Process,
    assert_identical,
    run_each,
    run_named,
    stats,
    variables,
    wait_for_checkpoint,
)

from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.flags import model
from ladagan_tf.locks import locked
from ladagan_tf.runs import snapshots
from ladagan_tf.runs.checkpoints import best_checkpoint, read_state

STEPS = 6
BATCH = 8
TINY = [
    "--g_widths=64,16,4",
    "--g_heads=1,1,1",
    "--g_mlp_widths=16,16,16",
    "--g_modulation=layer_norm",
    "--nog_conv",
    "--noise_dim=8",
    "--d_widths=8,16",
    "--nod_ladaformer",
    "--d_out_widths=16,16",
    f"--batch_size={BATCH}",
    f"--total_kimg={STEPS * BATCH / 1000}",
    "--log_kimg=0.016",
    "--sample_kimg=0.048",
    "--checkpoint_kimg=0.016",
    "--metric=swd",
    "--metric_images=20",
    "--metric_kimg=0.024",
    "--grid=2",
    "--seed=3",
]
CHANGING = ["--posthoc_ema", "--posthoc_sigma_rel=0.1"]
CHANGING += ["--schedule=cosine", "--schedule_kimg=0.04", "--lr_final=0.5"]
REFUSALS = {
    "--g_widths=64,16,x": "--g_widths=64,16,x: give integers",
    "--g_heads=1,3,1": "--g_heads=1,3,1: 3 does not divide 16 of --g_widths=64,16,4",
    "--resolution=64": "prepared with resolution=32",
    "--g_lr=0": "--g_lr=0.0: it must be a finite number greater than 0",
    "--micro_batches=3": "--micro_batches=3 does not divide",
    "--seed=-1": "--seed=-1: ",
    f"--seed={2**63}": f"--seed={2**63}: ",
    "--total_kimg=inf": "--total_kimg=inf: give a number <= 1000000000.0",
    "--total_kimg=nan": "--total_kimg=nan: it must be a finite number",
    "--beta1=1.5": "--beta1=1.5: it must be from 0 to below 1",
    "--ema_decay=2": "--ema_decay=2.0: it must be from 0 to below 1",
    "--r1_weight=-1": "--r1_weight=-1.0: it must be a finite number from 0 on",
    "--r2_weight=nan": "--r2_weight=nan: it must be a finite number",
    "--schedule_kimg=0": "--schedule_kimg=0.0: it must be a finite number greater than 0",
    "--schedule=constant": "--lr_final=0.5: it needs --schedule=linear or cosine",
    "--lr_final=1": "--schedule=cosine: nothing changes along it; give --lr_final, --penalty_final",
    "--ema_decays=0.9,1": "--ema_decays=0.9,1: give numbers from 0 to below 1",
    "--ema_halflives_kimg=x": "--ema_halflives_kimg=x: give numbers greater than 0",
    "--posthoc_sigma_rel=0.4": "--posthoc_sigma_rel=0.4: give numbers from 0.001 to below 0.2887",
    "--noposthoc_ema --posthoc_sigma_rel=0.1": "--posthoc_sigma_rel=0.1: it needs --posthoc_ema",
    "--ema_rampup=0.1": "--ema_rampup=0.1: it needs --ema_halflife_kimg or",
    "--freeze_d=2": "--freeze_d=2: it needs --init_from, whose weights stay",
    "--subset=2": "--subset=2.0: it must be above 0, at most 1",
    "--augment_p=1.1": "--augment_p=1.1: it must be from 0 to 1",
    "--augment_target=1": "--augment_target=1.0: it must be from 0 to below 1",
    "--augment_kimg=9": "--augment_kimg=9.0: it needs --augment_target",
    "--penalty_share=0.3": "--penalty_share=0.3: give 1, 1/2, 1/3 ... as 1, 0.5, 0.33",
    "--penalty_share=0.33": "--batch_size=8: it must be a multiple of 3, 1 replicas x "
    "--micro_batches=1 x 3 for --penalty_share=0.33",
    "--levels=4": "--levels: there is no such flag with --system=lada",
}
LONGER = ["--batch_size=16", "--total_kimg=0.064"]  # by a step
UNSEEN = ["--metric=none", "--sample_kimg=9"]  # what is not looked at
MEASURED = ["--metric_kimg=0.008", "--log_kimg=0.4", "--sample_kimg=9", "--checkpoint_kimg=0.4"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "shapes"
    prepare("shapes", folder, resolution=32, num_images=50, workers=1)
    return folder


def plain(dataset, run_dir, *flags):
    return [f"--dataset={dataset}", f"--run_dir={run_dir}", *TINY, *flags]


def given(dataset, run_dir, *flags):
    return plain(dataset, run_dir, *CHANGING, *flags)


@pytest.fixture(scope="module")
def reference(dataset, tmp_path_factory):
    """A run that nothing interrupted."""
    run_dir = tmp_path_factory.mktemp("runs") / "reference"
    (output,) = run_each([given(dataset, run_dir)], eagerly=True)
    assert output.endswith("code 0\n"), output
    return run_dir


@pytest.fixture(scope="module")
def place(reference, dataset, tmp_path_factory):
    """Copies of the reference to start again."""
    place = tmp_path_factory.mktemp("place")
    for name in ("finished", "changed", "diverged"):
        shutil.copytree(reference, place / name)
    lines = (reference / "flags.cfg").read_text().splitlines(keepends=True)
    (place / "before").mkdir()
    old = "".join(line for line in lines if not line.startswith("--draw_keys"))
    (place / "before" / "flags.cfg").write_text(old)
    shutil.copytree(dataset, place / "set elsewhere")
    prepare("shapes", place / "other set", resolution=32, num_images=50, workers=1, seed=1)
    return place


@pytest.fixture(scope="module")
def outputs(dataset, place):
    """By name, what starts of one process printed, and "code N" at the end."""

    def flags(name, *more):
        return given(dataset, place / name, *more)

    starts = {
        "moved": [
            f"--flagfile={place / 'finished' / 'flags.cfg'}",
            f"--dataset={place / 'set elsewhere'}",
        ],
        "changed": flags("changed", "--r1_weight=0.5"),
        "other set": flags("changed", f"--dataset={place / 'other set'}"),
        "forced": flags("changed", "--r1_weight=0.5", "--force", *LONGER, *UNSEEN),
        "diverged": flags("diverged", "--g_lr=1e30", "--total_kimg=0.4", "--force", *MEASURED),
        "dry_run": flags("before", "--dry_run"),
        **{words: flags("refused", *words.split()) for words in REFUSALS},
    }
    with unittest.mock.patch.dict("os.environ", COLUMNS="1"):  # of a terminal, for the dry run
        return run_named(starts)


def assert_refused(output):
    assert output.endswith("code 2\n"), output
    assert "Traceback" not in output


def test_a_run_directory_holds_what_the_readme_promises(reference):
    windows = [line for line in stats(reference) if "d_loss" in line]
    assert [line["step"] for line in windows] == [2, 4, 6]
    assert [line["kimg"] for line in windows] == [0.016, 0.032, 0.048]
    names = {path.name for path in (reference / "samples").iterdir()}
    assert names == {
        f"{kind}_{kimg}kimg.png"
        for kind in ("samples", "attention")
        for kimg in ("000000.000", "000000.048")
    }
    kept = {path.name for path in (reference / "checkpoints").iterdir()}
    assert {"step-00000004", "step-00000006"} <= kept
    assert "--seed=3" in (reference / "flags.cfg").read_text().splitlines()
    environment = json.loads((reference / "environment.json").read_text())
    assert environment[0]["tensorflow"] == tf.__version__
    assert any((reference / "tensorboard").iterdir())
    page = (reference / "report.html").read_text()
    assert "0.048 of 0.048 kimg" in page and page.count("<figure><figcaption>") == 3
    for name in ("reals.png", "curves.png", "timelapse.gif"):
        assert Image.open(reference / name).size > (300, 300)


def test_the_quick_metric_is_recorded_and_its_best_checkpoint_kept(reference):
    measured = {line["step"]: line["swd_20"] for line in stats(reference) if "swd_20" in line}
    assert list(measured) == [3, 6]
    best = best_checkpoint(reference / "checkpoints")
    assert best.name == f"step-{min(measured, key=measured.get):08d}"


def test_a_stopped_then_killed_then_damaged_run_continues_as_if_nothing_had_been(
    reference, tmp_path
):
    """From the reference's flags.cfg alone: so that reproduces a run, too."""
    run_dir = tmp_path / "run"
    again = [f"--flagfile={reference / 'flags.cfg'}", f"--run_dir={run_dir}"]
    process = Process([*again, "--checkpoint_kimg=0.008"], eagerly=True)
    wait_for_checkpoint(run_dir, process, 1)
    process.send_signal(signal.SIGTERM)
    code, output = process.finish()
    assert code == 4, output
    assert "stopped by SIGTERM; run the same command to continue" in output
    stopped = int(latest(run_dir).name.split("-")[1])
    process = Process(again, eagerly=True)
    wait_for_checkpoint(run_dir, process, min(stopped + 2 - stopped % 2, STEPS))
    process.kill()
    process.finish()
    damaged = latest(run_dir)
    (data,) = damaged.glob("ckpt.data*")
    content = bytearray(data.read_bytes())
    content[len(content) // 2] ^= 1
    data.write_bytes(content)
    (output,) = run_each([again], eagerly=True, reports=False)
    assert output.endswith("code 0\n"), output
    assert f"{damaged.name} is damaged" in output and "falling back" in output
    assert_identical(run_dir, reference, STEPS)
    assert_same_snapshots(run_dir, reference)
    assert_said_by_us(output, run_dir)


def assert_same_snapshots(run_dir, reference):
    """One of every due checkpoint, also of those that are deleted; the same bits in each."""
    ours, theirs = (snapshots.read_entries(path / "averages") for path in (run_dir, reference))
    assert [entry.step for entry in theirs] == [2, 4, 6]
    for entry in theirs:
        (again,) = (one for one in ours if one.step == entry.step)
        pairs = zip(snapshots.read(again).averages, snapshots.read(entry).averages, strict=True)
        for average, expected in pairs:
            for array, other in zip(average, expected, strict=True):
                np.testing.assert_array_equal(array, other)


def assert_said_by_us(output, run_dir):
    """Not a line of TensorFlow's, and without a terminal no bar: what the run's log has as well."""
    logged = (run_dir / "log.txt").read_text().splitlines()
    said = output.removesuffix("code 0\n").splitlines()
    lines = [line for line in said if " is already prepared: " not in line]
    assert lines == logged[-len(lines) :] and f"{run_dir}: finished" in output
    assert any("stopped by SIGTERM" in line for line in logged)
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d ", line) for line in logged)


def latest(run_dir):
    """Its latest checkpoint."""
    return max((run_dir / "checkpoints").glob("step-*"))


def test_a_finished_run_is_prolonged_and_changed_mathematics_refused_unless_forced(outputs, place):
    assert_refused(outputs["changed"])
    expected = "--r1_weight=0.5 (the run has 0.0001) would change the mathematics"
    assert expected in outputs["changed"]
    assert outputs["forced"].endswith("code 0\n"), outputs["forced"]
    assert stats(place / "changed")[-1]["step"] == 7


def test_images_are_counted_whatever_batches_they_came_in(outputs, place):
    """Six steps of 8 images and one of 16."""
    assert stats(place / "changed")[-1]["kimg"] == 0.064
    assert read_state(place / "changed" / "checkpoints" / "step-00000007")["images"] == 64
    assert "step 6 of 7" in outputs["forced"]


def test_a_run_that_is_finished_and_moved_says_so_on_the_same_images(outputs, place):
    assert outputs["moved"].endswith("code 0\n"), outputs["moved"]
    assert f"{place / 'finished'}: already trained" in outputs["moved"]


def test_other_images_are_refused(outputs, place):
    assert_refused(outputs["other set"])
    assert f"--dataset={place / 'other set'} holds something else" in outputs["other set"]


def test_divergence_stops_the_run_and_keeps_the_last_good_checkpoint(outputs, place, reference):
    assert outputs["diverged"].endswith("code 3\n"), outputs["diverged"]
    assert "Traceback" not in outputs["diverged"]
    assert "images became NaN or infinite; the last" in outputs["diverged"]
    assert "the last good checkpoint is" in outputs["diverged"]
    assert "step-00000006. Lower --g_lr" in outputs["diverged"]
    after = variables(place / "diverged", STEPS)
    for name, value in variables(reference, STEPS).items():
        np.testing.assert_array_equal(after[name], value)


@pytest.mark.parametrize("flag", REFUSALS)
def test_bad_flags_end_in_one_line(outputs, place, flag):
    assert_refused(outputs[flag])
    assert REFUSALS[flag] in outputs[flag]
    assert not (place / "refused").exists()


def test_a_batch_larger_than_the_set_is_one_line_before_networks_are_built(dataset, monkeypatch):
    monkeypatch.setattr(model, "build", None)
    (output,) = run_each([plain(dataset, "nowhere", "--batch_size=64")])
    assert_refused(output)
    assert "50 images, fewer than one batch; batch_size=64 must be at most that" in output


def test_dry_run_prints_flags_summaries_and_cost_and_writes_nothing(outputs, place):
    output = outputs["dry_run"]
    assert output.endswith("code 0\n"), output
    for expected in ("--batch_size=8", "latent_to_tokens", "from_rgb", "multiply-adds", "memory"):
        assert expected in output
    assert [path.name for path in (place / "before").iterdir()] == ["flags.cfg"]


def test_a_run_that_began_before_there_was_a_choice_keeps_keys_of_32_bits(outputs, reference):
    assert "--draw_keys=32\n" in outputs["dry_run"]
    assert "--draw_keys=64\n" in (reference / "flags.cfg").read_text()


@pytest.mark.parametrize(("batch", "parts", "replicas"), [(6, 2, 2), (4, 4, 4), (8, 1, 3)])
def test_parts_of_several_devices_leave_no_image_out(batch, parts, replicas):
    """6 images are 3 for each of 2 devices, which 2 parts do not divide."""
    strategy = types.SimpleNamespace(num_replicas_in_sync=replicas)
    flags = types.SimpleNamespace(batch_size=batch, micro_batches=parts)
    with (
        unittest.mock.patch.object(model, "penalty_every", lambda: 1),
        unittest.mock.patch.object(model, "FLAGS", flags),
        pytest.raises(InputError, match=f"--batch_size={batch}: it must be a multiple of "),
    ):
        model.check_split(strategy)


def test_two_workers_stop_together_continue_and_equal_two_parts_of_one_batch(dataset, tmp_path):
    """Both normalise batches of four with their own statistics, so the weights agree."""
    parts, run_dir = tmp_path / "parts", tmp_path / "workers"
    # Fast to trace.
    flags = ["--policy=", "--r1_weight=0", *UNSEEN]
    flags += ["--checkpoint_kimg=0.024", f"--keep_checkpoints={STEPS}"]
    alone = plain(dataset, parts, *flags, "--micro_batches=2", "--total_kimg=0.024")
    (output,) = run_each([alone], eagerly=True, reports=False)
    assert output.endswith("code 0\n"), output

    together = plain(dataset, run_dir, *flags, "--strategy=multiworker")
    chief, other = start_workers([*together, "--checkpoint_kimg=0.008"], eagerly=True)
    wait_for_checkpoint(run_dir, chief, 1)
    other.send_signal(signal.SIGTERM)
    for process, by in ((chief, "a signal to another worker"), (other, "SIGTERM")):
        code, output = process.finish()
        assert code == 4, output
        assert output.endswith(f"stopped by {by}; run the same command to continue {run_dir}\n")
    stopped = int(latest(run_dir).name.split("-")[1])
    assert stopped < STEPS
    chief, other = start_workers(together)
    (code, output), (other_code, other_output) = chief.finish(), other.finish()
    assert code == 0 and f"step {stopped} of {STEPS}" in output, output
    assert other_code == 0, other_output

    assert [line["step"] for line in stats(run_dir)] == [2, 4, 6]
    ours, expected = variables(run_dir, 3), variables(parts, 3)
    moved = 0
    for name, value in expected.items():
        if "generator" in name and "optimizer" not in name:
            # Adam moves a weight of next to no gradient by its rate, 2e-4, whichever way it rounds.
            np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-4, err_msg=name)
            moved += 1
    assert moved > 50


def test_a_worker_whose_chief_is_refused_ends_in_one_line(dataset, tmp_path):
    run_dir = tmp_path / "run"
    with locked(run_dir, "run_dir", inside=True):
        chief, other = start_workers(given(dataset, run_dir, "--strategy=multiworker"))
        code, output = chief.finish()
        assert code == 2 and "is writing there" in output.splitlines()[-1], output
        code, output = other.finish()
    assert code == 2 and "Traceback" not in output, output
    last = output.splitlines()[-1]
    assert re.match(r"error: worker 1 of 2: worker 0 \(localhost:\d+\) has ended or cannot", last)
    assert last.endswith(f"to continue {run_dir} from its latest checkpoint")
    assert not run_dir.exists()


def start_workers(flags, eagerly=False):
    """Two processes that train one run: the chief, and the other."""
    cluster = {"worker": [f"localhost:{free_port()}", f"localhost:{free_port()}"]}
    tasks = ({"type": "worker", "index": index} for index in range(2))
    return [
        Process(flags, {"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})}, eagerly)
        for task in tasks
    ]


def free_port():
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]
