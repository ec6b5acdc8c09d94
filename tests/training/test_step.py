"""Gradient functions, norms, clipping and the moving average against their closed forms."""

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.training.autodiff import value_and_grad
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.step import (
    clip_by_global_norm,
    decay_of_halflife,
    discriminator_gradients,
    generator_gradients,
    squared_norms,
    update_average,
)


@pytest.fixture
def case(tiny_generator, tiny_discriminator, batch, draw):
    """Arguments of both gradient functions for an objective, and draws for each."""

    def make(**kwargs):
        lada = LadaObjective(**{"noise_dim": 4, "resolution": 8, **kwargs})
        networks = (lada, tiny_generator(), tiny_discriminator(), batch)
        return networks, draw(lada.discriminator_draws()), draw(lada.generator_draws())

    return make


def assert_equal_trees(actual, expected, rtol=1e-4, atol=1e-6):
    keras.tree.map_structure(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=rtol, atol=atol), actual, expected
    )


@pytest.mark.parametrize(("parts", "bcr"), [(2, False), (4, True)])
def test_micro_batches_give_the_gradients_and_metrics_of_the_whole_batch(case, parts, bcr):
    networks, d_draws, g_draws = case(bcr=bcr, r1_weight=0.1)
    for gradients, draws in ((discriminator_gradients, d_draws), (generator_gradients, g_draws)):
        whole = gradients(*networks, draws)
        assert_equal_trees(gradients(*networks, draws, micro_batches=parts), whole)


@pytest.mark.parametrize("loss", ["nsl", "hinge"])
def test_terms_one_after_the_other_have_the_gradients_of_the_loss(case, loss):
    """Of the sum over both sides, D's logits of all of them and both penalties, in one tape."""
    (lada, generator, discriminator, batch), draws, _ = case(loss=loss, r1_weight=0.1, r2_weight=2)
    fake = lada.generate(generator, batch, draws)

    def together():
        return lada.discriminator_loss(discriminator, batch, fake, draws)

    (_, expected), gradients = value_and_grad(together, discriminator)
    found, metrics = discriminator_gradients(lada, generator, discriminator, batch, draws)
    assert len(lada.discriminator_terms(discriminator, batch, fake, draws)) == 2
    assert_equal_trees(found, gradients)
    assert_equal_trees(metrics, expected)


def test_scale_multiplies_the_gradients_and_not_the_metrics(case):
    networks, d_draws, g_draws = case()
    for gradients, draws in ((discriminator_gradients, d_draws), (generator_gradients, g_draws)):
        plain, metrics = gradients(*networks, draws)
        scaled, same = gradients(*networks, draws, scale=8.0)
        assert_equal_trees(scaled, [8.0 * g for g in plain])
        assert_equal_trees(same, metrics)


def test_gradients_are_ordered_and_shaped_as_the_trainable_variables(case):
    networks, d_draws, g_draws = case()
    for gradients, network, draws in (
        (discriminator_gradients, networks[2], d_draws),
        (generator_gradients, networks[1], g_draws),
    ):
        shapes = [tuple(g.shape) for g in gradients(*networks, draws)[0]]
        assert shapes == [tuple(v.shape) for v in network.trainable_variables]


class Recording(LadaObjective):
    """Notes what the discriminator's loss is computed on."""

    seen = None

    def discriminator_terms(self, discriminator, batch, fake, draws, strengths):
        type(self).seen = fake
        return super().discriminator_terms(discriminator, batch, fake, draws, strengths)


def test_the_discriminator_phase_does_not_record_the_generator(tf, case):
    (_, *networks), draws, _ = case(policy="")
    lada = Recording(noise_dim=4, resolution=8, policy="")
    generator = networks[0]
    with tf.GradientTape() as tape:
        discriminator_gradients(lada, *networks, draws)
        loss = tf.reduce_sum(Recording.seen)
    assert loss.shape == () and np.all(np.isfinite(loss))
    assert all(g is None for g in tape.gradient(loss, [v.value for v in generator.variables]))


