"""DINOv2's input and positions, with a stand-in for the network; and a tiny one of KerasHub."""

import types

import keras
import numpy as np
import pytest
from PIL import Image

from ladagan_tf.models.features.dinov2 import DinoV2, prepared


@pytest.fixture
def backbone(rng):
    """`backbone(grid)`: has learned positions of grid x grid; tokens are class, register, rest."""

    def make(grid, image_shape=(224, 224, 3)):
        positions = rng.standard_normal((1, 1 + grid * grid, 2)).astype("float32")
        embeddings = types.SimpleNamespace(
            position_embeddings=keras.Variable(positions),
            interpolated_position_embeddings=keras.Variable(np.zeros((1, 257, 2), "float32")),
        )

        class Backbone(types.SimpleNamespace):
            def __call__(self, inputs, training):
                tokens = keras.ops.arange(1 + 1 + 256, dtype="float32")
                return keras.ops.reshape(tokens, (1, -1, 1))

        sizes = {"hidden_dim": 2, "patch_size": 14, "num_register_tokens": 1}
        return Backbone(embeddings=embeddings, image_shape=image_shape, **sizes)

    return make


def positions(network):
    """Class position (2,), learned grid and resized grid (g, g, 2)."""
    embeddings = network.embeddings
    learned = keras.ops.convert_to_numpy(embeddings.position_embeddings)[0]
    resized = keras.ops.convert_to_numpy(embeddings.interpolated_position_embeddings)[0]
    np.testing.assert_array_equal(resized[0], learned[0])
    side = round(len(learned[1:]) ** 0.5)
    return learned[1:].reshape(side, side, 2), resized[1:].reshape(16, 16, 2)


def test_antialiased_positions_are_pillows(backbone):
    network = backbone(37)
    DinoV2(network, antialias_positions=True)
    learned, resized = positions(network)
    for channel in range(2):
        image = Image.fromarray(learned[:, :, channel])
        expected = np.asarray(image.resize((16, 16), Image.Resampling.BICUBIC))
        np.testing.assert_allclose(resized[:, :, channel], expected, rtol=1e-5, atol=1e-5)


def test_other_positions_have_the_published_offset(backbone):
    """What one learned position gives to the new ones is the kernel about where they lie."""
    network = backbone(37)
    learned = np.zeros((1, 1 + 37 * 37, 2), "float32")
    learned[0, 1 + 16 * 37 + 20] = 1.0
    network.embeddings.position_embeddings.assign(learned)
    DinoV2(network)
    centres = (np.arange(16) + 0.5) * 37 / 16.1 - 0.5

    def kernel(x):  # Keys's, for a = -0.75
        near, far = [1.25, -2.25, 0.0, 1.0], [-0.75, 3.75, -6.0, 3.0]
        return np.where(x < 1, np.polyval(near, x), np.where(x < 2, np.polyval(far, x), 0.0))

    expected = np.outer(kernel(abs(centres - 16)), kernel(abs(centres - 20)))
    np.testing.assert_allclose(positions(network)[1][:, :, 0], expected, rtol=1e-5, atol=1e-6)


def test_positions_of_the_right_number_stay(backbone):
    network = backbone(16)
    DinoV2(network)
    np.testing.assert_array_equal(*positions(network))


def test_registers_are_left_out(backbone):
    cls, patches = DinoV2(backbone(16))(None)
    assert float(cls[0, 0]) == 0.0
    np.testing.assert_array_equal(patches[0, :, 0], np.arange(2, 258))


def test_images_are_in_units_of_imagenets_deviation():
    colour = np.array([0, 127, 255], "uint8") * np.ones((1, 64, 64, 1), "uint8")
    expected = (np.array([0, 127, 255]) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    x = prepared(colour)
    assert x.shape == (1, 224, 224, 3)
    np.testing.assert_allclose(x, np.broadcast_to(expected, x.shape), rtol=1e-5, atol=1e-5)


def test_a_network_for_other_images_is_refused(backbone):
    with pytest.raises(ValueError, match=r"image_shape=\(518, 518, 3\): give \(224, 224, 3\)"):
        DinoV2(backbone(37, (518, 518, 3)))
