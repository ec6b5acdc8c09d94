"""GAT's step against arrays recorded from the official code (fixtures/gat/README.md).

Sizes come from config.json, so another set of the same layout passes unchanged:
pytest tests/test_parity_gat_step.py --fixtures-dir=DIR
"""

import pathlib

import numpy as np
import pytest

from ladagan_tf.training.latent_augment import augment_stages, color_means
from ladagan_tf.training.noise_guidance import add_noise, noise_levels

AUGMENTATION = {  # ours: theirs
    "colored": "color_u",
    "brightness": "bright_u",
    "saturation": "sat_u",
    "contrast": "cont_u",
    "shift_rows": "tx",
    "shift_columns": "ty",
    "cutout_row": "cx",
    "cutout_column": "cy",
    "flipped": "flip_u",
}


@pytest.fixture(scope="module")
def folder(request, shared):
    option = request.config.getoption("--fixtures-dir")
    return pathlib.Path(option) if option else shared("fixtures/gat")


@pytest.fixture(scope="module")
def recorded(folder):
    """Inputs and outputs of set A in one dict."""
    found = {}
    for name in ("A_inputs", "A_outputs"):
        with np.load(folder / f"{name}.npz") as arrays:
            found |= dict(arrays)
    return found


def channels_last(array):
    """(..., C, H, W) to (..., H, W, C)."""
    return np.moveaxis(array, -3, -1)


def stages_of(levels):
    """Recorded levels (K, B, C, S, S) as ours, (B, S, S, K, C)."""
    return np.moveaxis(channels_last(levels), 0, 3)


def augmentation(recorded, prefix):
    return {ours: recorded[f"{prefix}_{theirs}"] for ours, theirs in AUGMENTATION.items()}


def noise(recorded, name):
    return stages_of(recorded[name][::-1])  # recorded in draw order, the cleanest level first


def test_noise_levels(folder):
    with np.load(folder / "units.npz") as units:
        np.testing.assert_allclose(noise_levels(len(units["mng_t"])), units["mng_t"], atol=1e-7)


@pytest.mark.parametrize("step", ["D", "G"])
@pytest.mark.parametrize("kind", ["gen", "real"])
def test_what_d_receives_after_augmentation_and_noise(recorded, step, kind):
    stages = stages_of(recorded["G_rgbs"])
    if kind == "real":
        latents = channels_last(recorded["real"])
        stages = np.repeat(latents[:, :, :, None], stages.shape[3], axis=3)
    draws = augmentation(recorded, f"{step}_aug_{kind}")
    augmented = augment_stages(stages, draws, color_means(stages[:, :, :, -1]))
    seen = add_noise(augmented, noise(recorded, f"{step}_mng_{kind}_noise"))
    np.testing.assert_allclose(seen, stages_of(recorded[f"{step}step_{kind}_in"]), atol=1e-5)


@pytest.mark.parametrize("penalty, kind", [("r1", "real"), ("r2", "gen")])
def test_perturbed_copies_share_augmentation_means_and_noise(recorded, penalty, kind):
    stages = stages_of(recorded["G_rgbs"])
    eps = recorded[f"D_{penalty}_eps"]
    if kind == "real":
        latents = channels_last(recorded["real"])
        stages = np.repeat(latents[:, :, :, None], stages.shape[3], axis=3)
        eps = channels_last(eps)[:, :, :, None]  # one draw for all copies
    else:
        eps = stages_of(eps)
    draws = augmentation(recorded, f"D_aug_{kind}")
    means = color_means(stages[:, :, :, -1])
    augmented = augment_stages(stages + 0.01 * eps, draws, means)
    seen = add_noise(augmented, noise(recorded, f"D_mng_{kind}_noise"))
    np.testing.assert_allclose(seen, stages_of(recorded[f"Dstep_{penalty}_in"]), atol=1e-5)
