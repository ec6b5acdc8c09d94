"""DiffAugment does what its draws say, and nothing for neutral draws."""

import numpy as np
import pytest
from keras import ops

from ladagan_tf.training.augment import (
    POLICIES,
    augmentation_draws,
    diff_augment,
    parse_policy,
)
from ladagan_tf.training.draws import Draw

SIZE, B = 16, 3
EVERYTHING = parse_policy("color,translation,cutout")


@pytest.fixture
def images(rng):
    return rng.uniform(-1, 1, (B, SIZE, SIZE, 3)).astype("float32")


def every(value, dtype="float32"):
    return np.full(B, value, dtype)


def neutral(**changes):
    names = ("brightness", "saturation", "contrast")
    draws = {name: every(0.5) for name in names}
    draws |= {name: every(0, "int32") for name in ("shift_rows", "shift_columns")}
    return draws | {name: every(value, draws[name].dtype) for name, value in changes.items()}


def augmented(images, draws, *policy):
    return ops.convert_to_numpy(diff_augment(images, draws, policy))


# ----------------------------------------------------------------------------------- policies


def test_policy_keeps_the_given_order():
    assert parse_policy("cutout, color") == ("cutout", "color")
    assert parse_policy("") == ()


@pytest.mark.parametrize("text", ["colour", "color,flip", "color translation"])
def test_an_unknown_step_is_refused_and_the_known_ones_listed(text):
    with pytest.raises(ValueError, match="is not one of color, translation, cutout") as error:
        parse_policy(text)
    assert repr(text) in str(error.value)


def test_the_empty_policy_is_the_identity_and_draws_nothing(images):
    assert augmentation_draws((), SIZE) == {}
    np.testing.assert_array_equal(augmented(images, {}), images)


def test_draws_have_the_published_ranges():
    draws = augmentation_draws(EVERYTHING, 32)
    for name in ("brightness", "saturation", "contrast"):
        assert draws[name] == Draw.uniform()
    for name in ("shift_rows", "shift_columns"):
        assert draws[name] == Draw.integers(-4, 5)  # an eighth of 32, both ends included
    for name in ("cutout_row", "cutout_column"):
        assert draws[name] == Draw.integers(0, 33)
    assert list(augmentation_draws(("cutout",), 32)) == ["cutout_row", "cutout_column"]


# -------------------------------------------------------------------------------------- color


def test_central_color_draws_are_the_identity(images):
    np.testing.assert_allclose(augmented(images, neutral(), "color"), images, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("draw", "shift"), [(0.0, -0.5), (1.0, 0.5), (0.75, 0.25)])
def test_brightness_adds_the_draw_less_a_half(images, draw, shift):
    out = augmented(images, neutral(brightness=draw), "color")
    np.testing.assert_allclose(out, images + shift, rtol=1e-5, atol=1e-6)


def test_saturation_scales_about_the_mean_of_each_pixel(images):
    grey = images.mean(axis=3, keepdims=True)
    out = augmented(images, neutral(saturation=0.9), "color")
    np.testing.assert_allclose(out.mean(axis=3, keepdims=True), grey, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out - grey, 1.8 * (images - grey), rtol=1e-5, atol=1e-5)


def test_contrast_scales_about_the_mean_of_each_image(images):
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    out = augmented(images, neutral(contrast=0.1), "color")
    np.testing.assert_allclose(out.mean(axis=(1, 2, 3), keepdims=True), mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(out - mean, 0.6 * (images - mean), rtol=1e-5, atol=1e-5)


# -------------------------------------------------------------------------------- translation


def test_no_shift_is_the_identity(images):
    np.testing.assert_array_equal(augmented(images, neutral(), "translation"), images)


@pytest.mark.parametrize(("rows", "columns"), [(2, 0), (0, -1), (-2, 2), (1, 1)])
def test_translation_moves_content_and_brings_in_zeros(images, rows, columns):
    padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
    top, left = 2 + rows, 2 + columns
    expected = padded[:, top : top + SIZE, left : left + SIZE]
    draws = neutral(shift_rows=rows, shift_columns=columns)
    np.testing.assert_array_equal(augmented(images, draws, "translation"), expected)


def test_translation_conserves_what_stays_inside(images):
    images[:, :2], images[:, -2:], images[:, :, :2], images[:, :, -2:] = 0, 0, 0, 0
    out = augmented(images, neutral(shift_rows=-2, shift_columns=1), "translation")
    np.testing.assert_allclose(out.sum(axis=(1, 2)), images.sum(axis=(1, 2)), rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------------------- cutout


def cut(images, row, column):
    draws = {"cutout_row": every(row, "int32"), "cutout_column": every(column, "int32")}
    return augmented(images, draws, "cutout")


@pytest.mark.parametrize("centre", [(8, 8), (0, 0), (16, 16), (3, 12)])
def test_cutout_zeroes_a_square_of_half_the_side_clipped_at_the_border(centre):
    images = np.ones((B, SIZE, SIZE, 3), "float32")
    expected = images.copy()
    row, column = (slice(max(c - 4, 0), min(c + 4, SIZE)) for c in centre)
    expected[:, row, column] = 0.0
    np.testing.assert_array_equal(cut(images, *centre), expected)


def test_cutout_zeroes_between_a_sixteenth_and_a_quarter_of_the_pixels():
    images = np.ones((B, SIZE, SIZE, 3), "float32")
    draws = augmentation_draws(("cutout",), SIZE)["cutout_row"]
    shares = [
        1.0 - cut(images, row, column).mean()
        for row in range(draws.low, draws.high)
        for column in (draws.low, 8, draws.high - 1)
    ]
    assert min(shares) == pytest.approx(1 / 16) and max(shares) == pytest.approx(1 / 4)


# ----------------------------------------------------------------------------------- in common


@pytest.mark.parametrize("step", POLICIES)
def test_each_image_follows_its_own_draw_and_all_its_channels_follow_the_same(images, draw, step):
    draws = draw(augmentation_draws((step,), SIZE), B)
    together = augmented(images, draws, step)
    for i in range(B):
        own = {name: values[i : i + 1] for name, values in draws.items()}
        np.testing.assert_allclose(together[i : i + 1], augmented(images[i : i + 1], own, step))
    if step != "color":  # saturation mixes channels
        for c in range(3):
            alone = augmented(images[..., c : c + 1], draws, step)
            np.testing.assert_array_equal(together[..., c : c + 1], alone)


def test_steps_are_applied_in_the_order_of_the_policy(images):
    draws = neutral(brightness=1.0, shift_rows=2)
    late = augmented(images, draws, "color", "translation")
    early = augmented(images, draws, "translation", "color")
    np.testing.assert_array_equal(late[:, -2:], 0.0)
    np.testing.assert_allclose(early[:, -2:], 0.5, rtol=1e-5, atol=1e-6)


def test_every_step_is_differentiable_in_the_images(tf, images, draw, rng):
    draws = draw(augmentation_draws(EVERYTHING, SIZE), B)
    cotangent = rng.standard_normal(images.shape).astype("float32")
    direction = rng.standard_normal(images.shape).astype("float32")
    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_sum(diff_augment(x, draws, EVERYTHING) * cotangent)
    gradient = tape.gradient(loss, x)
    # Augmentation is affine in the images, so a finite difference of any size is exact.
    difference = augmented(images + direction, draws, *EVERYTHING) - augmented(
        images, draws, *EVERYTHING
    )
    expected = np.sum(difference.astype("float64") * cotangent)
    np.testing.assert_allclose(np.sum(gradient * direction), expected, rtol=1e-4, atol=1e-3)
