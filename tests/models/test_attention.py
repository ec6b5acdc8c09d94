"""Additive attention is the published formula, linear in the tokens and blind to their order."""

import keras
import numpy as np
import pytest

from ladagan_tf.models.attention import SCORES
from ladagan_tf.models.attention.additive import AdditiveAttention

B, N, D, H = 2, 5, 8, 2


def attention_in_numpy(layer, x):
    """Tokens and map from the formula, head by head, in float64."""
    w = {v.name: np.asarray(v, np.float64) for v in layer.weights}
    query, key, value = (
        x @ w[f"{name}_kernel"] + w[f"{name}_bias"] for name in ("query", "key", "value")
    )
    width = x.shape[-1] // layer.num_heads
    mixed, maps = [], []
    for h in range(layer.num_heads):
        own = slice(h * width, (h + 1) * width)
        if layer.score == "full":
            score = query @ w["score_kernel"][:, h] + w["score_bias"][h]  # (B, N)
        else:
            score = query[..., own] @ w["score_kernel"][h]  # (B, N)
        weights = np.exp(score / np.sqrt(width))
        weights /= weights.sum(axis=1, keepdims=True)
        pooled = np.einsum("bn,bnd->bd", weights, query[..., own])
        mixed.append(pooled[:, None] * key[..., own] * value[..., own])
        maps.append(weights)
    tokens = np.concatenate(mixed, axis=-1) @ w["output_kernel"] + w["output_bias"]
    return tokens, np.stack(maps, axis=1)


@pytest.fixture
def attention(randomised):
    """A float64 layer with random weights; keyword arguments as `AdditiveAttention`."""

    def make(num_heads=H, score="full", tokens=N, dtype="float64"):
        layer = AdditiveAttention(num_heads, score, dtype=dtype)
        layer.build((None, tokens, D))
        return randomised(layer)

    return make


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N, D))


