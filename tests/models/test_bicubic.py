"""Bicubic resizing: PyTorch's kernel by hand, Pillow's where antialiased."""

import keras
import numpy as np
import pytest
from PIL import Image

from ladagan_tf.models.features.bicubic import bicubic_matrix, resize, resize_tokens

SIZES = pytest.mark.parametrize("size, new_size", [(8, 20), (20, 8), (37, 16)])


@SIZES
@pytest.mark.parametrize("antialias", [False, True])
def test_a_constant_stays(size, new_size, antialias):
    rows = bicubic_matrix(size, new_size, antialias).sum(axis=1)
    np.testing.assert_allclose(rows, 1.0, atol=1e-14)


def test_the_kernel_has_a_of_three_quarters():
    """Doubling: pixel 5 lies 0.25 behind pixel 2; Keys's polynomials at 1.25, .25, .75, 1.75."""
    weights = [-0.10546875, 0.87890625, 0.26171875, -0.03515625]
    np.testing.assert_allclose(bicubic_matrix(8, 16)[5, 1:5], weights, atol=1e-15)
    np.testing.assert_allclose(bicubic_matrix(8, 16)[4, 0:4], weights[::-1], atol=1e-15)


def test_the_border_is_repeated():
    first = bicubic_matrix(8, 16)[0]
    expected = [-0.03515625 + 0.26171875 + 0.87890625, -0.10546875]  # at 0.25 before pixel 0
    np.testing.assert_allclose(first[:2], expected, atol=1e-15)
    assert not first[2:].any()


@SIZES
def test_antialiased_it_is_pillows(rng, size, new_size):
    image = rng.standard_normal((size, size)).astype("float32")
    pillow = Image.fromarray(image).resize((new_size, new_size), Image.Resampling.BICUBIC)
    matrix = bicubic_matrix(size, new_size, antialias=True)
    np.testing.assert_allclose(matrix @ image @ matrix.T, np.asarray(pillow), rtol=1e-5, atol=1e-5)


def test_the_step_may_differ_from_the_ratio_of_sizes():
    centre = (7 + 0.5) * 37 / 16.1 - 0.5  # 16.736
    matrix = bicubic_matrix(37, 16, step=37 / 16.1)
    near, far = [1.25, -2.25, 0.0, 1.0], [-0.75, 3.75, -6.0, 3.0]  # Keys's, for a = -0.75
    weights = [np.polyval(far, centre - 15), np.polyval(near, centre - 16)]
    weights += [np.polyval(near, 17 - centre), np.polyval(far, 18 - centre)]
    np.testing.assert_allclose(matrix[7, 15:19], weights, atol=1e-14)
    assert np.count_nonzero(matrix[7]) == 4


def test_images_are_resized_along_both_axes(rng):
    images = rng.standard_normal((2, 8, 8, 3))
    matrix = bicubic_matrix(8, 20)
    expected = np.einsum("ih,jw,bhwc->bijc", matrix, matrix, images)
    resized = resize(keras.ops.convert_to_tensor(images, "float32"), 20)
    np.testing.assert_allclose(resized, expected, rtol=1e-5, atol=1e-5)


def test_tokens_are_a_grid_row_by_row(rng):
    maps = rng.standard_normal((2, 8, 8, 5)).astype("float32")
    tokens = keras.ops.convert_to_tensor(maps.reshape(2, 64, 5))
    expected = keras.ops.convert_to_numpy(resize(keras.ops.convert_to_tensor(maps), 4))
    np.testing.assert_array_equal(resize_tokens(tokens, 4), expected.reshape(2, 16, 5))
    np.testing.assert_array_equal(resize_tokens(tokens, 8), tokens)


def test_xla_compiles_it_with_static_shapes(tf, rng):
    images = tf.constant(rng.standard_normal((2, 8, 8, 3)), "float32")
    compiled = tf.function(lambda x: resize(x, 20), jit_compile=True)
    assert compiled(images).shape == (2, 20, 20, 3)
    np.testing.assert_allclose(compiled(images), resize(images, 20), rtol=1e-5, atol=1e-6)
