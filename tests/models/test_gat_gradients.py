"""Gradients of GAT's two networks: of every weight, rematerialised, twice, and under XLA."""

import numpy as np
import pytest
from gat_networks import LABELS, Z, tiny_discriminator, tiny_generator
from keras import ops

from ladagan_tf.training.autodiff import input_gradient, value_and_grad


def number(tensor):
    return ops.convert_to_numpy(tensor)


def generator_loss(generator, z):
    outputs = generator(z, LABELS, return_levels=True)
    return sum(ops.mean(ops.square(o)) for o in outputs), ()


def discriminator_loss(discriminator, levels):
    logits, *features = discriminator(levels, LABELS, return_features=True)
    return ops.mean(ops.softplus(logits)) + sum(ops.mean(ops.square(f)) for f in features), ()


CASES = pytest.mark.parametrize(
    ("make", "loss", "data"),
    [
        (tiny_generator, generator_loss, "z"),
        (tiny_discriminator, discriminator_loss, "levels"),
    ],
    ids=["generator", "discriminator"],
)


def assert_same(actual, expected, tolerance=1e-4):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(number(a), number(b), rtol=tolerance, atol=tolerance)


@CASES
def test_every_trained_weight_has_a_gradient_and_rematerialised_the_same(
    request, randomised, make, loss, data
):
    network, x = randomised(make()), ops.convert_to_tensor(request.getfixturevalue(data))
    (value, _), expected = value_and_grad(lambda: loss(network, x), network)
    for gradient, weight in zip(expected, network.trainable_variables, strict=True):
        assert np.max(np.abs(number(gradient))) > 0, weight.path
    frugal = make(remat=True)
    frugal.set_weights(network.get_weights())
    (again, _), actual = value_and_grad(lambda: loss(frugal, x), frugal)
    assert float(value) == pytest.approx(float(again), rel=1e-6)
    assert_same(actual, expected)


def test_squared_input_gradients_can_be_differentiated(discriminator, levels):
    """What exact R1 and R2 need, rematerialised or not."""
    x = ops.convert_to_tensor(levels)

    def penalty(network):
        _, gradient = input_gradient(lambda x: network(x, LABELS), x, network)
        return ops.sum(ops.square(gradient)), ()

    _, gradients = value_and_grad(lambda: penalty(discriminator), discriminator)
    assert all(np.all(np.isfinite(number(g))) for g in gradients)
    assert np.max(np.abs(number(gradients[0]))) > 0
    frugal = tiny_discriminator(remat=True)
    frugal.set_weights(discriminator.get_weights())
    assert_same(value_and_grad(lambda: penalty(frugal), frugal)[1], gradients)


@CASES
def test_xla_agrees_with_float64(tf, request, randomised, make, loss, data):
    """Rematerialised: that compiles the forward pass twice and every gradient of the plain one."""
    # One block and one level: more would only be compiled again.
    network, x = randomised(make(remat=True, depth=1, levels=1)), request.getfixturevalue(data)
    x = x if make is tiny_generator else x[..., :3]
    exact = type(network).from_config({**network.get_config(), "dtype": "float64", "remat": False})
    exact.set_weights(network.get_weights())

    @tf.function(jit_compile=True, autograph=False)
    def compiled(x):
        (value, _), gradients = value_and_grad(lambda: loss(network, x), network)
        return value, gradients

    (value, _), expected = value_and_grad(lambda: loss(exact, tf.constant(x, tf.float64)), exact)
    actual_value, actual = compiled(tf.constant(x))
    assert float(actual_value) == pytest.approx(float(value), rel=1e-4)
    scale = max(np.max(np.abs(g)) for g in expected)
    assert_same([g / scale for g in actual], [g / scale for g in expected])


def test_one_trace_serves_every_batch_size(tf, generator, discriminator, rng):
    @tf.function(input_signature=[tf.TensorSpec((None, Z)), tf.TensorSpec((None,), tf.int32)])
    def both(z, labels):
        outputs = generator(z, labels, return_levels=True)
        return outputs[-1], discriminator(outputs, labels)

    z = rng.standard_normal((3, Z)).astype("float32")
    outputs = generator(z, LABELS, return_levels=True)
    expected = discriminator(outputs, LABELS)
    for count in (1, 3):
        latents, logits = both(z[:count], LABELS[:count])
        np.testing.assert_allclose(latents, outputs[-1][:count], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(logits, expected[:count], atol=1e-4)
