"""Swin's windows: who sees whom, with and without the shift, and what the bias depends on."""

import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.attention.dot_product import DotProductAttention
from ladagan_tf.models.attention.swin import (
    SwinAttention,
    SwinPair,
    from_windows,
    relative_index,
    to_windows,
)

D, H, GRID, WINDOW = 4, 2, 8, 4
N = GRID**2


@pytest.fixture
def swin(built):
    def make(window=WINDOW, shifted=False, tokens=N):
        layer = SwinAttention(H, window, shifted, dtype="float64")
        return built(layer, (None, tokens, D))

    return make


def number(tensor):
    return ops.convert_to_numpy(tensor)


def influence(layer, rng):
    """Bool array (N, N): entry (i, j), whether a change of token j changes the output's token i."""
    x = rng.standard_normal((N, D))
    before = number(layer(x[None])[0])
    changed = number(layer(x + np.eye(N)[:, :, None])[0])  # one changed token per row of the batch
    return (np.abs(changed - before).max(axis=2) > 1e-5).T


def same_window(first):
    """Bool array (N, N): both tokens lie between the same two of the borders `first`."""
    place = np.searchsorted(first, np.arange(GRID), side="right")
    row, column = np.repeat(place, GRID), np.tile(place, GRID)
    return (row[:, None] == row) & (column[:, None] == column)


def test_a_token_changes_its_window_and_nothing_else(swin, rng):
    np.testing.assert_array_equal(influence(swin(), rng), same_window([0, 4]))


def test_shifted_windows_end_at_the_edges_of_the_image(swin, rng):
    seen = influence(swin(shifted=True), rng)
    np.testing.assert_array_equal(seen, same_window([0, 2, 6]))
    image = seen.reshape(GRID, GRID, GRID, GRID)
    assert not image[0, 0, -1].any() and not image[0, 0, :, -1].any()  # opposite edges
    assert image[1, 1].sum() == 4 and image[4, 0].sum() == 8 and image[4, 4].sum() == 16


def test_a_pair_joins_all_windows(swin, built, rng):
    once = influence(swin(), rng).astype(int)
    assert (once @ once > 0).sum() == N * WINDOW**2  # without a shift two layers see what one sees
    pair = built(SwinPair(H, WINDOW, dtype="float64"), (None, N, D))
    joined = influence(pair, rng).reshape(GRID, GRID, N)
    assert joined[2:6, 2:6].all()  # the shifted windows in the middle touch all four regular ones


@pytest.mark.parametrize("window", [GRID, 2 * GRID])
def test_a_window_of_the_whole_grid_is_not_shifted(swin, rng, window):
    layer, shifted = swin(window), swin(window, shifted=True)
    shifted.set_weights(layer.get_weights())
    x = rng.standard_normal((1, N, D))
    np.testing.assert_array_equal(number(shifted(x)[0]), number(layer(x)[0]))
    assert layer.bias_table.shape == ((2 * GRID - 1) ** 2, H)


def test_a_window_of_the_whole_grid_without_bias_is_dot_product_attention(swin, rng):
    layer = swin(GRID)
    layer.bias_table.assign(np.zeros(layer.bias_table.shape))
    plain = DotProductAttention(H, dtype="float64")
    plain.build((None, N, D))
    plain.set_weights(layer.get_weights()[1:])  # the table comes first
    x = rng.standard_normal((2, N, D))
    for actual, expected in zip(layer(x), plain(x), strict=True):
        np.testing.assert_allclose(number(actual), number(expected), rtol=1e-5, atol=1e-6)


def test_a_window_is_a_square_of_the_grid():
    x = np.arange(N).reshape(1, GRID, GRID, 1)
    windows = number(to_windows(x, WINDOW))
    assert windows.shape == (1, 4, WINDOW**2, 1)
    np.testing.assert_array_equal(windows[0, 1, :, 0], x[0, :4, 4:, 0].ravel())
    np.testing.assert_array_equal(number(from_windows(windows, WINDOW)), x)


def test_bias_depends_on_the_offset_of_query_and_key_alone():
    index = relative_index(3)
    row, column = np.divmod(np.arange(9), 3)
    offsets = {}
    for i, j in np.ndindex(9, 9):
        offsets.setdefault((row[i] - row[j], column[i] - column[j]), set()).add(index[i, j])
    assert all(len(rows) == 1 for rows in offsets.values())
    assert sorted(rows.pop() for rows in offsets.values()) == list(range(25))
    assert index[0, 0] == 12 and index[0, 8] == 0 and index[8, 0] == 24 and index[0, 1] == 11
