"""The attention layers of LadaGAN's ablation are their papers' formulas behind one interface."""

import keras
import numpy as np
import pytest
from keras import ops
from traced_products import multiply_adds

from ladagan_tf.cost.layers import attention_multiply_adds
from ladagan_tf.models.attention import ATTENTIONS
from ladagan_tf.models.attention.kinds import make_attention

B, N, D, H = 2, 16, 8, 2  # a grid of 4 x 4 tokens
RANK, WINDOW = 5, 2
SIZES = {"rank": RANK, "window": WINDOW}
RIVALS = ATTENTIONS[1:]


@pytest.fixture
def attention(built):
    """A layer with random weights, of a kind and for N tokens; further arguments as given."""

    def make(kind, tokens=N, dtype="float64", **sizes):
        layer = make_attention(kind, H, dtype=dtype, **{**SIZES, **sizes})
        return built(layer, (None, tokens, D))

    return make


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N, D))


def number(tensor):
    return ops.convert_to_numpy(tensor)


def close(actual, expected):
    np.testing.assert_allclose(number(actual), number(expected), rtol=1e-5, atol=1e-6)


# ------------------------------------------------------------------------------ the formulas


def affine(dense, x):
    return x @ number(dense.kernel) + number(dense.bias)


def softmax(scores, axis):
    weights = np.exp(scores - scores.max(axis=axis, keepdims=True))
    return weights / weights.sum(axis=axis, keepdims=True)


def heads():
    return [slice(h * D // H, (h + 1) * D // H) for h in range(H)]


def dot_product_in_numpy(layer, x, bias=None, keys=None, values=None):
    """Tokens and the map averaged over the queries; head h adds bias[h] to its scores."""
    bias = np.zeros(H) if bias is None else bias
    query, key, value = (affine(part, x) for part in (layer.query, layer.key, layer.value))
    key = key if keys is None else keys.T @ key
    value = value if values is None else values.T @ value
    mixed, received = [], []
    for h, own in enumerate(heads()):
        scores = query[..., own] @ key[..., own].swapaxes(1, 2) / np.sqrt(D / H)
        weights = softmax(scores + bias[h], axis=2)
        mixed.append(weights @ value[..., own])
        received.append(weights.mean(axis=1))
    tokens = affine(layer.output_projection, np.concatenate(mixed, axis=2))
    return tokens, np.stack(received, axis=1)


def linformer_in_numpy(layer, x):
    mixing = {"keys": number(layer.key_mixing), "values": number(layer.value_mixing)}
    return dot_product_in_numpy(layer, x, **mixing)[0], None


def windows_of(tokens, window, shift):
    """The window of each token, cut from the image itself: no window wraps round its edges."""
    row, column = np.divmod(np.arange(tokens), round(tokens**0.5))
    start = window - shift if shift else 0  # the first window of a shifted grid is the cut one
    return (row + start) // window * tokens + (column + start) // window


def swin_in_numpy(layer, x, window=WINDOW, shift=0):
    """Attention of all tokens to all, whose bias forbids other windows."""
    side = round(x.shape[1] ** 0.5)
    table = number(layer.bias_table).reshape(2 * window - 1, 2 * window - 1, H)
    own = windows_of(x.shape[1], window, shift)
    bias = np.full((H, x.shape[1], x.shape[1]), -np.inf)
    for i, j in np.ndindex(bias.shape[1:]):
        if own[i] == own[j]:
            rows, columns = i // side - j // side, i % side - j % side
            bias[:, i, j] = table[rows + window - 1, columns + window - 1]
    return dot_product_in_numpy(layer, x, bias)


def fastformer_in_numpy(layer, x):
    def pooled(tokens, scores):
        weights = softmax(scores / np.sqrt(D / H), axis=1)  # (B, N, H)
        parts = [np.einsum("bn,bnd->bd", weights[..., h], tokens[..., own])
                 for h, own in enumerate(heads())]  # fmt: skip
        return np.concatenate(parts, axis=1)[:, None], weights.swapaxes(1, 2)

    query, key = affine(layer.query, x), affine(layer.key, x)
    global_query, weights = pooled(query, affine(layer.query_score, query))
    p = global_query * key
    global_key, _ = pooled(p, affine(layer.key_score, p))
    return affine(layer.output_projection, global_key * query) + query, weights


def swin_pair_in_numpy(layer, x):
    tokens, weights = swin_in_numpy(layer.regular, x)
    shifted_tokens, shifted_weights = swin_in_numpy(layer.shifted, x + tokens, shift=1)
    return tokens + shifted_tokens, (weights + shifted_weights) / 2


FORMULAS = {
    "fastformer": fastformer_in_numpy,
    "linformer": linformer_in_numpy,
    "swin": swin_in_numpy,
    "swin_pair": swin_pair_in_numpy,
    "dot_product": dot_product_in_numpy,
}


@pytest.mark.parametrize("kind", RIVALS)
def test_tokens_map_and_declared_shapes_are_the_formula_s(attention, x, kind):
    layer = attention(kind)
    tokens, weights = layer(x)
    expected_tokens, expected_weights = FORMULAS[kind](layer, x)
    close(tokens, expected_tokens)
    if kind == "linformer":
        assert weights is None
    else:
        close(weights, expected_weights)
    # Not None for none: the summary of a network in --dry_run takes shapes only.
    shapes = tuple(() if output is None else tuple(output.shape) for output in (tokens, weights))
    assert layer.compute_output_shape(x.shape) == shapes


def test_linformer_of_unmixed_tokens_is_dot_product_attention(attention, x):
    layer = attention("linformer", rank=N)
    for mixing in (layer.key_mixing, layer.value_mixing):
        mixing.assign(np.eye(N))
    close(layer(x)[0], dot_product_in_numpy(layer, x)[0])


# -------------------------------------------------------------------------------- properties


@pytest.mark.parametrize("kind", ["additive", "fastformer", "dot_product"])
def test_output_is_equivariant_to_token_permutation(attention, rng, x, kind):
    layer, order = attention(kind), rng.permutation(N)
    tokens, weights = layer(x)
    permuted_tokens, permuted_weights = layer(x[:, order])
    close(permuted_tokens, number(tokens)[:, order])
    close(permuted_weights, number(weights)[..., order])


@pytest.mark.parametrize("kind", ["linformer", "swin", "swin_pair"])
def test_output_depends_on_the_order_of_the_tokens(attention, rng, x, kind):
    layer, order = attention(kind), rng.permutation(N)
    assert np.ptp(number(layer(x[:, order])[0]) - number(layer(x)[0])[:, order]) > 0.1


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_multiply_adds_are_the_closed_form(kind):
    """Of another number of tokens than 8 x 8, 16 x 16 and 32 x 32 in test_ladagan_switches.py."""
    layer = make_attention(kind, H, **SIZES)
    layer.build((None, N, D))
    expected = attention_multiply_adds(kind, N, D, H, score="full", **SIZES)
    assert multiply_adds(layer, (1, N, D)) == expected


PARAMETERS = {
    "additive": 4 * (D**2 + D) + H * (D + 1),
    "fastformer": 3 * (D**2 + D) + 2 * H * (D + 1),
    "linformer": 4 * (D**2 + D) + 2 * N * RANK,
    "swin": 4 * (D**2 + D) + H * (2 * WINDOW - 1) ** 2,
    "swin_pair": 2 * (4 * (D**2 + D) + H * (2 * WINDOW - 1) ** 2),
    "dot_product": 4 * (D**2 + D),
}


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_parameters_are_the_closed_form_and_all_learn(tf, attention, x, kind):
    layer = attention(kind)
    assert layer.count_params() == PARAMETERS[kind]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(x)[0]))
    gradients = tape.gradient(loss, [weight.value for weight in layer.weights])
    assert all(isinstance(gradient, tf.Tensor) for gradient in gradients)  # dense, none missing


