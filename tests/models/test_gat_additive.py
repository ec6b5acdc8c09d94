"""Additive attention in GAT: its formula, linear in the tokens, and in both networks."""

import keras
import numpy as np
import pytest
from gat_in_numpy import B, C, D, H, T, affine, assert_close, number, rms_norm
from gat_networks import LABELS, TINY, S, tiny_discriminator, tiny_generator
from keras import ops

from ladagan_tf.models.gat.additive import GatAdditiveAttention
from ladagan_tf.training.autodiff import value_and_grad

N = T + 1  # a cls token in front of the grid's


@pytest.fixture
def attention(built):
    return built(GatAdditiveAttention(H, dtype="float64"), (None, N, C))


@pytest.fixture
def x(rng):
    return rng.standard_normal((B, N, C))


def attention_in_numpy(layer, x):
    by_head = (*x.shape[:2], H, D)
    query, key, value = (part.reshape(by_head) for part in np.split(affine(layer.qkv, x), 3, -1))
    query = rms_norm(query, 1.1920929e-07) * number(layer.query_norm.weight)
    key = rms_norm(key, 1.1920929e-07) * number(layer.key_norm.weight)
    scores = np.exp(query.reshape(x.shape) @ number(layer.score.kernel) / np.sqrt(D))  # (B, N, H)
    weights = scores / scores.sum(axis=1, keepdims=True)
    global_query = np.einsum("bnh,bnhd->bhd", weights, query)[:, None]
    return affine(layer.output_projection, (global_query * key * value).reshape(x.shape))


def test_attention_is_the_formula(attention, x):
    assert_close(attention(x), attention_in_numpy(attention, x))


def test_output_is_equivariant_to_token_permutation(attention, x, rng):
    order = rng.permutation(N)
    assert_close(attention(x[:, order]), number(attention(x))[:, order])


def test_every_token_depends_on_every_other(attention, x):
    changed = x.copy()
    changed[:, 0] += 1.0
    difference = np.abs(number(attention(changed)) - number(attention(x)))
    assert difference.max(axis=-1).min() > 1e-4


def test_the_scale_of_queries_and_keys_is_not_seen(attention, x):
    before = number(attention(x))
    scale = np.repeat([10.0, 10.0, 1.0], C)
    for weight in (attention.qkv.kernel, attention.qkv.bias):
        weight.assign(number(weight) * scale)
    assert_close(attention(x), before)


def test_gradients_are_central_differences_and_no_weight_has_none(attention, x, rng):
    weights, factors = attention.trainable_variables, rng.standard_normal(x.shape)
    before = [number(weight).copy() for weight in weights]
    direction = [rng.standard_normal(weight.shape) for weight in weights]

    def loss():
        return ops.sum(attention(x) * factors), ()

    def loss_after(step):
        for weight, value, move in zip(weights, before, direction, strict=True):
            weight.assign(value + step * move)
        return float(number(loss()[0]))

    _, gradients = value_and_grad(loss, attention)
    assert all(np.max(np.abs(number(gradient))) > 0 for gradient in gradients)
    slope = sum(np.sum(number(g) * d) for g, d in zip(gradients, direction, strict=True))
    assert slope == pytest.approx((loss_after(1e-3) - loss_after(-1e-3)) / 2e-3, rel=1e-3)


def test_half_precision_is_near_float32(built, x):
    mixed = built(GatAdditiveAttention(H, dtype="mixed_bfloat16"), (None, N, C))
    plain = GatAdditiveAttention(H)
    plain.build((None, N, C))
    plain.set_weights(mixed.get_weights())
    x = x.astype("float32")
    actual, expected = number(ops.cast(mixed(x), "float32")), number(plain(x))
    assert keras.backend.standardize_dtype(mixed(x).dtype) == "bfloat16"
    assert {part.compute_dtype for part in (mixed.score, mixed.query_norm)} == {"float32"}
    assert np.abs(actual - expected).max() < 0.05 * np.abs(expected).max()


def test_heads_that_do_not_divide_the_width_are_refused():
    with pytest.raises(ValueError, match="num_heads=3 does not divide the width 16"):
        GatAdditiveAttention(3).build((None, N, C))


# ---------------------------------------------------------------------- linear in the tokens


def traced_sizes(tf, tokens):
    """Number of elements of every tensor computed by the output and all gradients."""
    layer = GatAdditiveAttention(H)
    layer.build((None, tokens, C))

    @tf.function
    def gradients(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(layer(x)))
        return tape.gradient(loss, [x, *(weight.value for weight in layer.trainable_variables)])

    graph = gradients.get_concrete_function(tf.TensorSpec((1, tokens, C))).graph
    shapes = [t.shape for op in graph.get_operations() for t in op.outputs]
    return [shape.num_elements() for shape in shapes if shape.is_fully_defined()]


def test_memory_is_affine_in_the_tokens_without_a_tensor_of_tokens_by_tokens(tf):
    one, two, four = (traced_sizes(tf, n) for n in (256, 512, 1024))
    assert 1024 * C in four and max(four) < 1024**2 / 16
    assert sum(four) - sum(two) == 2 * (sum(two) - sum(one)) > 0


# ------------------------------------------------------------------------- in both networks


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
def test_networks_have_one_score_per_block_more(attention, make):
    assert attention.count_params() == 4 * C**2 + 4 * C + 2 * D + C * H
    added = make(attention="additive").count_params() - make().count_params()
    assert added == TINY["depth"] * TINY["width"] * TINY["num_heads"]


def test_saved_networks_load_with_the_same_config_and_outputs(tmp_path, randomised, z, rng):
    sizes = {"attention": "additive", "patch": 1, "depth": 2, "levels": 2}
    levels = rng.standard_normal((3, S, S, 2 * 3)).astype("float32")
    for make, x in ((tiny_generator, z), (tiny_discriminator, levels)):
        network = randomised(make(**sizes))
        network.save(tmp_path / "network.keras")
        loaded = keras.saving.load_model(tmp_path / "network.keras")
        assert loaded.get_config() == network.get_config()
        assert loaded.attention == "additive"
        np.testing.assert_array_equal(loaded(x, LABELS), network(x, LABELS))


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
def test_an_unknown_attention_is_refused(make):
    with pytest.raises(ValueError, match="attention='swin' is not one of dot_product, additive"):
        make(attention="swin")
