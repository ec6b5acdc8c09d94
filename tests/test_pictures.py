"""Grids and attention sheets show what they were given, in order."""

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ladagan_tf import pictures
from ladagan_tf.errors import InputError


def test_floats_are_clipped_and_rounded_to_uint8():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0, 0.0041], np.float32)
    np.testing.assert_array_equal(pictures.to_uint8(values), [0, 0, 128, 255, 255, 128])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_no_black_picture(value):
    with pytest.raises(InputError, match="images that are NaN or infinite"):
        pictures.to_uint8(np.full((1, 2, 2, 3), value, np.float32))


def test_grid_fills_rows_first_and_the_rest_with_white():
    images = np.stack([np.full((4, 4, 3), value, np.uint8) for value in (10, 20, 30)])
    sheet = pictures.grid(images, columns=2)
    assert sheet.shape == (10, 10, 3)
    assert [int(sheet[y, x, 0]) for y, x in ((0, 0), (0, 9), (9, 0), (9, 9))] == [10, 20, 30, 255]


def test_enlarging_repeats_pixels_and_a_grid_of_them_fits_a_page():
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 3), dtype=np.uint8)
    large = pictures.enlarged(image, 4)
    assert large.shape == (2, 12, 20, 3)
    for y, x in ((0, 0), (3, 3), (1, 2)):
        np.testing.assert_array_equal(large[:, y::4, x::4], image)
    for side, columns, width in ((32, 8, 526), (64, 8, 526), (300, 8, 2414), (8, 1, 640)):
        images = np.zeros((columns, side, side, 3), np.uint8)
        assert pictures.enlarged_grid(images, columns).shape[1] == width
    assert pictures.enlarged_grid(images, 1, 3).shape == (24, 24, 3)


def test_a_caption_is_below_and_changes_nothing_above():
    sheet = np.zeros((5, 90, 3), np.uint8)
    captioned = pictures.captioned(sheet, "5 kimg")
    assert captioned.shape == (5 + pictures.CAPTION, 90, 3) and not captioned[:5].any()
    assert (captioned[5:] < 128).any() and (captioned[5:] == 255).any()


def test_tiles_of_an_attention_sheet_are_enlarged_by_whole_factors():
    images = np.random.default_rng(0).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    sheet = pictures.attention_sheet(images, [np.ones((1, 1, 4), np.float32)])
    body = sheet[pictures.HEADER :, :128]
    np.testing.assert_array_equal(body, pictures.enlarged(images[0], 2))


def test_attention_sheet_is_brightest_where_the_weight_is_largest():
    images = np.zeros((1, 32, 32, 3), np.uint8)
    weights = np.full((1, 1, 4), 0.1, np.float32)
    weights[0, 0, 2] = 0.7  # second row, first column of a 2 x 2 grid
    sheet = pictures.attention_sheet(images, [weights])
    overlay = sheet[pictures.HEADER :, pictures.TILE + pictures.MARGIN :].mean(axis=2)
    quarter = pictures.TILE // 2
    quarters = [
        [overlay[y : y + 8, x : x + 8].mean() for x in (8, quarter + 8)] for y in (8, quarter + 8)
    ]
    assert np.argmax(quarters) == 2


def test_png_holds_the_exact_pixels_and_leaves_no_temporary_file(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    pictures.save_png(tmp_path / "image.png", image)
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "image.png")), image)
    assert [path.name for path in tmp_path.iterdir()] == ["image.png"]


def test_a_drawing_keeps_its_size_and_colours_in_fewer_bytes():
    figure = Figure(figsize=(3, 2), dpi=100)
    axes = figure.subplots()
    axes.fill_between([0, 1], [1, 2], alpha=0.3)
    axes.plot([0, 1], [0, 2], "r")
    full = io.BytesIO()
    figure.savefig(full, format="png")
    drawn = pictures.drawing(figure)
    assert len(drawn) < full.tell() / 2
    images = [np.asarray(Image.open(f).convert("RGB"), int) for f in (full, io.BytesIO(drawn))]
    assert images[0].shape == images[1].shape == (200, 300, 3)
    assert abs(images[0] - images[1]).mean() < 1.0
