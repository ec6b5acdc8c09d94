"""GAT's positions and attention against their formulas in float64 NumPy."""

import numpy as np
import pytest
from gat_in_numpy import B, C, D, G, H, T, affine, assert_close, number, rms_norm
from keras import ops

from ladagan_tf.models.gat.attention import GatAttention, rope_tables, rotate, sincos_table

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
