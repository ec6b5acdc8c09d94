"""The built-in set `shapes`."""

import numpy as np
import pytest
from PIL import Image

from ladagan_tf.data.shapes import CLASSES, shapes_image


def test_classes_are_every_colour_of_every_shape():
    assert len(CLASSES) == len(set(CLASSES)) == 30
    assert {"red circle", "purple cross", "yellow star"} <= set(CLASSES)


@pytest.mark.parametrize("resolution", [32, 64])
def test_an_image_is_rgb_of_the_asked_size_with_a_label_in_range(resolution):
    image, label = shapes_image(0, 5, resolution)
    assert image.shape == (resolution, resolution, 3) and image.dtype == np.uint8
    assert isinstance(label, int) and 0 <= label < len(CLASSES)


def test_the_same_seed_and_index_draw_the_same_image():
    first, second = shapes_image(7, 3, 32), shapes_image(7, 3, 32)
    np.testing.assert_array_equal(first[0], second[0])
    assert first[1] == second[1]


def test_another_seed_or_index_draws_another_image():
    image = shapes_image(0, 0, 32)[0]
    assert np.any(image != shapes_image(1, 0, 32)[0])
    assert np.any(image != shapes_image(0, 1, 32)[0])


def test_all_classes_appear_about_equally_often():
    counts = np.bincount([shapes_image(0, i, 1)[1] for i in range(3000)], minlength=30)
    assert counts.min() > 60 and counts.max() < 150


def test_a_scene_is_the_same_at_every_resolution():
    for index in range(30):
        small, label = shapes_image(0, index, 32)
        large, large_label = shapes_image(0, index, 128)
        reduced = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.BOX))
        assert label == large_label
        assert np.abs(small.astype(int) - reduced).mean() < 1.0


def test_outlines_are_antialiased():
    blended = 0
    for index in range(20):
        image = shapes_image(0, index, 32)[0]
        colours = np.unique(image.reshape(-1, 3), axis=0)
        blended += len(colours) > 10  # two flat colours, and mixtures of them along the outline
    assert blended == 20


def test_the_shape_lies_inside_the_image_and_has_the_colour_of_its_class():
    for index in range(100):
        image, label = shapes_image(0, index, 32)
        border = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert np.ptp(border.astype(int)) == 0, "background all around, and grey"
        red, green, blue = image.reshape(-1, 3)[np.ptp(image.astype(int), axis=2).argmax()]
        colour = CLASSES[label].split()[0]
        brightest = {"red": red, "green": green, "blue": blue}
        if colour in brightest:
            assert brightest[colour] == max(red, green, blue)
        elif colour == "yellow":
            assert min(red, green) > blue
        else:
            assert min(red, blue) > green
