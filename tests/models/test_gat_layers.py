"""GAT's layers against closed forms in NumPy, and what their structure promises."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.gat_attention import GatAttention, rope_tables, rotate, sincos_table
from ladagan_tf.models.gat_blocks import DiscriminatorBlock, GeneratorBlock, LevelHead
from ladagan_tf.models.gat_layers import (
    ClassTable,
    EqualLinear,
    RMSNorm,
    SwiGLU,
    rms_normalize,
    swiglu_width,
)
from ladagan_tf.models.gat_mapping import Mapping

B, G, C, H = 2, 3, 16, 2
T, D = G * G, C // H


def number(tensor):
    return ops.convert_to_numpy(tensor)


def assert_close(actual, expected, tolerance=1e-5):
    np.testing.assert_allclose(number(actual), number(expected), rtol=tolerance, atol=tolerance)


def silu(x):
    return x / (1.0 + np.exp(-x))


def rms_norm(x, epsilon=1e-6):
    return x / np.sqrt(np.mean(x**2, axis=-1, keepdims=True) + epsilon)


def affine(layer, x):
    return x @ number(layer.kernel) + number(layer.bias)


def zero(*weights):
    for weight in weights:
        weight.assign(np.zeros(weight.shape))


@pytest.fixture
def tokens(rng):
    return rng.standard_normal((B, T, C))


@pytest.fixture
def style(rng):
    return rng.standard_normal((B, C))


# -------------------------------------------------------------------------------- small layers


def test_rms_norm_is_the_formula_with_its_epsilon_and_weight(built, tokens):
    layer = built(RMSNorm(epsilon=0.5, dtype="float64"), tokens.shape)
    assert_close(layer(tokens), rms_norm(tokens, 0.5) * number(layer.weight))
    assert_close(rms_normalize(ops.convert_to_tensor(tokens)), rms_norm(tokens))


def test_rms_norm_of_half_precision_is_computed_in_float32():
    x = ops.cast(np.full((1, 8), 1e-4), "float16")  # its square is below float16's range
    assert x.dtype == rms_normalize(x, 0.0).dtype
    assert_close(rms_normalize(x, 0.0), np.ones((1, 8)), 1e-3)


def test_equal_linear_is_a_hundredth_of_what_it_stores(built, tokens):
    layer = built(EqualLinear(5, dtype="float64"), tokens.shape)
    expected = tokens @ (0.01 * number(layer.kernel)) + 0.01 * number(layer.bias)
    assert_close(layer(tokens), expected)


def test_equal_linear_starts_as_an_ordinary_layer_stored_a_hundredfold(rng):
    layer = EqualLinear(300)
    layer.build((None, 100))
    assert np.std(number(layer.kernel)) == pytest.approx(100 * np.sqrt(2 / 400), rel=0.05)
    x = rng.standard_normal((500, 100)).astype("float32")
    assert np.std(number(layer(x))) == pytest.approx(np.sqrt(100 * 2 / 400), rel=0.05)


def test_class_table_gives_rows_and_starts_small():
    layer = ClassTable(50, 40)
    layer.build()
    np.testing.assert_array_equal(layer(np.array([3, 49, 3])), number(layer.table)[[3, 49, 3]])
    assert np.std(number(layer.table)) == pytest.approx(0.02, rel=0.1)


def test_class_table_has_a_dense_gradient_also_for_repeated_labels(tf):
    layer = ClassTable(5, 2)
    layer.build()
    with tf.GradientTape() as tape:
        total = tf.reduce_sum(layer(tf.constant([3, 1, 3])))
    gradient = tape.gradient(total, layer.table.value)
    np.testing.assert_array_equal(gradient, np.array([0, 1, 0, 2, 0])[:, None] * np.ones(2))


def test_swiglu_is_the_formula(built, tokens):
    layer = built(SwiGLU(dtype="float64"), tokens.shape)
    gate, value = np.split(affine(layer.expand, tokens), 2, axis=-1)
    assert_close(layer(tokens), affine(layer.contract, silu(gate) * value))


def test_swiglu_widths_are_those_of_the_four_sizes():
    assert [swiglu_width(c) for c in (384, 768, 1024, 1152)] == [1024, 2048, 2730, 3072]


# ----------------------------------------------------------------------------------- positions


def test_table_codes_the_column_first():
    table = sincos_table(C, G).reshape(G, G, C)
    half = C // 2
    assert np.ptp(table[..., :half], axis=0).max() == 0  # the same in every row
    assert np.ptp(table[..., half:], axis=1).max() == 0  # the same in every column
    np.testing.assert_allclose(table[0, 2, :half], table[2, 0, half:])
    np.testing.assert_array_equal(table[0, 0], np.repeat([0, 1, 0, 1], C // 4))
    assert table[0, 1, 1] == np.sin(10_000 ** (-1 / (C // 4)))


def test_rotation_codes_the_row_first_on_adjacent_pairs():
    cos, sin = (table.reshape(G, G, D) for table in rope_tables(D, G))
    assert np.ptp(sin[..., : D // 2], axis=1).max() == 0  # the same in every column
    assert np.ptp(sin[..., D // 2 :], axis=0).max() == 0  # the same in every row
    np.testing.assert_array_equal(cos[..., 0::2], cos[..., 1::2])
    assert sin[1, 0, 2] == np.sin(10_000 ** (-2 / (D // 2)))


@pytest.fixture
def rotated(rng):
    x = rng.standard_normal((B, T, H, D))
    return x, number(rotate(x, *rope_tables(D, G)))


def test_rotation_is_that_of_adjacent_pairs_by_the_tables_angles(rotated):
    x, y = rotated
    cos, sin = (table[:, None, 0::2] for table in rope_tables(D, G))
    a, b = x[..., 0::2], x[..., 1::2]
    assert_close(y[..., 0::2], a * cos - b * sin)
    assert_close(y[..., 1::2], b * cos + a * sin)


def test_rotation_keeps_norms_and_the_first_token(rotated):
    x, y = rotated
    np.testing.assert_array_equal(y[:, 0], x[:, 0])
    pairs = (B, T, H, D // 2, 2)
    norms = [np.linalg.norm(part.reshape(pairs), axis=-1) for part in (x, y)]
    assert_close(*norms)


def test_products_of_rotated_vectors_depend_on_the_offset_alone(rng):
    q, k = (np.tile(rng.standard_normal(D), (1, T, 1, 1)) for _ in range(2))
    q, k = (number(rotate(x, *rope_tables(D, G)))[0, :, 0] for x in (q, k))
    products = (q @ k.T).reshape(G, G, G, G)
    by_offset = {}
    for i, j, m, n in np.ndindex(G, G, G, G):
        by_offset.setdefault((i - m, j - n), []).append(products[i, j, m, n])
    assert max(np.ptp(values) for values in by_offset.values()) < 1e-6
    assert np.ptp([values[0] for values in by_offset.values()]) > 0.1


# ----------------------------------------------------------------------------------- attention


@pytest.fixture
def attention(built):
    return built(GatAttention(H, G, dtype="float64"), (None, 1 + T, C))


def attention_in_numpy(layer, x):
    q, k, v = (
        part.reshape(*x.shape[:2], H, D) for part in np.split(affine(layer.qkv, x), 3, axis=-1)
    )
    heads = []
    for part, norm in ((q, layer.query_norm), (k, layer.key_norm)):
        part = rms_norm(part, 1.1920929e-07) * number(norm.weight)
        grid = number(rotate(part[:, -T:], *rope_tables(D, G)))
        heads.append(np.concatenate([part[:, :-T], grid], axis=1))
    scores = np.einsum("bnhd,bmhd->bhnm", *heads) / np.sqrt(D)
    weights = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    mixed = np.einsum("bhnm,bmhd->bnhd", weights, v).reshape(x.shape)
    return affine(layer.output_projection, mixed)


def test_attention_is_the_formula_and_rotates_the_grids_tokens_alone(attention, rng):
    x = rng.standard_normal((B, 1 + T, C))
    assert_close(attention(x), attention_in_numpy(attention, x))


@pytest.mark.parametrize(
    ("policy", "tolerance"), [("float64", 1e-6), ("float32", 1e-5), ("mixed_bfloat16", 0.05)]
)
def test_fused_attention_equals_the_explicit_one(built, rng, policy, tolerance):
    fused = built(GatAttention(H, G, dtype=policy), (None, T, C))
    explicit = GatAttention(H, G, fused=False, dtype=policy)
    explicit.build((None, T, C))
    explicit.set_weights(fused.get_weights())
    x = rng.standard_normal((B, T, C))
    assert fused(x).dtype == explicit(x).dtype
    assert_close(ops.cast(fused(x), "float32"), ops.cast(explicit(x), "float32"), tolerance)


def test_attention_does_not_see_the_scale_of_queries_and_keys(attention, rng):
    x = rng.standard_normal((B, 1 + T, C))
    before = number(attention(x))
    scale = np.repeat([10.0, 10.0, 1.0], C)
    for weight in (attention.qkv.kernel, attention.qkv.bias):
        weight.assign(number(weight) * scale)
    assert_close(attention(x), before)


@pytest.mark.parametrize(
    ("heads", "grid", "message"),
    [(3, G, "num_heads=3: the width 16 is no"), (H, 4, "grid=4 has more tokens than the 9")],
)
def test_attention_refuses_sizes_that_do_not_fit(heads, grid, message):
    with pytest.raises(ValueError, match=message):
        GatAttention(heads, grid).build((None, T, C))


# -------------------------------------------------------------------------------------- blocks


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


# ------------------------------------------------------------------------------------- styles


@pytest.fixture
def mapping(built):
    layer = built(Mapping(5, 6, C, dtype="float64"), (None, 6), (None,))
    for weight in layer.trainable_weights[1:]:  # the two slow layers store a hundredfold
        weight.assign(100 * number(weight))
    return layer


@pytest.fixture
def noise(rng):
    return rng.standard_normal((4, 6))


LABELS = np.array([3, 1, 3, 0])


def mapping_in_numpy(layer, z, labels):
    rows = rms_norm(number(layer.classes.table)[labels], 1e-8)
    hidden = 0.01 * affine(layer.hidden, np.concatenate([rows, rms_norm(z, 1e-8)], axis=-1))
    return 0.01 * affine(layer.output_layer, silu(hidden))


def test_style_is_the_formula_class_before_noise(mapping, noise):
    assert_close(mapping(noise, LABELS), mapping_in_numpy(mapping, noise, LABELS))


def test_psi_one_is_no_truncation_and_psi_zero_the_classes_mean(mapping, noise):
    style, mean = number(mapping(noise, LABELS)), number(mapping.mean_style)[LABELS]
    np.testing.assert_array_equal(mapping(noise, LABELS, psi=1.0), style)
    np.testing.assert_array_equal(mapping(noise, LABELS, psi=0.0), mean)
    for psi in (0.7, ops.convert_to_tensor(0.7, "float64")):
        assert_close(mapping(noise, LABELS, psi=psi), 0.7 * style + 0.3 * mean)


def test_guidance_leads_away_from_the_mean_over_all_classes(mapping, noise):
    style = number(mapping(noise, LABELS))
    centre = np.mean([mapping_in_numpy(mapping, noise, np.full(4, c)) for c in range(5)], axis=0)
    np.testing.assert_array_equal(mapping(noise, LABELS, guidance=1.0), style)
    assert_close(mapping(noise, LABELS, guidance=1.5), centre + 1.5 * (style - centre))
    assert_close(mapping(noise, LABELS, guidance=0.0), centre)


def test_official_guidance_knows_only_the_sign_of_the_noise(mapping, noise):
    official = Mapping.from_config({**mapping.get_config(), "official_guidance": True})
    official.build((None, 6), (None,))
    official.set_weights(mapping.get_weights())
    centres = [number(official(z, LABELS, guidance=0.0)) for z in (noise, 3 * abs(noise) - noise)]
    assert np.max(np.abs(centres[0] - centres[1])) > 0.01
    assert_close(centres[0], official(2 * noise + np.sign(noise), LABELS, guidance=0.0))


def test_mean_style_moves_by_class_and_only_where_there_are_samples(mapping, rng):
    styles, old = rng.standard_normal((4, C)), number(mapping.mean_style)
    new = number(mapping.updated_mean_style(ops.convert_to_tensor(styles), LABELS))
    expected = old.copy()
    for label, mean in ((3, (styles[0] + styles[2]) / 2), (1, styles[1]), (0, styles[3])):
        expected[label] = 0.995 * old[label] + 0.005 * mean
    assert_close(new, expected, 1e-7)
    np.testing.assert_array_equal(new[[2, 4]], old[[2, 4]])
    np.testing.assert_array_equal(mapping.mean_style, old)


def test_mean_style_starts_at_zero_and_is_not_trained():
    layer = Mapping(5, 6, C)
    layer.build((None, 6), (None,))
    assert np.all(number(layer.mean_style) == 0)
    assert [w.name for w in layer.non_trainable_weights] == ["mean_style"]


@pytest.mark.parametrize(
    "layer",
    [
        RMSNorm(0.5),
        EqualLinear(4),
        ClassTable(3, 4),
        SwiGLU(),
        GatAttention(H, G, fused=False),
        GeneratorBlock(H, G, fused=False),
        DiscriminatorBlock(H, G),
        LevelHead(G, 2, 3),
        Mapping(5, 6, 7, official_guidance=True),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_config_rebuilds_the_layer(layer):
    config = keras.saving.serialize_keras_object(layer)
    assert keras.saving.deserialize_keras_object(config).get_config() == layer.get_config()
