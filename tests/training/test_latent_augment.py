"""Latent augmentation: replayable, alike for all stages, with the official rates and extents."""

import numpy as np
import pytest

from ladagan_tf.training.latent_views import (
    augment_stages,
    color_means,
    latent_augmentation_draws,
)

SIZE = 8
OFF = {"colored": 1.0, "brightness": 0.5, "saturation": 0.5, "contrast": 0.5, "flipped": 1.0}
OFF |= {"shift_rows": 0, "shift_columns": 0, "cutout_row": -99, "cutout_column": -99}


def given(count, **changes):
    return {name: np.full(count, changes.get(name, value)) for name, value in OFF.items()}


@pytest.fixture
def stages(rng):
    return rng.normal(size=(3, SIZE, SIZE, 2, 4)).astype(np.float32)


def augmented(stages, draws):
    return np.asarray(augment_stages(stages, draws, color_means(stages[:, :, :, -1])))


def uncut(array):
    """Cutout cannot be switched off: its square, at the clipped corner, is one row and column."""
    return array[:, 1:, 1:]


def test_its_draws_are_those_it_takes():
    draws = latent_augmentation_draws(SIZE)
    assert set(draws) == set(OFF)
    assert (draws["shift_rows"].low, draws["shift_rows"].high) == (-1, 2)
    assert (draws["cutout_row"].low, draws["cutout_row"].high) == (0, SIZE + 1)


def test_the_same_draws_give_the_same_bits(stages):
    draws = given(3, colored=0.0, brightness=0.9, flipped=0.0, shift_rows=1, cutout_row=3)
    np.testing.assert_array_equal(augmented(stages, draws), augmented(stages, draws))


def test_colour_turns_about_means_of_the_original(stages):
    draws = given(3, colored=0.0, brightness=0.9, saturation=0.2, contrast=0.8)
    x, last = stages.astype(np.float64), stages[:, :, :, -1].astype(np.float64)
    grey = last.mean(3)[..., None, None]
    mean = last.mean((1, 2, 3))[:, None, None, None, None]
    x = (x + 0.4 - grey) * 0.4 + grey
    x = (x - mean) * 1.3 + mean
    np.testing.assert_allclose(uncut(augmented(stages, draws)), uncut(x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("draw, happens", [(0.49, True), (0.51, False)])
def test_colour_comes_in_half_of_the_samples(stages, draw, happens):
    changed = uncut(augmented(stages, given(3, colored=draw, brightness=0.9))) != uncut(stages)
    assert changed.all() == happens and changed.any() == happens


@pytest.mark.parametrize("draw, happens", [(0.39, True), (0.41, False)])
def test_two_fifths_are_mirrored(stages, draw, happens):
    draws = given(3, flipped=draw, cutout_row=99, cutout_column=99)
    flipped = augmented(stages, draws)[:, :-1]
    expected = stages[:, :, ::-1] if happens else stages
    np.testing.assert_array_equal(flipped[:, :, 1:-1], expected[:, :-1, 1:-1])


def test_all_stages_move_together_and_inner_values_stay(stages):
    moved = augmented(stages, given(3, shift_rows=1, shift_columns=-1))
    np.testing.assert_array_equal(moved[:, 1:-1, 2:], stages[:, 2:, 1:-1])
    assert not moved[:, -1].any()


@pytest.mark.parametrize("centre, most", [(4, 16), (0, 16), (8, 16)])
def test_cutout_zeroes_between_a_sixteenth_and_a_quarter(stages, centre, most):
    out = augmented(stages, given(3, cutout_row=centre, cutout_column=centre))
    zeros = (out == 0).all((3, 4)).sum((1, 2))
    assert np.all(zeros <= most) and np.all(zeros >= 4)
