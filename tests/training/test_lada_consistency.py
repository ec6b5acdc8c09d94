"""Balanced consistency (bCR): what it adds, and what sees clean images under it."""

import numpy as np
from keras import ops
from lada_in_numpy import (
    bcr_case,
    logits_in_numpy,
    numbers,
    objective,
)


def test_consistency_is_zero_for_an_augmentation_that_changes_nothing(
    tiny_discriminator, batch, plain_draws
):
    lada, draws = bcr_case(plain_draws)
    _, metrics = lada.discriminator_loss(tiny_discriminator(), batch, batch["real"], draws)
    assert float(metrics["bcr"]) < 1e-10


def test_consistency_is_the_weighted_squared_change_of_the_logits(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    lada, draws = bcr_case(plain_draws, brightness=ops.full((4,), 0.8))
    discriminator, fake = tiny_discriminator(), tiny_generator()(plain_draws["z"])
    total, metrics = lada.discriminator_loss(discriminator, batch, fake, draws)
    weights = numbers(discriminator.get_weights())
    expected = 0.1 * sum(
        np.mean((logits_in_numpy(weights, x) - logits_in_numpy(weights, x + 0.3)) ** 2)
        for x in numbers([batch["real"], fake])
    )
    np.testing.assert_allclose(metrics["bcr"], expected, rtol=1e-4)
    parts = float(metrics["d_loss"] + metrics["r1"] + metrics["bcr"])
    np.testing.assert_allclose(float(total), parts, rtol=1e-6)


def test_under_bcr_the_adversarial_terms_and_r1_see_clean_images(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    lada, draws = bcr_case(plain_draws, brightness=ops.full((4,), 0.9))
    generator, discriminator = tiny_generator(), tiny_discriminator()
    fake = generator(plain_draws["z"])
    _, with_bcr = lada.discriminator_loss(discriminator, batch, fake, draws)
    _, clean = objective().discriminator_loss(discriminator, batch, fake, plain_draws)
    for name in ("d_loss", "r1"):
        np.testing.assert_allclose(with_bcr[name], clean[name], rtol=1e-6)
    augmented, _ = lada.generator_loss(generator, discriminator, batch, draws)
    plain, _ = objective().generator_loss(generator, discriminator, batch, plain_draws)
    np.testing.assert_allclose(augmented, plain, rtol=1e-6)


def test_no_gradient_flows_through_the_augmented_images(tf, tiny_discriminator, batch, plain_draws):
    lada, draws = bcr_case(plain_draws, brightness=ops.full((4,), 0.8))
    lada = objective(policy="color", bcr=True, r1_weight=0.0, bcr_weight=1.0)
    discriminator, images = tiny_discriminator(), batch["real"]
    with tf.GradientTape() as tape:
        tape.watch(images)
        _, metrics = lada.discriminator_loss(discriminator, {"real": images}, images, draws)
    (gradient,) = numbers([tape.gradient(metrics["bcr"], images)])
    weights, (x,) = numbers(discriminator.get_weights()), numbers([images])
    augmented = logits_in_numpy(weights, x + 0.3)  # a constant
    direction = np.ones_like(x)
    step = 1e-5
    high, low = (
        2 * np.mean((logits_in_numpy(weights, x + s * step * direction) - augmented) ** 2)
        for s in (1, -1)
    )
    np.testing.assert_allclose(np.sum(gradient), (high - low) / (2 * step), rtol=1e-4, atol=1e-6)
