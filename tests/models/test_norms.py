"""Norms against NumPy and finite differences."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.lada.norms import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    SelfModulatedLayerNorm,
    normalize,
)

B, N, D = 2, 4, 8


def number(tensor):
    return ops.convert_to_numpy(tensor)


def layer_norm(x, epsilon=1e-6):
    centred = x - x.mean(axis=-1, keepdims=True)
    return centred / np.sqrt(np.mean(centred**2, axis=-1, keepdims=True) + epsilon)


@pytest.fixture
def tokens(rng):
    return rng.standard_normal((B, N, D))


@pytest.fixture
def images(rng):
    return rng.standard_normal((3, 2, 2, 4)) * 2.0 + 1.0


@pytest.fixture
def norm(built, images):
    return built(BatchNormalization(momentum=0.9, dtype="float64"), images.shape)


def batch_norm(layer, x, mean, variance):
    scale = number(layer.gamma) / np.sqrt(variance + layer.epsilon)
    return (x - mean) * scale + number(layer.beta)


def test_batch_norm_in_training_uses_the_biased_batch_variance(norm, images):
    expected = batch_norm(norm, images, images.mean((0, 1, 2)), images.var((0, 1, 2)))
    np.testing.assert_allclose(number(norm(images, training=True)), expected, rtol=1e-5, atol=1e-6)


def test_batch_norm_at_inference_uses_and_keeps_its_moving_statistics(norm, images):
    mean, variance = number(norm.moving_mean).copy(), number(norm.moving_variance).copy()
    expected = batch_norm(norm, images, mean, variance)
    np.testing.assert_allclose(number(norm(images)), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(number(norm.moving_variance), variance)


def test_moving_variance_receives_the_unbiased_estimate(norm, images):
    mean, variance = number(norm.moving_mean).copy(), number(norm.moving_variance).copy()
    norm(images, training=True)
    flat = images.reshape(-1, 4)
    expected = 0.9 * mean + 0.1 * flat.mean(axis=0)
    np.testing.assert_allclose(number(norm.moving_mean), expected, rtol=1e-6)
    expected = 0.9 * variance + 0.1 * flat.var(axis=0, ddof=1)
    np.testing.assert_allclose(number(norm.moving_variance), expected, rtol=1e-6)


def test_batch_norm_starts_as_the_identity_but_for_epsilon():
    norm = BatchNormalization()
    norm.build((None, 1, 1, 2))
    x = np.ones((1, 1, 1, 2), "float32")
    np.testing.assert_allclose(number(norm(x)), 1.0 / np.sqrt(1.001), rtol=1e-6)


def test_batch_norm_moments_of_half_precision_images_are_float32(built):
    norm = built(BatchNormalization(dtype="mixed_bfloat16"), (None, 1, 1, 1))
    x = ops.cast(np.arange(256, dtype="float32").reshape(256, 1, 1, 1), "bfloat16")
    norm.momentum = 0.0
    y = norm(x, training=True)
    assert keras.backend.standardize_dtype(y.dtype) == "bfloat16"
    np.testing.assert_allclose(number(norm.moving_mean), 127.5, rtol=1e-6)  # 128 in bfloat16


def central_differences(fn, x, step=1e-5):
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        high, low = x.copy(), x.copy()
        high[index] += step
        low[index] -= step
        gradient[index] = (fn(high) - fn(low)) / (2 * step)
    return gradient


def test_both_derivatives_of_batch_norm_agree_with_finite_differences(tf, norm, images):
    # R1 needs the second. TensorFlow's own moments stop a gradient inside and would fail here.
    def value(x):
        normed = batch_norm(norm, x, x.mean((0, 1, 2)), x.var((0, 1, 2)))
        return np.sum(normed**3)

    x = tf.constant(images)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            y = tf.reduce_sum(norm(x, training=True) ** 3)
        first = inner.gradient(y, x)
        penalty = tf.reduce_sum(first**2)
    second = outer.gradient(penalty, x)
    np.testing.assert_allclose(first, central_differences(value, images), rtol=1e-5, atol=1e-6)

    def penalty_at(x):
        # The analytic first derivative, which the line above has just checked.
        centred, deviation = x - x.mean((0, 1, 2)), np.sqrt(x.var((0, 1, 2)) + norm.epsilon)
        unit = centred / deviation
        upstream = 3.0 * (unit * number(norm.gamma) + number(norm.beta)) ** 2 * number(norm.gamma)
        gradient = upstream - upstream.mean((0, 1, 2)) - unit * (upstream * unit).mean((0, 1, 2))
        return np.sum((gradient / deviation) ** 2)

    np.testing.assert_allclose(penalty_at(images), penalty, rtol=1e-8)
    expected = central_differences(penalty_at, images)
    np.testing.assert_allclose(second, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def derivatives(tf, layer, x):
    """Of the mean fourth power of what a batch norm gives, and of that gradient squared: float64.

    Returns what it gives, and the gradients of both to x, gamma and beta.
    """
    x, affine = tf.constant(x), [layer.gamma.value, layer.beta.value]
    with tf.GradientTape() as outer:
        outer.watch([x, *affine])
        with tf.GradientTape() as inner:
            inner.watch([x, *affine])
            y = layer(x, training=True)
            loss = tf.reduce_mean(tf.cast(y, tf.float64) ** 4)
        first = inner.gradient(loss, [x, *affine])
        penalty = tf.reduce_sum(tf.cast(first[0], tf.float64) ** 2)
    return [np.asarray(v, np.float64) for v in (y, *first, *outer.gradient(penalty, [x, *affine]))]


@pytest.mark.parametrize(
    ("dtype", "policy", "close"),
    [
        ("float32", "float32", 1e-5),
        ("float16", "mixed_float16", 0.01),
        ("bfloat16", "mixed_bfloat16", 0.03),
    ],
)
def test_the_kernel_of_batch_norm_is_the_formula(tf, built, images, norm, dtype, policy, close):
    layer = built(BatchNormalization(momentum=0.9, dtype=policy), images.shape)
    layer.set_weights(norm.get_weights())
    images = tf.cast(images, dtype)
    actual = derivatives(tf, layer, images)
    for ours, wanted in zip(actual, derivatives(tf, norm, tf.cast(images, "float64")), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=close, atol=close * np.abs(wanted).max())
    for ours, wanted in zip(layer.weights, norm.weights, strict=True):  # moving statistics, too
        np.testing.assert_allclose(number(ours), number(wanted), rtol=1e-5)


def test_compiled_batch_norm_stands_a_mean_much_larger_than_the_deviation(tf, built, rng):
    # XLA's form of the kernel takes the difference of two squares for the variance.
    images = (100.0 + 0.01 * rng.standard_normal((8, 16, 16, 4))).astype("float32")
    layer = built(BatchNormalization(dtype="float32"), images.shape)
    exact = built(BatchNormalization(dtype="float64"), images.shape)
    exact.set_weights(layer.get_weights())
    compiled = tf.function(lambda x: layer(x, training=True), jit_compile=True, autograph=False)
    np.testing.assert_allclose(compiled(images), exact(images, training=True), atol=0.01)


def group_norm(layer, x, group, epsilon=1e-5):
    parts = x.reshape(*x.shape[:3], -1, group)
    mean, variance = (f(parts, axis=(1, 2, 4), keepdims=True) for f in (np.mean, np.var))
    normed = ((parts - mean) / np.sqrt(variance + epsilon)).reshape(x.shape)
    return normed * number(layer.gamma) + number(layer.beta)


@pytest.mark.parametrize(("width", "group"), [(4, 4), (32, 16), (40, 10), (17, 1)])
def test_group_norm_normalises_each_image_over_up_to_16_channels(built, rng, width, group):
    x = rng.standard_normal((2, 3, 2, width)) * 2.0 + 1.0
    layer = built(GroupNormalization(dtype="float64"), x.shape)
    expected = group_norm(layer, x, group)
    np.testing.assert_allclose(number(layer(x, training=True)), expected, rtol=1e-6, atol=1e-9)


def test_both_derivatives_of_group_norm_agree_with_finite_differences(tf, built, rng):
    images = rng.standard_normal((1, 2, 2, 4))
    layer = built(GroupNormalization(dtype="float64"), images.shape)

    def penalty(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = tf.reduce_sum(layer(x) ** 3)
        first = tape.gradient(y, x)
        return first, tf.reduce_sum(first**2)

    x = tf.constant(images)
    with tf.GradientTape() as tape:
        tape.watch(x)
        first, value = penalty(x)
    second = tape.gradient(value, x)
    expected = central_differences(lambda x: np.sum(group_norm(layer, x, 4) ** 3), images)
    np.testing.assert_allclose(first, expected, rtol=1e-5, atol=1e-6)
    expected = central_differences(lambda x: number(penalty(tf.constant(x))[1]), images)
    np.testing.assert_allclose(second, expected, rtol=1e-5, atol=1e-5 * np.abs(expected).max())


def test_first_derivative_of_layer_norm_agrees_with_finite_differences(tf, tokens):
    # The second leaves out what the official code leaves out: see `normalize` and the parity tests.
    x = tf.constant(tokens)
    with tf.GradientTape() as tape:
        tape.watch(x)
        y = tf.reduce_sum(normalize(x) ** 3)
    expected = central_differences(lambda x: np.sum(layer_norm(x) ** 3), tokens)
    np.testing.assert_allclose(tape.gradient(y, x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("live", [False, True])
def test_second_derivative_of_layer_norm_takes_the_mean_in_the_variance_as_constant(
    tf, tokens, live
):
    def formula(x):
        mean = tf.reduce_mean(x, -1, keepdims=True)
        inside = mean if live else tf.stop_gradient(mean)
        variance = tf.reduce_mean((x - inside) ** 2, -1, keepdims=True)
        return (x - mean) / tf.sqrt(variance + 1e-6)

    def second(norm):
        x = tf.constant(tokens)
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(norm(x) ** 3)
            penalty = tf.reduce_sum(inner.gradient(y, x) ** 3)  # a square would hide it
        return outer.gradient(penalty, x).numpy()

    assert np.allclose(second(normalize), second(formula), rtol=1e-9, atol=1e-9) != live


def test_layer_norm_scales_and_shifts_normalised_tokens(built, tokens):
    layer = built(LayerNormalization(dtype="float64"), (None, N, D))
    expected = layer_norm(tokens) * number(layer.gamma) + number(layer.beta)
    np.testing.assert_allclose(number(layer(tokens)), expected, rtol=1e-6)


def test_self_modulation_reads_a_class_beside_the_latent(built, tokens, rng):
    z, r = rng.standard_normal((2, len(tokens), 3))
    layer = built(SelfModulatedLayerNorm(conditional=True, dtype="float64"), tokens.shape, z.shape)

    def affine(dense, x):
        return x @ number(dense.kernel) + (number(dense.bias) if dense.use_bias else 0.0)

    hidden = np.maximum(affine(layer.hidden, z) + affine(layer.class_hidden, r), 0)
    scale, shift = (affine(dense, hidden)[:, None] for dense in (layer.scale, layer.shift))
    np.testing.assert_allclose(
        number(layer(tokens, z, r)), layer_norm(tokens) * scale + shift, rtol=1e-6
    )
    layer.class_hidden.kernel.assign(np.zeros((3, D)))
    np.testing.assert_array_equal(number(layer(tokens, z, r)), number(layer(tokens, z, 2 * r)))