# ---------------------------------------------------------------------------------- clipping


def test_clipping_scales_all_gradients_to_the_joint_norm():
    gradients = [np.array([3.0, 0.0], "float32"), np.array([[4.0]], "float32")]
    clipped = [ops.convert_to_numpy(g) for g in clip_by_global_norm(gradients, 1.0)]
    np.testing.assert_allclose(clipped[0], [0.6, 0.0], rtol=1e-6)
    np.testing.assert_allclose(clipped[1], [[0.8]], rtol=1e-6)


def test_norms_are_those_of_each_gradient():
    gradients = [np.float32([[3.0, 4.0]]), np.float32([-1.0]), np.zeros(7, np.float32)]
    np.testing.assert_allclose(squared_norms(gradients), [25.0, 1.0, 0.0])


def test_clipping_leaves_small_and_zero_gradients_alone():
    small, zero = [np.array([3.0, 4.0], "float32")], [np.zeros(2, "float32")]
    assert_equal_trees(clip_by_global_norm(small, 5.5), small, rtol=0, atol=0)
    assert_equal_trees(clip_by_global_norm(zero, 1.0), zero, rtol=0, atol=0)


# ------------------------------------------------------------------------------------- EMA


@pytest.fixture
def pair(tiny_generator):
    """An average and the network it follows, different weights."""
    return tiny_generator(seed=1), tiny_generator(seed=7)


def test_average_of_constant_weights_is_the_closed_form(pair):
    averaged, network = pair
    start = [w.copy() for w in averaged.get_weights()]
    for _ in range(5):
        update_average(averaged, network, 0.1)
    for average, first, weight in zip(
        averaged.get_weights(), start, network.get_weights(), strict=True
    ):
        expected = 0.9**5 * first + (1 - 0.9**5) * weight
        np.testing.assert_allclose(average, expected, rtol=1e-5, atol=1e-6)


def test_a_share_of_1_copies_and_of_0_freezes(pair):
    averaged, network = pair
    start = [w.copy() for w in averaged.get_weights()]
    update_average(averaged, network, 0.0)
    assert_equal_trees(averaged.get_weights(), start, rtol=0, atol=0)
    update_average(averaged, network, 1.0)
    assert_equal_trees(averaged.get_weights(), network.get_weights(), rtol=1e-6, atol=1e-7)


def test_average_covers_moving_statistics():
    def make(value):
        norm = keras.layers.BatchNormalization()
        network = keras.Sequential([keras.Input((2,)), norm])
        norm.moving_mean.assign([value, value])
        return network

    averaged, network = make(0.0), make(8.0)
    update_average(averaged, network, 0.25)
    np.testing.assert_allclose(averaged.layers[0].moving_mean, 2.0)


def test_decay_halves_a_weights_influence_after_the_half_life():
    decay = float(decay_of_halflife(64, 10**9, halflife_kimg=6.4, ema_rampup=0.05))
    assert decay == pytest.approx(0.5 ** (64 / 6400))
    assert decay**100 == pytest.approx(0.5, rel=1e-4)  # 100 steps of 64 images are 6.4 kimg


def test_ramp_up_limits_the_half_life_to_a_share_of_the_images_seen():
    decay = float(decay_of_halflife(64, 12800, halflife_kimg=500.0, ema_rampup=0.05))
    assert decay == pytest.approx(0.5 ** (64 / 640))
    assert float(decay_of_halflife(64, 0, 500.0, 0.05)) == 0.0
    assert float(decay_of_halflife(64, 0, 6.4, 0)) == pytest.approx(0.5 ** (64 / 6400))


def test_parts_that_would_leave_images_out_are_refused(case):
    networks, draws, _ = case()
    with pytest.raises(ValueError, match="micro_batches=3 does not divide the 4 images"):
        discriminator_gradients(*networks, draws, micro_batches=3)
