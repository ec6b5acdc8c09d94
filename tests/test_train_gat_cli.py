"""`train.py --system=gat` through real processes: exact resume, ablations, what is refused."""

import sys

import keras
import pytest
from train_processes import assert_identical, finish, start, stats, variables

from ladagan_tf.data import latents, records
from ladagan_tf.data.preparation import prepare
from ladagan_tf.models.classifier import Classifier
from ladagan_tf.models.vae import AutoencoderKL
from ladagan_tf.training.batches import scale_images
from ladagan_tf.weights import vae_weights

STEPS = 6
BATCH = 4
TINY = [
    "--system=gat",
    "--latent_size=8",
    "--num_classes=30",
    "--g_shape=16,4,2",
    "--d_shape=16,2,2",
    "--class_dim=8",
    "--projector_dim=8",
    "--noise_dim=8",
    f"--batch_size={BATCH}",
    f"--total_kimg={STEPS * BATCH / 1000}",
    "--log_kimg=0.012",
    "--sample_kimg=0.012",
    "--checkpoint_kimg=0.012",
    "--metric=swd",
    "--metric_images=20",
    "--metric_kimg=0.012",
    "--grid=2",
    "--seed=3",
]
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Shapes of 16 px, their latents of 8 x 8, and the autoencoder between them."""
    folder = tmp_path_factory.mktemp("gat")
    prepare("shapes", folder / "shapes", resolution=16, num_images=40, workers=1)
    keras.utils.set_random_seed(0)
    AutoencoderKL(widths=(8, 8), resnets=1, groups=4).save(folder / "vae.keras")
    Classifier(16, ["dark", "bright"]).save(folder / "classifier.keras")
    vae, sha256 = vae_weights.load(folder / "vae.keras")
    description = records.Latents(
        size=8,
        channels=4,
        dtype="float16",
        vae=str(folder / "vae.keras"),
        vae_sha256=sha256,
        encoder_sha256=vae_weights.encoder_sha256(vae),
        scaling_factor=vae.scaling_factor,
        images=True,
    )
    encoding = latents.Encoding(lambda images: vae.encode(scale_images(images)), description)
    latents.prepare_set(folder / "shapes", folder / "latents", encoding)
    return folder


def command(folder, run_dir, *flags):
    dataset = f"--dataset={folder / 'latents'}"
    return [sys.executable, "train.py", dataset, f"--run_dir={run_dir}", *TINY, *flags]


def test_a_run_in_two_parts_is_the_run_in_one(folder, tmp_path):
    """Weights, EMA, mean styles, optimizer slots, statistics and pictures, bit for bit."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run_dir, flags in ((whole, []), (parts, ["--total_kimg=0.012"]), (parts, [])):
        code, output = finish(start(command(folder, run_dir, *flags)))
        assert code == 0, output
    assert_identical(parts, whole, STEPS)
    names = {path.name for path in (whole / "samples").iterdir()}
    assert {"samples_000000.024kimg.png", "samples_psi0.5_000000.024kimg.png"} <= names
    assert [line["swd_20"] > 0 for line in stats(whole) if "swd_20" in line] == [True] * 2
    saved, _ = vae_weights.load(whole / "vae.keras")
    assert saved.scaling_factor == records.load_info(folder / "latents").latents.scaling_factor
    values = variables(whole, STEPS)
    (styles,) = (v for name, v in values.items() if "averaged" in name and "mean_style" in name)
    assert styles.any()
    # A resumed EMA is its own, not the raw weights.
    pairs = ([n for n in values if f"state/{p}" in n] for p in ("averaged", "generator"))
    moved = [(values[a] != values[b]).any() for a, b in zip(*map(sorted, pairs), strict=True)]
    assert sum(moved) > 30


@pytest.mark.parametrize(
    "flags",
    [
        ["--nonoise_guidance", "--nowidth_aware_lr", "--r2_weight=0"],
        ["--levels=2", "--teacher=CLASSIFIER", "--official_quirks", "--micro_batches=2"],
        ["--exact_penalties", "--nolatent_augment", "--precision=mixed_bfloat16"],
    ],
)
def test_the_papers_ablations_train_with_finite_losses(folder, tmp_path, flags):
    file = folder / "classifier.keras"
    flags = [flag.replace("CLASSIFIER", f"classifier:{file}") for flag in flags]
    arguments = [*flags, "--total_kimg=0.008", "--metric=none"]
    code, output = finish(start(command(folder, tmp_path / "run", *arguments)))
    assert code == 0, output
    (line,) = stats(tmp_path / "run")
    assert all(abs(value) < 1e3 for name, value in line.items() if name != "kimg")
    assert ("alignment" in line) == any("teacher" in flag for flag in flags)
    assert (line["r2"] == 0.0) == ("--r2_weight=0" in flags)
