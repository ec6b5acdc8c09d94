"""`train.py --system=gat` and `cat`: exact resume of the first, ablations, what is refused."""

import json
import re

import latents_of_shapes
import pytest
from train_processes import assert_continues, run_named, stats, variables

from ladagan_tf.data import dataset_info
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.weights import vae_weights

STEPS = 2
BATCH = 4
TINY = [
    "--system=gat",
    "--latent_size=8",
    "--num_classes=30",
    "--g_shape=16,2,2",
    "--levels=2",
    "--d_shape=16,1,2",
    "--class_dim=8",
    "--noise_dim=8",
    f"--batch_size={BATCH}",
    f"--total_kimg={STEPS * BATCH / 1000}",
    "--log_kimg=0.004",
    "--sample_kimg=0.004",
    "--checkpoint_kimg=0.004",
    "--metric=swd",
    "--metric_images=20",
    "--metric_kimg=0.004",
    "--grid=2",
    "--seed=3",
]
POSTHOC = ["--posthoc_ema", "--posthoc_sigma_rel=0.1"]
ABLATIONS = (
    "--nonoise_guidance --nowidth_aware_lr --exact_penalties --nolatent_augment "
    "--precision=mixed_bfloat16 --nofused",
    "--levels=1 --g_shape=16,1,2 --teacher=classifier:FOLDER/classifier.keras --projector_dim=8 "
    "--official_quirks "
    "--r2_weight=0 --attention=additive --patch=1 --noise_schedule=linear --min_information=0.5 "
    "--noise_side=real",
)
REFUSALS = {
    "--latent_size=16": "--latent_size=16: --dataset=.* has latent_size=8",
    "--num_classes=10": "--num_classes=10: --dataset=.* has num_classes=30",
    "--dataset=FOLDER/shapes": "--dataset=.*: it holds images; encode it",
    "--system=lada": "--class_dim: there is no such flag with --system=lada",
    "--flip": "--flip: latents cannot be mirrored",
    "--vae=FOLDER/other.keras": "--vae=.*: its encoder is not the one that --dataset=",
    "--g_shape=16,4": "--g_shape=16,4: give width, depth and heads, as 384,12,6",
    "--levels=3": "depth=2 is not a multiple of --levels=3",
    "--teacher=stored": "teacher=stored: this prepared set holds no features",
    "--patch=3": "patch=3 does not divide the latent_size 8",
    "--attention=linformer": "--attention=linformer is not one of dot_product, additive",
    "--min_information=0": "--min_information=0: give a number from 0.01 to 1",
    "--noise_schedule=quadratic": "--noise_schedule=quadratic: value should be one of",
    "--noise_schedule=learned": "--levels=2: --noise_schedule=learned needs 3",
    "--noise_schedule=learned --precision=mixed_float16": "--precision=mixed_float16: the grad",
    "--nonoise_guidance --noise_side=fake": "--noise_side=fake: it needs --noise_guidance",
    "--stop_anchor": "--stop_anchor: there is no such flag with --system=gat",
    "--system=cat --noise_guidance": "--noise_guidance: there is no such flag with --system=cat",
    "--system=cat --consistency_weights=1,2": "--consistency_weights=1.0,2.0: 2 given; --levels=2",
    "--system=cat --consistency_weights=1,x": "--consistency_weights=1,x: give finite numbers",
    "--system=cat --consistency_weight=-1": "--consistency_weight=-1.0: it must be a finite number",
    "--system=cat --patch=8": r"--levels=2: the latent_size 8 is no multiple of --patch=8 ",
    "--system=cat --batch_size=6": "--batch_size=6: it must be a multiple of 4, 1 replicas x",
}
A_STEP = ["--total_kimg=0.004", "--metric=none", "--sample_kimg=1"]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shapes of 16 px, their latents of 8 x 8, and the autoencoder between them."""
    folder = latents_of_shapes.fill(tmp_path_factory.mktemp("gat"))
    latents_of_shapes.tiny_autoencoder().save(folder / "other.keras")
    Classifier(16, ["dark", "bright"]).save(folder / "classifier.keras")
    return folder


def given(folder, run_dir, *flags):
    return [f"--dataset={folder / 'latents'}", f"--run_dir={run_dir}", *TINY, *flags]


@pytest.fixture(scope="module")
def outputs(folder):
    """By name, what starts of one process printed, and "code N" at the end."""

    def flags(name, *more):
        more = [flag.replace("FOLDER", str(folder)) for flag in more]
        return given(folder, folder / name, *more)

    starts = {
        "whole": flags("whole", *POSTHOC),
        "cat": flags("cat", "--system=cat", *A_STEP),
        **{
            i: flags(f"ablation {i}", *ABLATIONS[i].split(), *A_STEP) for i in range(len(ABLATIONS))
        },
        **{flag: flags("refused", *flag.split()) for flag in REFUSALS},
        "dry_run": flags("dry_run", "--dry_run", "--dataset=none", "--teacher=dinov2"),
    }
    return run_named(starts)


def test_a_run_in_two_parts_is_the_run_in_one(outputs, folder):
    """Weights, EMA, mean styles, optimizer slots, statistics and pictures, bit for bit.

    The second part decodes by the run's own copy of the autoencoder: the original has moved.
    """
    assert outputs["whole"].endswith("code 0\n"), outputs["whole"]
    whole = folder / "whole"
    (folder / "vae.keras").rename(folder / "elsewhere.keras")
    assert_continues(whole, given(folder, folder / "parts", *POSTHOC), STEPS, "000000.008")
    names = {path.name for path in (whole / "samples").iterdir()}
    assert {"samples_000000.008kimg.png", "samples_psi0.5_000000.008kimg.png"} <= names
    assert [line["swd_20"] > 0 for line in stats(whole) if "swd_20" in line] == [True] * 2
    saved, _ = vae_weights.load(whole / "vae.keras")
    info = dataset_info.load_info(folder / "latents")
    assert saved.scaling_factor == info.latents.scaling_factor
    models = json.loads((whole / "models.json").read_text())
    names = models["generator"]["config"]["class_names"]
    assert names == [*info.classes] and "red circle" in names
    values = variables(whole, STEPS)
    (styles,) = (v for name, v in values.items() if "averaged" in name and "mean_style" in name)
    assert styles.any()
    # A resumed EMA is its own, not the raw weights.
    pairs = ([n for n in values if f"state/{p}" in n] for p in ("averaged", "generator"))
    moved = [(values[a] != values[b]).any() for a, b in zip(*map(sorted, pairs), strict=True)]
    assert sum(moved) > 30


def test_a_cat_has_penalties_consistent_stages_and_its_own_defaults(outputs, folder):
    assert outputs["cat"].endswith("code 0\n"), outputs["cat"]
    (line,) = stats(folder / "cat")
    assert line["r1"] > 0.0 and line["consistency"] > 0.0 and line["stage_distance_1"] > 0.0
    assert "stage_cosine_1" not in line  # of two stages it is always 1
    recorded = (folder / "cat" / "flags.cfg").read_text()
    for flag in ("modulation=shift_scale_gate", "penalty_share=0.25", "width_aware_lr=False"):
        assert f"--{flag}\n" in recorded
    assert "noise_guidance" not in recorded


@pytest.mark.parametrize("i", range(len(ABLATIONS)))
def test_the_papers_ablations_train_with_finite_losses(outputs, folder, i):
    assert outputs[i].endswith("code 0\n"), outputs[i]
    (line,) = stats(folder / f"ablation {i}")
    assert all(abs(value) < 1e3 for value in line.values())
    assert ("alignment" in line) == ("--teacher" in ABLATIONS[i])
    assert (line["r2"] == 0.0) == ("--r2_weight=0" in ABLATIONS[i])


@pytest.mark.parametrize("flag", REFUSALS)
def test_what_does_not_fit_is_refused_in_one_line(outputs, folder, flag):
    output = outputs[flag]
    assert output.endswith("code 2\n"), output
    assert re.search(REFUSALS[flag], output), (REFUSALS[flag], output)
    assert "Traceback" not in output
    assert not (folder / "refused").exists()


def test_dry_run_prints_both_networks_and_their_cost_without_a_set(outputs, folder):
    output = outputs["dry_run"]
    assert output.endswith("code 0\n"), output
    for expected in ("--g_shape=16,2,2", "block_1", "projector_2", "multiply-adds", "GB per"):
        assert expected in output
    assert "--g_widths" not in output  # LadaGAN's
    assert not (folder / "dry_run").exists()
