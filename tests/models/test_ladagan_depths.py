"""LadaGAN with more Ladaformers at a resolution than the paper's one, and with other kernels."""

import keras
import numpy as np
import pytest
from ladagan_networks import Z, latents, number, pictures, tiny_discriminator, tiny_generator
from traced_products import multiply_adds

from ladagan_tf.cost.lada import (
    discriminator_activations,
    discriminator_multiply_adds,
    generator_activations,
    generator_multiply_adds,
)
from ladagan_tf.models.lada.generator import GRID
from ladagan_tf.models.transfer import take_weights

DEEP = {"depths": (2, 1, 2), "widths": (8, 8, 4), "conv_kernel": 5}
NAMES = ["block_8", "block_8_2", "block_16", "block_32", "block_32_2"]


@pytest.fixture(scope="module")
def deep():
    return tiny_generator(**DEEP), tiny_discriminator(depth=3, conv_kernel=5)


def silenced(block):
    """The block without what it adds to its tokens: with both residuals, the identity."""
    for weight in (block.attention.output_kernel, block.attention.output_bias):
        weight.assign(np.zeros(weight.shape))
    for weight in block.contract.weights:
        weight.assign(np.zeros(weight.shape))


def test_blocks_are_named_by_grid_and_place_the_first_as_if_it_were_alone(deep):
    generator, discriminator = deep
    assert [block.name for block in generator.blocks] == NAMES
    assert [block.name for block in discriminator.blocks] == [
        "block_16", "block_16_2", "block_16_3",
    ]  # fmt: skip
    assert list(discriminator.stages)[-3:] == [block.name for block in discriminator.blocks]
    staged = [w.path for stage in discriminator.stages.values() for w in stage]
    assert len(staged) == len(set(staged))
    head = {w.path.split("/")[1] for w in discriminator.weights if w.path not in staged}
    assert head == {"head_conv_1", "head_conv_2", "to_logits"}


def test_a_block_that_adds_nothing_changes_nothing_but_the_map_of_its_grid(randomised, rng):
    sizes = {"widths": (8, 8, 4), "mlp_residual": True}
    shallow, deep = randomised(tiny_generator(**sizes)), tiny_generator(**sizes, depths=(1, 2, 1))
    done = take_weights(deep, shallow)
    assert {name.split("/")[0] for name in done.new} == {"block_16_2"} and not done.left_out
    z, further = latents(rng), deep.blocks_of_grid(1)[1]
    assert not np.allclose(number(deep(z)), number(shallow(z)))
    silenced(further)
    (images, maps), (expected, theirs) = deep.attention_maps(z), shallow.attention_maps(z)
    np.testing.assert_array_equal(number(images), number(expected))
    for i, side in enumerate(GRID):
        assert maps[i].shape == (2, 2, side**2)
        np.testing.assert_allclose(number(maps[i]).sum(axis=2), 1.0, rtol=1e-5)
        assert np.array_equal(number(maps[i]), number(theirs[i])) == (i != 1)


def test_a_deep_discriminator_is_the_paper_s_while_its_further_blocks_add_nothing(randomised, rng):
    shallow, deep = randomised(tiny_discriminator()), tiny_discriminator(depth=2)
    done = take_weights(deep, shallow)
    assert {name.split("/")[0] for name in done.new} == {"block_16_2"} and not done.left_out
    images = pictures(rng, 32)
    assert not np.allclose(number(deep(images)), number(shallow(images)))
    silenced(deep.blocks[1])
    np.testing.assert_array_equal(number(deep(images)), number(shallow(images)))


def test_multiply_adds_are_those_of_the_traced_graph(deep):
    generator, discriminator = deep
    assert generator_multiply_adds(generator) == multiply_adds(generator, (1, Z))
    traced = multiply_adds(discriminator, (1, 32, 32, 3))
    assert discriminator_multiply_adds(discriminator) == traced


def test_every_block_has_the_parameters_and_activations_of_the_first_of_its_grid(deep):
    shallow = tiny_generator(**{**DEEP, "depths": (1, 1, 1)}), tiny_discriminator(conv_kernel=5)
    blocks = [shallow[0].blocks[0], shallow[0].blocks[2]], [shallow[1].block] * 2
    for one, other, further in zip(deep, shallow, blocks, strict=True):
        added = sum(block.count_params() for block in further)
        assert one.count_params() - other.count_params() == added
    # N tokens of D channels: 9 D, 2 a head (of 2), 2 a unit of the MLP (of 4, in D of 3).
    added = 64 * (9 * 8 + 4 + 8) + 1024 * (9 * 4 + 4 + 8)
    assert generator_activations(deep[0]) - generator_activations(shallow[0]) == added
    added = 2 * 256 * (9 * 4 + 4 + 6)
    assert discriminator_activations(deep[1]) - discriminator_activations(shallow[1]) == added


def test_saved_networks_are_the_same(tmp_path, randomised, rng, deep):
    for network, given in zip(deep, (latents(rng), pictures(rng, 32)), strict=True):
        randomised(network).save(tmp_path / "network.keras")
        loaded = keras.saving.load_model(tmp_path / "network.keras")
        assert loaded.get_config() == network.get_config()
        np.testing.assert_array_equal(number(loaded(given)), number(network(given)))


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
def test_a_configuration_from_before_has_one_block_each_under_the_same_names(make):
    network = make()
    config = network.get_config()
    for name in ("depths", "depth", "conv_kernel"):
        config.pop(name, None)
    rebuilt = type(network).from_config(config)
    assert rebuilt.get_config() == network.get_config()
    assert [w.path for w in rebuilt.weights] == [w.path for w in network.weights]
    layers = {w.path.split("/")[1] for w in network.weights}
    assert {name for name in layers if "block" in name} <= {"block_8", "block_16", "block_32"}
