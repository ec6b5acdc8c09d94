"""A generator of latents behind its autoencoder is one network that makes images."""

import keras
import numpy as np
import pytest

from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.vae.autoencoder import AutoencoderKL

LABELS = np.int32([0, 2, 1])


@pytest.fixture
def z(rng):
    return rng.standard_normal((3, 8)).astype("float32")


def test_images_are_the_decoding_of_unscaled_latents(tiny_gat, z):
    latents = np.asarray(tiny_gat.generator(z, LABELS, psi=0.5, guidance=2.0))
    images = tiny_gat.vae.decode(latents / tiny_gat.vae.scaling_factor)
    np.testing.assert_allclose(
        tiny_gat(z, LABELS, psi=0.5, guidance=2.0), images, rtol=1e-5, atol=1e-5
    )
    assert images.shape == (3, 16, 16, 3) and tiny_gat.resolution == 16
    assert tiny_gat.compute_output_shape((3, 8)) == (3, 16, 16, 3)


def test_decoding_in_tiles_changes_no_image(tiny_gat, z):
    tiled = DecodedGenerator(tiny_gat.generator, tiny_gat.vae, tile=3)
    np.testing.assert_allclose(tiled(z, LABELS), tiny_gat(z, LABELS), atol=1e-4)


@pytest.mark.parametrize(("latent_size", "tile"), [(32, 0), (64, 8)])
def test_large_latents_are_decoded_in_tiles(latent_size, tile):
    sizes = {"patch": 8, "width": 8, "depth": 4, "num_heads": 1, "num_classes": 2}
    with shapes_only():
        generator = GatGenerator(latent_size=latent_size, **sizes)
        vae = AutoencoderKL(widths=(4, 4), resnets=1, groups=4)
        assert DecodedGenerator(generator, vae).tile == tile


def test_a_saved_one_is_the_same_without_other_files(tiny_gat, z, tmp_path):
    tiny_gat.save(tmp_path / "g.keras")
    loaded = keras.saving.load_model(tmp_path / "g.keras", compile=False)
    np.testing.assert_array_equal(loaded(z, LABELS), tiny_gat(z, LABELS))
    assert loaded.vae.about == tiny_gat.vae.about
    np.testing.assert_array_equal(loaded.mean_style, tiny_gat.mean_style)


def test_another_number_of_channels_is_refused(tiny_gat):
    with shapes_only():
        vae = AutoencoderKL(widths=(8,), resnets=1, groups=4, latent_channels=3)
    with pytest.raises(ValueError, match="its latents have 3 channels, the generator's 4"):
        DecodedGenerator(tiny_gat.generator, vae)


@pytest.mark.parametrize("tile", [-1, 2.0, float("inf")])
def test_a_tile_is_whole_rows(tiny_gat, tile):
    with pytest.raises(ValueError, match=f"tile={tile}"):
        DecodedGenerator(tiny_gat.generator, tiny_gat.vae, tile=tile)
