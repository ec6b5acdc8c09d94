"""GAT's blocks and heads against their formulas in float64 NumPy, and how they start."""

import numpy as np
import pytest
from gat_in_numpy import B, C, G, H, T, affine, assert_close, number, rms_norm, silu

from ladagan_tf.models.gat.blocks import DiscriminatorBlock, GeneratorBlock, LevelHead


@pytest.fixture
def tokens(rng):
    return rng.standard_normal((B, T, C))


@pytest.fixture
def style(rng):
    return rng.standard_normal((B, C))


@pytest.fixture
def generator_block(built):
    return built(GeneratorBlock(H, G, dtype="float64"), (None, T, C), (None, C))


@pytest.fixture
def discriminator_block(built):
    return built(DiscriminatorBlock(H, G, dtype="float64"), (None, 1 + T, C))


def test_generator_block_scales_and_gates_and_does_not_shift(generator_block, tokens, style):
    block = generator_block
    modulation = affine(block.modulation, silu(style))[:, None]
    scale_1, gate_1, scale_2, gate_2 = np.split(modulation, 4, axis=-1)
    y = tokens + gate_1 * number(block.attention(rms_norm(tokens) * (1 + scale_1)))
    expected = y + gate_2 * number(block.mlp(rms_norm(y) * (1 + scale_2)))
    assert_close(block(tokens, style), expected)


def test_generator_block_and_head_of_cat_also_shift(built, tokens, style):
    shapes, kind = ((None, T, C), (None, C)), {"modulation": "shift_scale_gate", "dtype": "float64"}
    block = built(GeneratorBlock(H, G, **kind), *shapes)
    modulation = affine(block.modulation, silu(style))[:, None]
    shift_1, scale_1, gate_1, shift_2, scale_2, gate_2 = np.split(modulation, 6, axis=-1)
    y = tokens + gate_1 * number(block.attention(rms_norm(tokens) * (1 + scale_1) + shift_1))
    expected = y + gate_2 * number(block.mlp(rms_norm(y) * (1 + scale_2) + shift_2))
    assert_close(block(tokens, style), expected)
    head = built(LevelHead(G, 1, 3, **kind), *shapes)
    shift, scale = np.split(affine(head.modulation, silu(style))[:, None], 2, axis=-1)
    expected = affine(head.to_patch, rms_norm(tokens) * (1 + scale) + shift)
    assert_close(head(tokens, style), expected.reshape(B, G, G, 3))
    with pytest.raises(ValueError, match="modulation='shift' is not one of scale_gate, shift_"):
        LevelHead(G, 1, 3, modulation="shift")


def test_generator_block_with_closed_gates_is_the_identity(generator_block, tokens, style):
    for weight in (generator_block.modulation.kernel, generator_block.modulation.bias):
        value = number(weight).copy()
        value[..., C : 2 * C] = value[..., 3 * C :] = 0.0
        weight.assign(value)
    np.testing.assert_array_equal(generator_block(tokens, style), tokens)


def test_generator_block_takes_one_set_of_tokens_for_all_styles(generator_block, tokens, style):
    alone = generator_block(tokens[:1], style)
    assert_close(alone, generator_block(np.repeat(tokens[:1], B, axis=0), style))


def test_discriminator_block_scales_its_branches(discriminator_block, rng):
    block, x = discriminator_block, rng.standard_normal((B, 1 + T, C))
    y = x + number(block.attention_scale) * number(block.attention(block.attention_norm(x)))
    expected = y + number(block.mlp_scale) * number(block.mlp(block.mlp_norm(y)))
    assert_close(block(x), expected)


def test_blocks_start_with_small_modulation_and_layer_scale():
    block = GeneratorBlock(8, 2)
    block.build((None, 4, 256), (None, 256))
    kernel = number(block.modulation.kernel)
    assert np.std(kernel) == pytest.approx(0.1 * np.sqrt(2 / (256 + 4 * 256)), rel=0.05)
    assert np.std(number(block.attention.qkv.kernel)) == pytest.approx(
        np.sqrt(2 / (4 * 256)), rel=0.05
    )
    biases = [w for w in block.weights if w.name == "bias"]
    assert len(biases) == 5 and all(np.all(number(w) == 0) for w in biases)
    block = DiscriminatorBlock(8, 2)
    block.build((None, 5, 256))
    for scale in (block.attention_scale, block.mlp_scale):
        np.testing.assert_array_equal(scale, np.full(256, 0.1, "float32"))


def test_head_puts_the_patches_numbers_at_row_column_channel(built, tokens, style):
    head = built(LevelHead(G, patch=2, channels=3, dtype="float64"), (None, T, C), (None, C))
    scale = affine(head.modulation, silu(style))[:, None]
    patches = affine(head.to_patch, rms_norm(tokens) * (1 + scale))
    expected = patches.reshape(B, G, G, 2, 2, 3).transpose(0, 1, 3, 2, 4, 5)
    latents = head(tokens, style)
    assert latents.shape == head.compute_output_shape(tokens.shape, style.shape)
    assert_close(latents, expected.reshape(B, 2 * G, 2 * G, 3))