# The additive one is compiled in test_parity_ladagan.py, and a pair has the parts of "swin".
@pytest.mark.parametrize("kind", ["fastformer", "linformer", "swin_pair", "dot_product"])
def test_xla_computes_the_same_outputs_and_gradients(tf, attention, x, kind):
    layer = attention(kind)

    def step(x):
        with tf.GradientTape() as tape:
            outputs = layer(x)
            loss = tf.reduce_sum(tf.square(outputs[0]))
        return outputs, tape.gradient(loss, [weight.value for weight in layer.weights])

    x = tf.constant(x)
    compiled = tf.nest.flatten(tf.function(step, jit_compile=True, autograph=False)(x))
    for actual, expected in zip(compiled, tf.nest.flatten(step(x)), strict=True):
        assert (actual is None) == (expected is None)
        if actual is not None:
            np.testing.assert_allclose(actual, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_half_precision_keeps_the_map_in_float32(attention, x, kind):
    layer = attention(kind, dtype="mixed_bfloat16")
    tokens, weights = layer(x.astype("float32"))
    assert keras.backend.standardize_dtype(tokens.dtype) == "bfloat16"
    if weights is not None:
        assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    precise = attention(kind, dtype="float32")
    precise.set_weights(layer.get_weights())
    expected = number(precise(x.astype("float32"))[0])
    actual = number(ops.cast(tokens, "float32"))
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


# -------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("kind", "sizes", "message"),
    [
        ("cosine", {}, "attention='cosine' is not one of additive, fastformer, linformer, swin"),
        ("linformer", {"rank": 17}, "rank=17 of 16 tokens: give 1 to 16"),
        ("linformer", {"rank": 0}, "rank=0 of 16 tokens"),
        ("swin", {"window": 3}, "window=3 does not divide the side 4 of the grid"),
        ("swin", {"window": 0}, "window=0 does not divide"),
        ("swin", {"tokens": 15}, "15 tokens are no square grid"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(attention, kind, sizes, message):
    with pytest.raises(ValueError, match=message):
        attention(kind, **sizes)


@pytest.mark.parametrize("kind", RIVALS)
def test_heads_that_do_not_divide_the_width_are_refused(kind):
    with pytest.raises(ValueError, match="num_heads=3 does not divide the width 8"):
        make_attention(kind, 3).build((None, N, D))
