"""LadaGAN's objective against its formula in float64 NumPy and finite differences of that."""

import keras
import numpy as np
import pytest
from keras import ops
from lada_in_numpy import (
    assert_gradient,
    bcr_case,
    logits_in_numpy,
    numbers,
    objective,
    r1_in_numpy,
    softplus,
    total_in_numpy,
)

from ladagan_tf.training import losses
from ladagan_tf.training.autodiff import input_gradient, value_and_grad
from ladagan_tf.training.draws import Draw
from ladagan_tf.training.lada import LadaObjective


def test_second_order_gradient_of_r1_agrees_with_finite_differences(tiny_discriminator, batch, rng):
    discriminator, images = tiny_discriminator(), batch["real"]

    def penalty():
        logits, gradient = input_gradient(discriminator, images, discriminator)
        # R1 does not depend on the last bias; in training the loss does.
        return losses.r1_penalty(gradient) + 0.0 * ops.mean(logits), ()

    (value, _), gradients = value_and_grad(penalty, discriminator)
    weights, (real,) = numbers(discriminator.get_weights()), numbers([images])
    np.testing.assert_allclose(value, r1_in_numpy(weights, real), rtol=1e-5)
    assert_gradient(lambda w: r1_in_numpy(w, real), weights, numbers(gradients), rng)


def test_discriminator_loss_and_gradient_are_those_of_the_formula(
    tiny_generator, tiny_discriminator, batch, plain_draws, rng
):
    discriminator = tiny_discriminator()
    fake = tiny_generator()(plain_draws["z"])
    lada = objective(r1_weight=0.3)

    def loss():
        return lada.discriminator_loss(discriminator, batch, fake, plain_draws)

    (value, metrics), gradients = value_and_grad(loss, discriminator)
    weights, images = numbers(discriminator.get_weights()), numbers([batch["real"], fake])

    def formula(w):
        return total_in_numpy(w, *images, 0.3)

    np.testing.assert_allclose(value, formula(weights), rtol=1e-5)
    np.testing.assert_allclose(metrics["r1"], 0.3 * r1_in_numpy(weights, images[0]), rtol=1e-5)
    assert_gradient(formula, weights, numbers(gradients), rng)


def test_r1_is_taken_at_the_augmented_reals(tiny_discriminator, batch, plain_draws, draw):
    lada, discriminator = objective(policy="color"), tiny_discriminator()
    draws = {**plain_draws, **draw({k: lada.discriminator_draws()[k] for k in ("real", "fake")})}
    draws["real"] = {**draws["real"], "contrast": ops.full((4,), 0.0)}
    draws["real"] |= {"brightness": ops.full((4,), 1.0), "saturation": ops.full((4,), 0.5)}
    _, metrics = lada.discriminator_loss(discriminator, batch, batch["real"], draws)
    (images,) = numbers([batch["real"]])
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    augmented = 0.5 * (images - mean) + mean + 0.5
    expected = 1e-4 * r1_in_numpy(numbers(discriminator.get_weights()), augmented)
    np.testing.assert_allclose(metrics["r1"], expected, rtol=1e-5)


def test_a_zero_r1_weight_leaves_the_adversarial_loss(tiny_discriminator, batch, plain_draws):
    total, metrics = objective(r1_weight=0.0).discriminator_loss(
        tiny_discriminator(), batch, batch["real"], plain_draws
    )
    assert float(metrics["r1"]) == 0.0 and float(total) == float(metrics["d_loss"])