def numbers(outputs):
    return [keras.ops.convert_to_numpy(o) for o in outputs]


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("num_heads", [1, 2, 8])
def test_output_and_map_are_the_formula(attention, x, score, num_heads):
    layer = attention(num_heads, score)
    for actual, expected in zip(numbers(layer(x)), attention_in_numpy(layer, x), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_map_is_a_distribution_over_tokens_for_each_head(attention, x, score):
    tokens, weights = numbers(attention(score=score)(x))
    assert tokens.shape == (B, N, D) and weights.shape == (B, H, N)
    assert np.all(weights >= 0)
    np.testing.assert_allclose(weights.sum(axis=2), 1.0, rtol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_output_is_equivariant_to_token_permutation(attention, rng, x, score):
    layer, order = attention(score=score), rng.permutation(N)
    tokens, weights = numbers(layer(x))
    permuted_tokens, permuted_weights = numbers(layer(x[:, order]))
    np.testing.assert_allclose(permuted_tokens, tokens[:, order], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(permuted_weights, weights[..., order], rtol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_zero_scores_give_a_uniform_map_and_the_mean_query(attention, x, score):
    layer = attention(score=score)
    layer.score_kernel.assign(np.zeros(layer.score_kernel.shape))
    tokens, weights = numbers(layer(x))
    np.testing.assert_allclose(weights, 1.0 / N, rtol=1e-6)
    w = {v.name: np.asarray(v, np.float64) for v in layer.weights}
    query, key, value = (
        x @ w[f"{name}_kernel"] + w[f"{name}_bias"] for name in ("query", "key", "value")
    )
    mixed = query.mean(axis=1, keepdims=True) * key * value
    expected = mixed @ w["output_kernel"] + w["output_bias"]
    np.testing.assert_allclose(tokens, expected, rtol=1e-5, atol=1e-7)


def test_a_constant_added_to_the_scores_changes_nothing(attention, x):
    layer = attention()
    before = numbers(layer(x))
    layer.score_bias.assign(layer.score_bias + 3.0)
    for actual, expected in zip(numbers(layer(x)), before, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)


def test_the_score_bias_has_no_gradient(tf, attention, x):
    layer = attention()
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(layer(x)[0]))
    gradient = tape.gradient(loss, layer.score_bias.value)
    np.testing.assert_allclose(gradient, 0.0, atol=1e-9 * float(loss))


def test_a_single_token_has_all_the_weight(attention, rng):
    layer = attention(tokens=1)
    x = rng.standard_normal((B, 1, D))
    tokens, weights = numbers(layer(x))
    np.testing.assert_array_equal(weights, 1.0)
    w = {v.name: np.asarray(v, np.float64) for v in layer.weights}
    product = np.prod(
        [x @ w[f"{name}_kernel"] + w[f"{name}_bias"] for name in ("query", "key", "value")], axis=0
    )
    expected = product @ w["output_kernel"] + w["output_bias"]
    np.testing.assert_allclose(tokens, expected, rtol=1e-6)


@pytest.mark.parametrize("score", SCORES)
def test_scores_are_divided_by_the_root_of_the_head_width(attention, score):
    layer = attention(score=score, tokens=2)
    for weight in layer.weights:
        weight.assign(np.zeros(weight.shape))
    layer.query_kernel.assign(np.eye(D))
    layer.score_kernel.assign(np.ones(layer.score_kernel.shape))
    x = np.zeros((1, 2, D))
    x[0, 0, 0] = 1.0  # the first head's score of the first token is 1, of the second 0
    weights = numbers(layer(x))[1][0, 0]
    np.testing.assert_allclose(weights[0] / weights[1], np.exp(1.0 / np.sqrt(D / H)), rtol=1e-6)


@pytest.mark.parametrize("num_heads", [3, 0, -2, 16])
def test_heads_that_do_not_divide_the_width_are_refused(num_heads):
    with pytest.raises(ValueError, match=f"num_heads={num_heads} .* width 8: give a .*divisor"):
        AdditiveAttention(num_heads).build((None, N, D))


def test_an_unknown_score_is_refused():
    with pytest.raises(ValueError, match="score='cosine' is not one of full, per_head"):
        AdditiveAttention(H, "cosine")


def test_parameter_counts(attention):
    affine = 4 * (D * D + D)
    full, per_head = attention(score="full"), attention(score="per_head")
    assert full.count_params() == affine + D * H + H
    assert per_head.count_params() == affine + D
    assert full.count_params() - per_head.count_params() == H * (D - D // H) + H


def test_config_mirrors_the_constructor():
    config = AdditiveAttention(2, "per_head").get_config()
    assert config["num_heads"] == 2 and config["score"] == "per_head"
    assert AdditiveAttention.from_config(config).get_config() == config


def test_declared_output_shapes_are_the_real_ones(attention, x):
    layer = attention()
    declared = layer.compute_output_shape(x.shape)
    assert declared == tuple(o.shape for o in numbers(layer(x)))


def test_half_precision_keeps_the_map_in_float32(attention, rng):
    tokens = 4096
    layer = attention(tokens=tokens, dtype="mixed_bfloat16")
    y, weights = layer(rng.standard_normal((1, tokens, D)).astype("float32"))
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    assert keras.backend.standardize_dtype(weights.dtype) == "float32"
    np.testing.assert_allclose(np.sum(weights, axis=2), 1.0, rtol=1e-5)


def traced_sizes(tf, tokens):
    """Number of elements of every tensor computed by the output and all gradients."""
    layer = AdditiveAttention(H)
    layer.build((None, tokens, D))

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y, weights = layer(x)
            loss = tf.reduce_sum(y * y) + tf.reduce_sum(weights * weights)
        return tape.gradient(loss, [x, *layer.trainable_variables])

    graph = gradients.get_concrete_function(tf.TensorSpec((1, tokens, D))).graph
    shapes = [t.shape for op in graph.get_operations() for t in op.outputs]
    return [shape.num_elements() for shape in shapes if shape.is_fully_defined()]


def test_memory_is_affine_in_the_tokens_without_a_tensor_of_tokens_by_tokens(tf):
    one, two, four = (traced_sizes(tf, n) for n in (128, 256, 512))
    assert 512 * D in four and max(four) < 512**2 / 16
    assert sum(four) - sum(two) == 2 * (sum(two) - sum(one)) > 0


def test_floating_point_operations_are_affine_in_the_tokens(tf):
    def operations(tokens):
        layer = AdditiveAttention(H)
        layer.build((None, tokens, D))
        traced = tf.function(layer).get_concrete_function(tf.TensorSpec((1, tokens, D)))
        profiler = tf.compat.v1.profiler
        options = profiler.ProfileOptionBuilder.float_operation()
        options["output"] = "none"
        return profiler.profile(traced.graph, options=options).total_float_ops

    one, two, four = (operations(n) for n in (128, 256, 512))
    assert four - two == 2 * (two - one) > 0


def test_one_trace_serves_every_batch_size(tf, attention, rng):
    layer = attention(dtype="float32")
    traced = tf.function(layer, input_signature=[tf.TensorSpec((None, N, D))])
    for batch in (1, 3):
        x = rng.standard_normal((batch, N, D)).astype("float32")
        np.testing.assert_allclose(traced(tf.constant(x))[0], layer(x)[0], rtol=1e-4, atol=1e-5)
