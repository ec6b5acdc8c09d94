"""The two derivatives, where they are known in closed form."""

import keras
import numpy as np
from keras import ops

from ladagan_tf.training.autodiff import after, input_gradient, value_and_grad


def test_value_and_grad_returns_the_loss_its_companions_and_the_gradients(tiny_discriminator):
    network = tiny_discriminator()
    kernel, *others = network.trainable_variables

    def loss():
        return ops.sum(ops.square(kernel)) + sum(ops.sum(v) for v in others), {"extra": kernel * 2}

    (value, extra), gradients = value_and_grad(loss, network)
    expected = np.sum(np.square(network.get_weights()[0]))
    expected += sum(np.sum(w) for w in network.get_weights()[1:])
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(extra["extra"], gradients[0], rtol=1e-6)
    np.testing.assert_allclose(gradients[0], 2 * network.get_weights()[0], rtol=1e-6)
    for gradient in gradients[1:]:
        np.testing.assert_array_equal(ops.convert_to_numpy(gradient), 1.0)


def test_a_variable_the_loss_does_not_use_has_a_zero_gradient(tiny_discriminator):
    network = tiny_discriminator()
    used, *unused = network.trainable_variables
    _, gradients = value_and_grad(lambda: (ops.sum(used), ()), network)
    for gradient, variable in zip(gradients[1:], unused, strict=True):
        assert tuple(gradient.shape) == tuple(variable.shape)
        np.testing.assert_array_equal(ops.convert_to_numpy(gradient), 0.0)


def test_input_gradient_is_of_the_sum_of_the_outputs(tiny_discriminator, batch):
    network = tiny_discriminator()
    value, gradient = input_gradient(lambda x: x**3, batch["real"], network)
    images = ops.convert_to_numpy(batch["real"])
    np.testing.assert_allclose(value, images**3, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(gradient, 3 * images**2, rtol=1e-5, atol=1e-6)


def test_moving_statistics_are_updated_inside_both_derivatives(batch):
    norm = keras.layers.BatchNormalization(momentum=0.5)
    network = keras.Sequential([keras.Input((8, 8, 3)), norm])
    mean = ops.convert_to_numpy(batch["real"]).mean(axis=(0, 1, 2))

    def loss():
        logits, _ = input_gradient(lambda x: network(x, training=True), batch["real"], network)
        network(batch["real"], training=True)
        return ops.mean(logits), ()

    value_and_grad(loss, network)
    np.testing.assert_allclose(ops.convert_to_numpy(norm.moving_mean), 0.75 * mean, rtol=1e-5)


def test_after_changes_nothing(batch):
    same = after([ops.ones(3)], {"x": batch["real"], "none": {}})
    np.testing.assert_array_equal(
        ops.convert_to_numpy(same["x"]), ops.convert_to_numpy(batch["real"])
    )
