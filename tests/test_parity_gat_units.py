"""Recorded units around GAT's networks: teacher's images, posterior draws, AdamW.

python -m pytest tests/test_parity_gat_units.py --fixtures-dir=DIR reads another set of the layout.
"""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.features import dinov2
from ladagan_tf.models.features.bicubic import resize_tokens
from ladagan_tf.training.latent_objective import sample_posterior
from ladagan_tf.training.optimizers import make_optimizer
from ladagan_tf.training.teachers import ImageTeacher

TOLERANCE = 1e-4
SHOWN = 16  # every 16th pixel of what the teacher saw is recorded


@pytest.fixture(scope="module")
def units(gat_dir):
    with np.load(gat_dir / "units.npz") as arrays:
        return dict(arrays)


def nhwc(array):
    return np.moveaxis(array, -3, -1)


# The larger grid was made of the first 64 tokens, taken as 8 x 8.
@pytest.mark.parametrize("grid, tokens", [(8, 256), (20, 64)])
def test_grids_of_tokens_are_resized(units, grid, tokens):
    resized = resize_tokens(ops.convert_to_tensor(units["resize_in"][:, :tokens]), grid)
    np.testing.assert_allclose(resized, units[f"resize_out_{grid}"], atol=1e-5)


def test_the_teachers_preprocessing(units):
    i, j, c = np.meshgrid(np.arange(256), np.arange(256), np.arange(3), indexing="ij")
    image = np.floor(127.5 * (1 + np.sin(0.11 * i + 0.07 * j * (c + 1) + c))).astype("uint8")
    shown = ops.convert_to_numpy(dinov2.prepared(image[None]))[:, ::8, ::8]
    np.testing.assert_allclose(shown, nhwc(units["dino_out_stride8"]), atol=TOLERANCE)


def test_the_teachers_view_of_augmented_samples(gat_dir):
    """Shifted as the official code has it, by latent / image, and mirrored with the latent."""

    class Network:
        features, grid, side = 1, 16, dinov2.SIDE
        prepared = staticmethod(dinov2.prepared)

    with np.load(gat_dir / "A_inputs.npz") as given, np.load(gat_dir / "A_outputs.npz") as expected:
        names = {"shift_rows": "tx", "shift_columns": "ty", "flipped": "flip_u"}
        draws = {ours: given[f"D_aug_real_{theirs}"] for ours, theirs in names.items()}
        raw, size = nhwc(given["raw"]), given["real"].shape[-1]
        seen = nhwc(expected["Dstep_raw_aug"])
    teacher = ImageTeacher(Network(), official_quirks=True)
    view = ops.convert_to_numpy(teacher.view(dinov2.prepared(raw), draws, size))
    np.testing.assert_allclose(view[:, ::SHOWN, ::SHOWN], seen, atol=TOLERANCE)


def test_latents_are_drawn_from_moments(units):
    drawn = sample_posterior(nhwc(units["moments"]), nhwc(units["moments_eps"]), 0.18215)
    np.testing.assert_allclose(drawn, nhwc(units["moments_sample"]), atol=1e-5)


def test_four_steps_of_adamw(units):
    """Its decay is 0. Where a gradient is tiny, epsilon tells, which Keras adds elsewhere."""
    weight = keras.Variable(units["adamw_p0"])
    optimizer = make_optimizer(4e-4, 0.0, 0.99, "float32", epsilon=1e-9)
    for gradient, expected in zip(units["adamw_grads"], units["adamw_traj"], strict=True):
        optimizer.apply([ops.convert_to_tensor(gradient)], [weight])
        np.testing.assert_allclose(weight, expected, atol=1e-6)
