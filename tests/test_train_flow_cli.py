"""`train.py --system=flow`, on images and on latents: exact resume, sampling, what is refused."""

import functools
import json
import re

import latents_of_shapes
import numpy as np
import pytest
from in_process import command, error_line
from train_processes import PARTS, assert_continues, run_each, run_named, stats

from ladagan_tf import evaluate, generate
from ladagan_tf.cost import speed
from ladagan_tf.flags import evaluate as evaluate_flags
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.runs import results
from ladagan_tf.sampling import opening

TINY = [
    "--system=flow",
    "--patch=4",
    "--g_shape=16,1,2",
    "--sampler_steps=2",
    "--batch_size=4",
    "--micro_batches=2",
    "--total_kimg=0.008",
    "--log_kimg=0.004",
    "--sample_kimg=0.004",
    "--checkpoint_kimg=0.004",
    "--grid=2",
    "--seed=3",
]
LATENTS = ["--space=latents", "--dataset=FOLDER/latents", "--latent_size=8", "--conditional"]
REFUSALS = {
    "--r1_weight=0.1": "--r1_weight: there is no such flag with --system=flow",
    "--d_lr=0.1": "--d_lr: there is no such flag with --system=flow",
    "--policy=color": "--policy: there is no such flag with --system=flow",
    "--noise_dim=8": "--noise_dim: there is no such flag with --system=flow",
    "--system=gat --sampler=euler": "--sampler: there is no such flag with --system=gat",
    "--sampler_steps=0": "sampler_steps=0",
    "--sampler=rk4": "sampler=rk4.*euler",
    "--time_std=0": "--time_std=0.0: it must be a finite number greater than 0",
    "--space=latents": "--space=latents: --dataset=.* holds images; encode it",
    "--dataset=FOLDER/latents": "--dataset=.*: it holds latents, for --space=latents",
    "--num_classes=30": "--num_classes=30: it needs --conditional",
    "--conditional --num_classes=7": "--num_classes=7: --dataset=.* has num_classes=30",
    "--patch=3": "patch=3 does not divide the latent_size 16",
    f"{' '.join(LATENTS)} --flip": "--flip: latents cannot be mirrored",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shapes of 16 px, and their latents of 8 x 8."""
    return latents_of_shapes.fill(tmp_path_factory.mktemp("flow"))


def given(folder, run_dir, *flags):
    flags = [flag.replace("FOLDER", str(folder)) for flag in flags]
    return [f"--dataset={folder / 'shapes'}", f"--run_dir={run_dir}", *TINY, *flags]


@pytest.fixture(scope="module")
def outputs(folder):
    """By name, what starts of one process printed, and "code N" at the end."""
    starts = {
        "latents": given(folder, folder / "of latents", *LATENTS, "--total_kimg=0.004"),
        "dry_run": given(folder, folder / "dry", "--dry_run", "--dataset=none", "--resolution=16"),
        **{flag: given(folder, folder / "refused", *flag.split()) for flag in REFUSALS},
    }
    # In a graph, as users run it: of all systems a flow is traced soonest.
    (whole,) = run_each([given(folder, folder / "whole")])
    return {"whole": whole, **run_named(starts)}


def test_a_run_in_two_parts_is_the_run_in_one(outputs, folder):
    """Weights, EMA, optimizer slots, statistics and pictures, bit for bit."""
    assert outputs["whole"].endswith("code 0\n"), outputs["whole"]
    whole, parts = folder / "whole", PARTS - {"discriminator", "d_optimizer"}
    again = given(folder, folder / "parts")
    assert_continues(whole, again, 2, "000000.008", parts, eagerly=False)
    for line in stats(whole):
        assert line["velocity_loss"] > 0.0 and line["g_grad_norm"] > 0.0
        assert not [name for name in line if name.startswith(("d_", "r1", "fake"))]
    assert list(json.loads((whole / "models.json").read_text())) == ["generator"]
    assert "r1_weight" not in (whole / "flags.cfg").read_text()
    assert (whole / "report.html").is_file() and (whole / "curves.png").is_file()


def test_a_flow_of_latents_learns_classes_and_is_decoded(outputs, folder, eagerly):
    assert outputs["latents"].endswith("code 0\n"), outputs["latents"]
    source = opening.open_run(folder / "of latents", sampler_steps=1)
    assert (source.resolution, source.num_classes, source.noise_dim) == (16, 30, 8 * 8 * 4)
    assert source.class_names[0] and source.about["sampler_steps"] == 1
    images = np.asarray(source.generate(source.latents([0, 1]), np.array([0, 1], np.int32)))
    assert images.shape == (2, 16, 16, 3)


def test_seed_i_is_one_noise_that_any_number_of_steps_begins_at(outputs, folder, tmp_path, eagerly):
    with command(generate, generate_flags.define) as call:
        for steps in (1, 1, 3):
            out = tmp_path / f"{len(list(tmp_path.iterdir()))}.npz"
            call(f"--run_dir={folder / 'whole'}", "--seeds=5", f"--sampler_steps={steps}",
                 "--sampler=euler", f"--out={out}")  # fmt: skip
    one, again, three = (np.load(path)["arr_0"] for path in sorted(tmp_path.glob("*.npz")))
    np.testing.assert_array_equal(one, again)
    assert (one != three).any()
    source = opening.open_run(folder / "whole", sampler="euler", sampler_steps=1)
    z = source.latents([5])
    expected = z + np.asarray(
        source.network.velocity(z.reshape(1, 16, 16, 3), np.zeros(1, "f"))
    ).reshape(1, -1)
    np.testing.assert_allclose(np.ravel(source.generate(z)), expected[0], rtol=1e-5, atol=1e-5)


def test_a_sweep_over_steps_says_how_each_point_was_sampled(
    outputs, folder, capsys, monkeypatch, eagerly
):
    once = functools.partial(speed.measure_speed, batch_sizes=(1,), repeats=1)
    monkeypatch.setattr(speed, "measure_speed", once)
    run = folder / "whole"
    arguments = [f"--run_dir={run}", "--metrics=swd", "--features=none", "--num_samples=8"]
    with command(evaluate, evaluate_flags.define) as call:
        call(*arguments, "--num_real=8", "--sweep_sampler_steps=1,2")
        assert "sampler_steps" in capsys.readouterr().out and (run / "sweep_sampler_steps.png")
        assert "sampler_steps=0: give" in error_line(
            call, [*arguments, "--sweep_sampler_steps=0,1"], capsys
        )
        call(f"--run_dir={run}", "--cost", "--sampler=euler", "--sampler_steps=3")
        assert "euler steps 3, so evaluations of the velocity 3" in capsys.readouterr().out
    generated = [record["protocol"]["generated"] for record in results.read_metrics(run)]
    assert [(g["sampler"], g["sampler_steps"]) for g in generated] == [("heun", 1), ("heun", 2)]
    assert "heun, sampler_steps 2" in results.metrics_table([run])


def test_dry_run_says_what_a_step_and_a_sample_cost(outputs):
    output = outputs["dry_run"]
    assert output.endswith("code 0\n"), output
    for expected in ("heun steps 2, so evaluations of the velocity 4", "a step: 0.00", "G 0.0002"):
        assert expected in output
    assert "discriminator" not in output


@pytest.mark.parametrize("flag", REFUSALS)
def test_what_does_not_fit_is_refused_in_one_line(outputs, folder, flag):
    output = outputs[flag]
    assert output.endswith("code 2\n"), output
    assert re.search(REFUSALS[flag], output), (REFUSALS[flag], output)
    assert "Traceback" not in output and len(output.splitlines()) == 2
    assert not (folder / "refused").exists()
