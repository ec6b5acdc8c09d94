"""Losses at logits where their values are known, and R1 where it has a closed form."""

import keras
import numpy as np
import pytest

from ladagan_tf.training import losses
from ladagan_tf.training.autodiff import input_gradient


@pytest.fixture
def logits(rng):
    return rng.standard_normal((2, 4, 25)).astype("float32") * 3.0


def softplus(x):
    return np.log1p(np.exp(x.astype("float64")))


def test_non_saturating_losses_of_zero_logits_are_multiples_of_log_2():
    zeros = np.zeros((4, 25), "float32")
    d = losses.non_saturating_discriminator(zeros, zeros)
    np.testing.assert_allclose(d, 2 * np.log(2), rtol=1e-6)
    np.testing.assert_allclose(losses.non_saturating_generator(zeros), np.log(2), rtol=1e-6)


def test_hinge_losses_of_zero_logits_are_2_and_0():
    zeros = np.zeros((4, 25), "float32")
    assert float(losses.hinge_discriminator(zeros, zeros)) == 2.0
    assert float(losses.hinge_generator(zeros)) == 0.0


def test_non_saturating_losses_are_the_formula(logits):
    real, fake = logits
    expected = softplus(-real).mean() + softplus(fake).mean()
    actual = losses.non_saturating_discriminator(real, fake)
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    actual = losses.non_saturating_generator(fake)
    np.testing.assert_allclose(actual, softplus(-fake).mean(), rtol=1e-5)


def test_hinge_losses_are_the_formula(logits):
    real, fake = logits
    expected = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
    np.testing.assert_allclose(losses.hinge_discriminator(real, fake), expected, rtol=1e-5)
    np.testing.assert_allclose(losses.hinge_generator(fake), -fake.mean(), rtol=1e-5)


def test_large_logits_do_not_overflow():
    large = np.full((1, 25), 1e4, "float32")
    assert float(losses.non_saturating_discriminator(large, -large)) == 0.0
    assert float(losses.non_saturating_discriminator(-large, large)) == pytest.approx(2e4)


def test_r1_is_the_mean_squared_norm_without_a_half():
    gradient = np.zeros((2, 3, 3, 1), "float32")
    gradient[0, 0, 0], gradient[0, 1, 1], gradient[1, 2, 2] = 3.0, 4.0, 1.0
    assert float(losses.r1_penalty(gradient)) == (25.0 + 1.0) / 2


@pytest.mark.parametrize("shift", [0.0, 10.0])
def test_r1_of_a_linear_discriminator_is_the_norm_of_its_summed_weights(rng, shift):
    weights = rng.standard_normal(12)
    copies = rng.standard_normal(25)
    discriminator = keras.Sequential(
        [keras.Input((2, 2, 3)), keras.layers.Flatten(), keras.layers.Dense(25, use_bias=False)]
    )
    discriminator.set_weights([np.outer(weights, copies)])  # logit j of x is copies[j] * (w . x)
    x = (rng.standard_normal((4, 2, 2, 3)) + shift).astype("float32")
    _, gradient = input_gradient(discriminator, keras.ops.convert_to_tensor(x), discriminator)
    expected = np.sum((copies.sum() * weights) ** 2)
    np.testing.assert_allclose(losses.r1_penalty(gradient), expected, rtol=1e-5)


def test_r1_of_half_precision_gradients_is_summed_in_float32():
    gradient = keras.ops.ones((1, 64, 64, 3), "bfloat16")
    assert float(losses.r1_penalty(gradient)) == 64 * 64 * 3


def test_consistency_is_the_mean_squared_difference(logits):
    expected = np.mean((logits[0] - logits[1]) ** 2)
    np.testing.assert_allclose(losses.consistency(*logits), expected, rtol=1e-5)
    assert float(losses.consistency(logits[0], logits[0])) == 0.0


@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_equal_logits_cost_both_networks_log_2(shift):
    logits = keras.ops.full((4, 1), shift)
    assert float(losses.relativistic(logits, logits)) == pytest.approx(np.log(2.0))


def test_a_common_constant_changes_no_relativistic_loss(rng):
    real, fake = rng.standard_normal((2, 4, 1))
    expected = np.mean(np.log1p(np.exp(fake - real)))
    np.testing.assert_allclose(losses.relativistic(real, fake), expected, rtol=1e-6)
    np.testing.assert_allclose(losses.relativistic(real + 5, fake + 5), expected, rtol=1e-5)


def test_centring_is_the_mean_square_of_a_pairs_sum(rng):
    real, fake = rng.standard_normal((2, 4, 3))
    expected = np.mean((real + fake) ** 2)
    np.testing.assert_allclose(losses.centring(real, fake), expected, rtol=1e-6)
    assert float(losses.centring(real, -real)) == 0.0


def test_a_pairs_gradients_are_opposite(rng):
    real, fake = rng.standard_normal((2, 4, 1))

    def slope(h_real, h_fake):
        up, down = (losses.relativistic(real + s * h_real, fake + s * h_fake) for s in (1, -1))
        return float(up - down)

    assert slope(0.1, 0.0) == pytest.approx(-slope(0.0, 0.1), rel=1e-4)
    assert slope(0.1, 0.0) < 0.0
