"""Norms, blocks and resampling layers against closed forms, NumPy and finite differences."""

import math

import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.lada.ladaformer import Ladaformer
from ladagan_tf.models.lada.layers import DownBlock, PositionEmbedding, UpBlock
from ladagan_tf.models.lada.norms import (
    BatchNormalization,
    GroupNormalization,
    SelfModulatedLayerNorm,
)

B, N, D, Z = 2, 4, 8, 3


def number(tensor):
    return ops.convert_to_numpy(tensor)


def layer_norm(x, epsilon=1e-6):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + epsilon)


def leaky(x):
    return np.where(x > 0, x, 0.2 * x)


@pytest.fixture
def tokens(rng):
    return rng.standard_normal((B, N, D))


@pytest.fixture
def latent(rng):
    return rng.standard_normal((B, Z))


@pytest.fixture
def sln(built):
    return built(SelfModulatedLayerNorm(dtype="float64"), (None, N, D), (None, Z))


def zero(*layers):
    for weight in [w for layer in layers for w in layer.weights]:
        weight.assign(np.zeros(weight.shape))


# -------------------------------------------------------------------------------------- SLN


def sln_in_numpy(layer, x, z):
    def affine(dense, value):
        return value @ number(dense.kernel) + number(dense.bias)

    h = np.maximum(affine(layer.hidden, z), 0.0)
    return layer_norm(x) * affine(layer.scale, h)[:, None] + affine(layer.shift, h)[:, None]


def test_sln_is_the_formula(sln, tokens, latent):
    expected = sln_in_numpy(sln, tokens, latent)
    np.testing.assert_allclose(number(sln(tokens, latent)), expected, rtol=1e-5, atol=1e-6)


def test_sln_is_invariant_to_an_affine_rescale_of_each_token(sln, rng, tokens, latent):
    scale, shift = rng.uniform(0.5, 2.0, (B, N, 1)), rng.standard_normal((B, N, 1))
    moved = number(sln(scale * tokens + shift, latent))
    np.testing.assert_allclose(moved, number(sln(tokens, latent)), rtol=1e-4, atol=1e-4)


def test_sln_depends_on_the_latent(sln, tokens, latent):
    difference = number(sln(tokens, latent)) - number(sln(tokens, latent + 1.0))
    assert np.max(np.abs(difference)) > 0.1


def test_sln_with_unit_scale_and_no_shift_is_layer_norm(sln, tokens, latent):
    zero(sln)
    sln.scale.bias.assign(np.ones(D))
    np.testing.assert_allclose(number(sln(tokens, latent)), layer_norm(tokens), rtol=1e-6)


# ----------------------------------------------------------------------- Ladaformer blocks


@pytest.fixture
def generator_block(built):
    block = Ladaformer(6, num_heads=2, modulation="sln", mlp_residual=False, dtype="float64")
    return built(block, (None, N, D), (None, Z))


@pytest.fixture
def discriminator_block(built):
    return built(Ladaformer(6, num_heads=2, dtype="float64"), (None, N, D))


def mlp_in_numpy(block, x):
    h = x @ number(block.expand.kernel) + number(block.expand.bias)
    erf = np.vectorize(math.erf)
    gelu = 0.5 * h * (1.0 + erf(h / np.sqrt(2.0)))
    return gelu @ number(block.contract.kernel) + number(block.contract.bias)


def test_generator_block_has_no_residual_around_its_mlp(generator_block, tokens, latent):
    zero(generator_block.contract)
    np.testing.assert_array_equal(number(generator_block(tokens, latent)[0]), 0.0)


def test_discriminator_block_without_its_mlp_is_tokens_plus_attention(discriminator_block, tokens):
    block = discriminator_block
    zero(block.contract)
    norm = block.attention_norm
    normed = layer_norm(tokens) * number(norm.gamma) + number(norm.beta)
    expected = tokens + number(block.attention(normed)[0])
    np.testing.assert_allclose(number(block(tokens)[0]), expected, rtol=1e-5, atol=1e-6)


def test_generator_block_without_attention_is_the_mlp_of_the_second_sln(
    generator_block, tokens, latent
):
    attention = generator_block.attention
    attention.output_kernel.assign(np.zeros((D, D)))
    attention.output_bias.assign(np.zeros(D))
    expected = mlp_in_numpy(generator_block, sln_in_numpy(generator_block.mlp_norm, tokens, latent))
    actual = number(generator_block(tokens, latent)[0])
    np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_blocks_return_the_attention_map(generator_block, discriminator_block, tokens, latent):
    for weights in (generator_block(tokens, latent)[1], discriminator_block(tokens)[1]):
        assert weights.shape == (B, 2, N)


# ---------------------------------------------------------------------- positions, resampling


def test_positions_add_their_table_to_every_image(built, tokens):
    layer = built(PositionEmbedding(dtype="float64"), (None, N, D))
    expected = tokens + number(layer.table)
    np.testing.assert_allclose(number(layer(tokens)), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [(16, 8), (8, 16)])
def test_position_table_is_orthogonal_at_first(shape):
    layer = PositionEmbedding()
    layer.build((None, *shape))
    table = number(layer.table)
    gram = table.T @ table if shape[0] > shape[1] else table @ table.T
    np.testing.assert_allclose(gram, np.eye(8), rtol=1e-5, atol=1e-5)


