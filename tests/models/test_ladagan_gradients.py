"""LadaGAN's two networks under tf.function and XLA, and what is trained in them."""

import numpy as np
import pytest
from ladagan_networks import (
    Z,
    latents,
    number,
    pictures,
    tiny_discriminator,
    tiny_generator,
)
from scipy.special import erf

from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.lada.ladaformer import exact_gelu
from ladagan_tf.models.lada.layers import UpBlock
from ladagan_tf.models.lada.norms import BatchNormalization


def test_one_trace_serves_every_batch_size(tf, rng):
    generator, discriminator = tiny_generator(64, (4,)), tiny_discriminator(64)

    @tf.function(input_signature=[tf.TensorSpec((None, Z))])
    def both(z):
        images = generator(z)
        return images, discriminator(images)

    z = latents(rng, 3)
    images = generator(z)
    expected = images, discriminator(images)
    for count in (1, 3):
        for found, plain in zip(both(z[:count]), expected, strict=True):
            np.testing.assert_allclose(found, plain[:count], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(("dtype", "close"), [("float64", 1e-12), ("bfloat16", 0.008)])
def test_both_derivatives_of_gelu_are_the_closed_forms(tf, dtype, close):
    x = tf.cast(tf.linspace(-6.0, 6.0, 121), dtype)
    with tf.GradientTape() as outer:
        outer.watch(x)
        with tf.GradientTape() as inner:
            inner.watch(x)
            value = exact_gelu(x)
        first = inner.gradient(value, x)
    second = outer.gradient(first, x)
    u = np.asarray(x, np.float64)
    density = np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)
    cdf = (1 + erf(u / np.sqrt(2))) / 2
    for actual, wanted in (
        (value, u * cdf),
        (first, cdf + u * density),
        (second, (2 - u**2) * density),
    ):
        off = np.abs(np.asarray(actual, np.float64) - wanted)
        assert np.all(off <= close * np.maximum(1.0, np.abs(u))), (wanted, off)


def value_and_gradients(tf, network, x):
    """The mean square of what a network makes of x; its gradients by x and by the weights."""
    x = tf.convert_to_tensor(x)
    with tf.GradientTape() as tape:
        tape.watch(x)
        loss = tf.reduce_mean(network(x, training=True) ** 2)
    return loss, tape.gradient(loss, [x, *network.trainable_variables])


def test_xla_compiles_forward_and_backward_of_the_decoder(tf, rng):
    """Loss, gradients and statistics are those of plain float64.

    All else of both networks is compiled, and compared, in test_parity_ladagan.py.
    """
    layer, exact, x = UpBlock(4), UpBlock(4, dtype="float64"), rng.standard_normal((2, 4, 4, 3))
    for block in (layer, exact):
        block.build(x.shape)
    exact.set_weights(layer.get_weights())
    value, expected = value_and_gradients(tf, exact, x)
    compiled = tf.function(
        lambda x: value_and_gradients(tf, layer, x), jit_compile=True, autograph=False
    )
    loss, gradients = compiled(tf.constant(x, tf.float32))
    np.testing.assert_allclose(loss, value, rtol=1e-4)
    # Rounding may push an activation across a leaky ReLU's kink: compared in norm, not elementwise.
    floor = 1e-2 * max(np.linalg.norm(g) for g in expected)
    for actual, wanted in zip(gradients, expected, strict=True):
        off = np.linalg.norm(actual.numpy() - wanted.numpy())
        assert off < 1e-2 * (np.linalg.norm(wanted) + floor)
    for actual, wanted in zip(
        layer.non_trainable_variables, exact.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(number(actual), number(wanted), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("make", [lambda: tiny_generator(64, (4,)), tiny_discriminator])
def test_every_trained_weight_has_a_gradient(tf, rng, make):
    network = make()
    x = latents(rng, 4) if isinstance(network, Generator) else pictures(rng, 32, 4)
    for weight in network.trainable_variables:  # off the zero biases, where little is symmetric
        weight.assign_add(0.1 * rng.standard_normal(weight.shape).astype("float32"))
    _, (_, *gradients) = value_and_gradients(tf, network, x)
    # The softmax cancels the score bias, and a batch norm the bias of the convolution before it.
    cancelled = [w for w in network.weights if w.name == "score_bias"]
    cancelled += [stage.conv.bias for stage in getattr(network, "decoder", [])]
    for gradient, weight in zip(gradients, network.trainable_variables, strict=True):
        if not any(weight is w for w in cancelled):
            assert np.max(np.abs(gradient)) > 0, weight.path


def test_only_batch_norm_statistics_are_not_trained():
    for network in (tiny_generator(64, (4,)), tiny_discriminator()):
        norms = [x for x in network._flatten_layers() if isinstance(x, BatchNormalization)]
        statistics = {id(v) for x in norms for v in (x.moving_mean, x.moving_variance)}
        assert {id(v) for v in network.non_trainable_variables} == statistics


def test_discriminator_in_training_does_not_see_the_scale_of_a_batch(rng):
    """No bias stands before its first batch norms: what the README says of drifting colours."""
    discriminator = tiny_discriminator()
    images = rng.uniform(-1e3, 1e3, (4, 32, 32, 3)).astype("float32")  # epsilon is far below
    logits = discriminator(images, training=True)
    scaled = discriminator(6 * images, training=True)
    np.testing.assert_allclose(scaled, logits, rtol=1e-3, atol=1e-4)
    assert np.max(np.abs(discriminator(6 * images) - discriminator(images))) > 0.1