def test_generator_loss_is_the_loss_of_its_images_logits(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    generator, discriminator = tiny_generator(), tiny_discriminator()
    (images,) = numbers([generator(plain_draws["z"])])
    logits = logits_in_numpy(numbers(discriminator.get_weights()), images)
    for name, expected in {"nsl": softplus(-logits).mean(), "hinge": -logits.mean()}.items():
        loss, metrics = objective(loss=name).generator_loss(
            generator, discriminator, batch, plain_draws
        )
        np.testing.assert_allclose(loss, expected, rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(metrics["fake_logits"], logits.mean(), rtol=1e-4, atol=1e-6)


def test_a_range_weight_adds_the_squared_distance_from_the_range_to_the_generator_s_loss(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    bounded, discriminator = tiny_generator(), tiny_discriminator()

    def generator(z, training):
        return 4.0 * bounded(z, training=training)

    (images,) = numbers([generator(plain_draws["z"], training=True)])
    beyond = np.maximum(np.abs(images) - 1, 0)
    assert beyond.any()
    (plain, _), (held, metrics) = (
        objective(range_weight=weight).generator_loss(generator, discriminator, batch, plain_draws)
        for weight in (0.0, 3.0)
    )
    np.testing.assert_allclose(held - plain, 3.0 * np.mean(beyond**2), rtol=1e-4)
    np.testing.assert_allclose(metrics["g_loss"], plain)


def test_the_share_of_clipped_values_is_that_of_the_images_before_augmentation(
    tiny_generator, tiny_discriminator, batch, draw
):
    lada, bounded = objective(policy="color"), tiny_generator()

    def generator(z, training):
        return 4.0 * bounded(z, training=training)

    draws = draw(lada.generator_draws())
    _, metrics = lada.generator_loss(generator, tiny_discriminator(), batch, draws)
    (images,) = numbers([generator(draws["z"], training=True)])
    expected = np.mean(np.abs(images * 127.5) > 127.5 + 5)
    assert 0.0 < expected < 1.0
    np.testing.assert_allclose(metrics["clipped"], expected, rtol=1e-6)


def test_hinge_discriminator_loss_is_the_formula(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    discriminator, fake = tiny_discriminator(), tiny_generator()(plain_draws["z"])
    _, metrics = objective(loss="hinge").discriminator_loss(discriminator, batch, fake, plain_draws)
    weights = numbers(discriminator.get_weights())
    real, fake = (logits_in_numpy(weights, x) for x in numbers([batch["real"], fake]))
    expected = np.maximum(0, 1 - real).mean() + np.maximum(0, 1 + fake).mean()
    np.testing.assert_allclose(metrics["d_loss"], expected, rtol=1e-5)


# ------------------------------------------------------------------------------ batch statistics


def normed_discriminator():
    layers = keras.layers
    norm = layers.BatchNormalization(center=False, scale=False, momentum=0.0, epsilon=1e-5)
    flat = [layers.Flatten(), layers.Dense(25, kernel_initializer="ones")]
    return keras.Sequential([keras.Input((8, 8, 3)), norm, *flat])


def test_real_and_generated_images_have_batch_statistics_of_their_own(batch, plain_draws):
    # Fakes are reals moved by a constant: own statistics hide that, shared ones would not.
    _, metrics = objective(r1_weight=0.0).discriminator_loss(
        normed_discriminator(), batch, batch["real"] + 5.0, plain_draws
    )
    np.testing.assert_allclose(metrics["real_logits"], 0.0, atol=1e-3)
    np.testing.assert_allclose(metrics["d_loss"], numbers_of_own_statistics(batch), rtol=1e-3)


def numbers_of_own_statistics(batch):
    (x,) = numbers([batch["real"]])
    normed = (x - x.mean((0, 1, 2))) / np.sqrt(x.var((0, 1, 2)) + 1e-5)
    logits = normed.sum(axis=(1, 2, 3))
    return softplus(-logits).mean() + softplus(logits).mean()


def test_discriminator_sees_fakes_first_and_reals_last(batch, plain_draws):
    discriminator = normed_discriminator()
    objective().discriminator_loss(discriminator, batch, batch["real"] + 5.0, plain_draws)
    moving_mean = ops.convert_to_numpy(discriminator.layers[0].moving_mean)  # momentum 0
    expected = numbers([batch["real"]])[0].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(moving_mean, expected, rtol=1e-5, atol=1e-5)


# ------------------------------------------------------------------------- what it asks for


def test_metrics_are_the_reported_names(tiny_generator, tiny_discriminator, batch, plain_draws):
    for bcr in (False, True):
        lada, draws = bcr_case(plain_draws) if bcr else (objective(r2_weight=1.0), plain_draws)
        networks = tiny_generator(), tiny_discriminator()
        _, d = lada.discriminator_loss(networks[1], batch, batch["real"], draws)
        _, g = lada.generator_loss(*networks, batch, draws)
        assert sorted([*d, *g]) == sorted([*lada.metrics, *lada.observed])


def test_draws_are_a_latent_and_one_augmentation_for_each_side():
    lada = objective(policy="translation")
    shift = Draw.integers(-1, 2)
    augmentation = {"shift_rows": shift, "shift_columns": shift}
    expected = {"z": Draw.normal(4), "fake": augmentation, "real": augmentation}
    assert lada.discriminator_draws() == expected
    assert lada.generator_draws() == {"z": Draw.normal(4), "fake": augmentation}
    consistent = objective(policy="translation", bcr=True)
    assert consistent.generator_draws() == {"z": Draw.normal(4), "fake": {}}


def test_defaults_are_the_published_cifar10_recipe():
    lada = LadaObjective()
    assert (lada.noise_dim, lada.loss, lada.r1_weight) == (128, "nsl", 1e-4)
    assert (lada.steps, lada.bcr, lada.bcr_weight) == (("color", "translation"), False, 0.1)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"loss": "wgan"}, "loss='wgan' is not one of nsl, hinge, rpgan"),
        ({"policy": "flip"}, "policy='flip': 'flip' is not one of color, translation, cutout"),
        ({"policy": "", "bcr": True}, "bcr=True with policy='': consistency needs"),
        ({"policy": "", "augment_sometimes": True}, "policy='': there is no augmentation to apply"),
    ],
)
def test_wrong_fields_are_refused_when_the_objective_is_made(fields, message):
    with pytest.raises(ValueError, match=message):
        LadaObjective(**fields)
