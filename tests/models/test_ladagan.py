"""LadaGAN's two networks: shapes, initialisation, mixed precision and saving."""

import keras
import numpy as np
import pytest
from ladagan_networks import (
    EVERY_HEAD,
    TINY,
    Z,
    latents,
    number,
    pictures,
    tiny_discriminator,
    tiny_generator,
)

from ladagan_tf.models.lada.discriminator import Discriminator


@pytest.fixture(scope="module")
def new():
    """G with a decoder and D, with the two kinds of score, as they start."""
    return tiny_generator(64, (4,)), tiny_discriminator(score="per_head")


# ----------------------------------------------------------------------------------- shapes


@EVERY_HEAD
def test_images_have_the_resolution_of_the_head(rng, head):
    generator = tiny_generator(*head)
    images = generator(latents(rng))
    assert images.shape == (2, head[0], head[0], 3)
    assert generator.compute_output_shape((2, Z)) == images.shape


@pytest.mark.parametrize("resolution", [32, 64, 256])
def test_logits_are_25_per_image(rng, resolution):
    discriminator = tiny_discriminator(resolution)
    logits = discriminator(pictures(rng, resolution))
    assert logits.shape == (2, 25)
    assert discriminator.compute_output_shape((2, resolution, resolution, 3)) == logits.shape


def test_attention_maps_sum_to_one_over_the_tokens_of_each_grid(rng):
    generator, z = tiny_generator(), latents(rng)
    images, maps = generator.attention_maps(z)
    np.testing.assert_array_equal(number(images), number(generator(z)))
    assert [tuple(m.shape) for m in maps] == [(2, 2, 64), (2, 2, 256), (2, 2, 1024)]
    for weights in maps:
        np.testing.assert_allclose(number(weights).sum(axis=2), 1.0, rtol=1e-5)


def test_an_image_does_not_depend_on_the_rest_of_its_batch(rng, new):
    generator, z = new[0], latents(rng, 3)
    alone = np.concatenate([number(generator(z[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(number(generator(z)), alone, rtol=1e-5, atol=1e-5)


def test_a_logit_does_not_depend_on_the_rest_of_its_batch(rng, new):
    discriminator, images = new[1], pictures(rng, 32, 3)
    alone = np.concatenate([number(discriminator(images[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(number(discriminator(images)), alone, rtol=1e-5, atol=1e-5)


def test_inference_leaves_all_weights_as_they_are(rng, new):
    for network, x in zip(new, (latents(rng), pictures(rng, 32)), strict=True):
        before = [number(w).copy() for w in network.weights]
        network(x)
        for weight, old in zip(network.weights, before, strict=True):
            np.testing.assert_array_equal(number(weight), old)


# ----------------------------------------------------------------------------- initialisation


def kernels(network):
    return [w for w in network.weights if "kernel" in w.name or w.name == "table"]


def test_kernels_and_position_tables_start_orthogonal(new):
    for weight in [w for network in new for w in kernels(network)]:
        matrix = number(weight).astype("float64").reshape(-1, weight.shape[-1])
        gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(
            gram, np.eye(len(gram)), rtol=1e-5, atol=1e-5, err_msg=weight.path
        )


def test_everything_else_starts_at_zero_or_one(new):
    for network in new:
        matrices = {id(w) for w in kernels(network)}
        for weight in [w for w in network.weights if id(w) not in matrices]:
            expected = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
            np.testing.assert_array_equal(number(weight), expected, err_msg=weight.path)


# ----------------------------------------------------------------------- precision and saving


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_images_logits_and_weights(rng, policy):
    generator = tiny_generator(64, (4,), dtype=policy)
    discriminator = tiny_discriminator(64, dtype=policy)
    images = generator(latents(rng), training=True)
    logits = discriminator(images, training=True)
    tensors = [images, logits, *generator.weights, *discriminator.weights]
    assert {keras.backend.standardize_dtype(t.dtype) for t in tensors} == {"float32"}
    assert np.all(np.isfinite(number(logits)))


def test_mixed_precision_reaches_every_inner_layer():
    for network in (
        tiny_generator(64, (4,), dtype="mixed_bfloat16"),
        tiny_discriminator(dtype="mixed_bfloat16"),
    ):
        layers = [x for x in network._flatten_layers() if x.weights and x is not network]
        left_out = {x.name for x in layers if x.compute_dtype != "bfloat16"}
        assert left_out <= {"to_rgb", "to_logits"}


@pytest.mark.parametrize(
    "network",
    [
        lambda: tiny_generator(64, (4,), score="per_head", dtype="mixed_bfloat16"),
        lambda: tiny_discriminator(64),
    ],
    ids=["generator", "discriminator"],
)
def test_saved_network_loads_with_the_same_outputs(rng, tmp_path, network):
    network = network()
    for weight in network.weights:  # moving statistics too must survive
        noise = 0.1 * rng.standard_normal(weight.shape)
        weight.assign(number(weight) + np.abs(noise))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    x = pictures(rng, 64) if isinstance(network, Discriminator) else latents(rng)
    np.testing.assert_array_equal(number(loaded(x)), number(network(x)))


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        (tiny_generator, {"resolution": 64, "decoder_widths": (4,), "score": "per_head", **TINY}),
        (
            tiny_discriminator,
            {
                "resolution": 64,
                "widths": (4, 4, 4),
                "out_widths": (6, 5),
                "num_heads": 2,
                "mlp_width": 3,
                "score": "per_head",
            },
        ),
    ],
)
def test_config_mirrors_the_constructor(network, arguments):
    config = network(**arguments).get_config()
    assert {key: config[key] for key in arguments} == arguments
