"""A served SavedModel generates, checks what it is asked, and truncates a GAT."""

import numpy as np
import pytest
import tensorflow as tf
from small_generators import SIZES, perturbed

from ladagan_tf import pictures
from ladagan_tf.exporting import endpoints
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.sampling import opening, seeds
from ladagan_tf.sampling.sampler import of_network


@pytest.fixture(scope="module")
def loaded(saved):
    return tf.saved_model.load(str(saved / "saved_model"))


def test_signatures_are_named_and_serve_is_the_default(loaded):
    names = {
        name: sorted(signature.structured_input_signature[1])
        for name, signature in loaded.signatures.items()
    }
    latents = ["z"]
    assert names == {
        "serving_default": latents,
        "serve": latents,
        "generate": ["num", "seed"],
        "attend": latents,
    }


def test_generated_image_i_is_a_function_of_seed_plus_i(small, loaded):
    images = loaded.generate(5, 7).numpy()
    assert images.dtype == np.uint8 and images.shape == (5, 32, 32, 3)
    # A rounding boundary may fall either way between batch sizes: one step in 255.
    alone = np.stack([loaded.generate(1, 7 + i)[0] for i in range(5)]).astype(int)
    assert np.abs(images - alone).max() <= 1
    z = endpoints.draw_latents(tf.constant(5), tf.constant(7, tf.int64), 8)
    live = pictures.to_uint8(small.generate(z)).astype(int)
    assert np.abs(images - live).max() <= 1
    assert not np.array_equal(images[0], images[1])


def test_drawn_latents_are_standard_normal_and_independent():
    z = endpoints.draw_latents(tf.constant(256), tf.constant(0, tf.int64), 64).numpy()
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    correlation = np.corrcoef(z) - np.eye(256)
    assert np.abs(correlation).max() < 6 / 64**0.5


def test_rounding_is_that_of_pictures():
    images = np.linspace(-1.5, 1.5, 100_001, dtype=np.float32)
    np.testing.assert_array_equal(endpoints.to_uint8(images), pictures.to_uint8(images))


@pytest.mark.parametrize(
    "num, seed, message",
    [
        (0, 0, "num must be from 1 to 256; given"),
        (257, 0, "num must be from 1 to 256; given"),
        (2**31 - 1, 0, "num must be from 1 to 256; given"),
        (1, -1, "seed must be from 0 to"),
    ],
)
def test_a_bad_request_is_explained_by_the_served_model(loaded, num, seed, message):
    request = {"num": tf.constant(num), "seed": tf.constant(seed, tf.int64)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures["generate"](**request)


def test_a_ladagan_with_a_mapping_is_truncated_by_what_is_exported(tmp_path):
    network = perturbed(Generator(**SIZES, modulation="vitgan_sln"))
    endpoints.write_saved_model(network, tmp_path / "saved")
    live, loaded = of_network(network), opening.open_model(tmp_path / "saved")
    z = seeds.latents(range(3), 8)
    for psi in (0.5, 1.0):
        np.testing.assert_allclose(
            loaded.at(psi).generate(z), live.at(psi).generate(z), rtol=1e-5, atol=1e-5
        )
    assert loaded.at(0.5).about["psi"] == 0.5 and "guidance" not in loaded.about
    assert np.abs(live.at(0.5).generate(z) - live.generate(z)).max() > 1e-4


def test_labels_are_served_and_checked(conditional, tmp_path):
    endpoints.write_saved_model(conditional.network, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    labels = tf.constant([2, 0])
    z = endpoints.draw_latents(tf.constant(2), tf.constant(3, tf.int64), 8)
    live = pictures.to_uint8(conditional.generate(z, labels)).astype(int)
    assert np.abs(loaded.generate(2, 3, labels) - live).max() <= 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"):
        loaded.generate(2, 3, tf.constant([0, 3]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many as images"):
        loaded.generate(2, 3, tf.constant([0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"):
        loaded.serve(z, tf.constant([-1, 0]))
    opened = opening.open_model(tmp_path / "saved")
    assert opened.num_classes == 3
    live = conditional.generate(z, labels)
    np.testing.assert_allclose(opened.generate(z, labels), live, rtol=1e-5, atol=1e-5)
    seen = loaded.signatures["attend"](z=z, labels=labels)
    np.testing.assert_allclose(seen["images"], live, rtol=1e-5, atol=1e-5)
    assert seen["attention_8"].shape == (2, 2, 64)


def test_psi_is_served_and_checked(gat, saved_gat):
    loaded = tf.saved_model.load(str(saved_gat))
    z = endpoints.draw_latents(tf.constant(2), tf.constant(3, tf.int64), 8)
    labels = tf.constant([2, 0])
    for psi in (0.0, 0.5, 1.0):
        live = np.asarray(gat.at(psi).generate(z, labels))
        np.testing.assert_allclose(loaded.truncate(z, labels, psi=psi), live, rtol=1e-5, atol=1e-5)
        images = loaded.generate(num=2, seed=3, labels=labels, psi=psi)  # as the card says
        assert np.abs(images.numpy().astype(int) - pictures.to_uint8(live)).max() <= 1
    np.testing.assert_allclose(loaded.serve(z, labels), live, rtol=1e-5, atol=1e-5)
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(tf.errors.InvalidArgumentError, match="psi must be from 0 to 1; given"):
            loaded.truncate(z, labels, psi=wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"):
        loaded.truncate(z, tf.constant([0, 3]), psi=0.5)