def test_depth_to_space_puts_channel_group_ab_at_row_a_column_b(rng):
    grid = rng.standard_normal((1, 2, 3, 12)).astype("float32")
    out = number(ops.depth_to_space(grid, 2))
    assert out.shape == (1, 4, 6, 3)
    for a in range(2):
        for b in range(2):
            first = (2 * a + b) * 3
            np.testing.assert_array_equal(out[:, a::2, b::2], grid[..., first : first + 3])


def test_space_to_depth_is_the_inverse_of_depth_to_space(rng):
    grid = rng.standard_normal((2, 4, 4, 16)).astype("float32")
    for factor in (2, 4):
        shuffled = ops.depth_to_space(grid, factor)
        np.testing.assert_array_equal(number(ops.space_to_depth(shuffled, factor)), grid)


def identity_norm(norm):
    norm.moving_mean.assign(np.zeros(norm.moving_mean.shape))
    norm.moving_variance.assign(np.full(norm.moving_variance.shape, 1.0 - norm.epsilon))
    norm.gamma.assign(np.ones(norm.gamma.shape))
    norm.beta.assign(np.zeros(norm.beta.shape))


def delta_kernel(size, row, column, channels):
    kernel = np.zeros((size, size, channels, channels))
    kernel[row, column] = np.eye(channels)
    return kernel


def test_up_block_repeats_pixels_then_convolves_then_bends(built, rng):
    x = rng.standard_normal((2, 3, 2, 4))
    block = built(UpBlock(4, dtype="float64"), x.shape)
    identity_norm(block.norm)
    block.conv.kernel.assign(delta_kernel(3, 1, 1, 4))
    block.conv.bias.assign(np.full(4, 0.25))
    expected = leaky(np.repeat(np.repeat(x, 2, axis=1), 2, axis=2) + 0.25)
    assert block.compute_output_shape(x.shape) == expected.shape
    np.testing.assert_allclose(number(block(x)), expected, rtol=1e-5, atol=1e-6)


def shifted(x, rows, columns):
    """x[i + rows, j + columns], zero where that lies outside."""
    padded = np.pad(x, ((0, 0), (0, 2), (0, 2), (0, 0)))
    return padded[:, rows : rows + x.shape[1], columns : columns + x.shape[2]]


@pytest.mark.parametrize("tap", [(0, 0), (1, 1), (2, 2), (0, 2)])
def test_stride_two_convolution_pads_at_the_bottom_and_right(built, rng, tap):
    x = rng.standard_normal((1, 6, 4, 2))
    block = built(DownBlock(2, dtype="float64"), x.shape)
    block.main_conv_1.kernel.assign(delta_kernel(3, *tap, 2))
    expected = shifted(x, *tap)[:, ::2, ::2]
    np.testing.assert_allclose(number(block.main_conv_1(x)), expected, rtol=1e-6, atol=1e-12)


def test_down_block_is_the_mean_of_its_two_paths(built, rng):
    x = rng.standard_normal((2, 4, 6, 3))
    block = built(DownBlock(3, dtype="float64"), x.shape)
    for norm in (block.main_norm_1, block.main_norm_2, block.direct_norm):
        identity_norm(norm)
    block.main_conv_1.kernel.assign(delta_kernel(3, 1, 1, 3))
    block.main_conv_2.kernel.assign(delta_kernel(3, 1, 1, 3))
    block.direct_conv.kernel.assign(delta_kernel(1, 0, 0, 3))
    pooled = x.reshape(2, 2, 2, 3, 2, 3).mean(axis=(2, 4))
    expected = (leaky(leaky(x[:, 1::2, 1::2])) + leaky(pooled)) / 2
    assert block.compute_output_shape(x.shape) == expected.shape
    np.testing.assert_allclose(number(block(x)), expected, rtol=1e-5, atol=1e-6)


def test_a_down_block_without_norms_starts_with_the_mean_square_of_its_input(rng):
    """Its main path starts at nothing; pooling keeps what varies slowly."""
    x = np.repeat(np.repeat(rng.standard_normal((8, 4, 4, 32)) + 0.5, 2, 1), 2, 2)
    block = DownBlock(512, norm="none")
    block.build(x.shape)
    y = number(block(x))
    np.testing.assert_allclose(np.mean(y**2), np.mean(x**2), rtol=0.1)
    direct = leaky(number(block.direct_conv(block.pool(x))))
    np.testing.assert_allclose(y, direct / 2, rtol=1e-5, atol=1e-6)
    assert {v.path.split("/")[-2:][0] for v in block.weights} == {
        "main_conv_1", "main_conv_2", "direct_conv",
    }  # fmt: skip
    hidden = leaky(number(block.main_conv_1(x)))  # strided: a part of x, and the border's zeros
    assert 0.5 < np.mean(hidden**2) / np.mean(x**2) < 1.1


@pytest.mark.parametrize(
    "layer",
    [
        BatchNormalization(0.5, 1e-4),
        Ladaformer(6, 2, modulation="sln", mlp_residual=False, score="per_head"),
        SelfModulatedLayerNorm(),
        PositionEmbedding(),
        UpBlock(4),
        DownBlock(4),
        DownBlock(4, norm="none"),
        GroupNormalization(1e-4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_config_rebuilds_the_layer(layer):
    config = layer.get_config()
    assert type(layer).from_config(config).get_config() == config
