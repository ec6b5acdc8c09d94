"""The relativistic loss, R2, and penalties of a share of the images."""

import numpy as np
import pytest
from lada_in_numpy import (
    assert_gradient,
    logits_in_numpy,
    numbers,
    objective,
    r1_in_numpy,
    softplus,
)

from ladagan_tf.training.autodiff import value_and_grad


def test_relativistic_losses_pair_images_and_patches(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    generator, discriminator = tiny_generator(), tiny_discriminator()
    lada, fake = objective(loss="rpgan"), generator(plain_draws["z"])
    weights, images = numbers(discriminator.get_weights()), numbers([batch["real"], fake])
    real_logits, fake_logits = (logits_in_numpy(weights, x) for x in images)
    _, of_d = lada.discriminator_loss(discriminator, batch, fake, plain_draws)
    _, of_g = lada.generator_loss(generator, discriminator, batch, plain_draws)
    margin = real_logits - fake_logits
    np.testing.assert_allclose(of_d["d_loss"], softplus(-margin).mean(), rtol=1e-5)
    np.testing.assert_allclose(of_g["g_loss"], softplus(margin).mean(), rtol=1e-5)
    np.testing.assert_allclose(of_d["real_sign"], np.sign(margin).mean(), rtol=1e-5, atol=1e-6)


def test_centring_adds_the_square_of_a_pairs_sum(
    tiny_generator, tiny_discriminator, batch, plain_draws
):
    discriminator, fake = tiny_discriminator(), tiny_generator()(plain_draws["z"])
    lada = objective(loss="rpgan", r1_weight=0.0, centring_weight=0.5)
    total, parts = lada.discriminator_loss(discriminator, batch, fake, plain_draws)
    weights = numbers(discriminator.get_weights())
    real, generated = (logits_in_numpy(weights, x) for x in numbers([batch["real"], fake]))
    centring = 0.5 * np.mean((real + generated) ** 2)
    np.testing.assert_allclose(parts["centring"], centring, rtol=1e-5)
    np.testing.assert_allclose(total, softplus(generated - real).mean() + centring, rtol=1e-5)
    assert "centring" in lada.metrics and "centring" not in objective().metrics
    with pytest.raises(ValueError, match=r"centring_weight=0\.5: loss='nsl' has a zero"):
        objective(loss="nsl", centring_weight=0.5)


@pytest.mark.parametrize("bcr", [False, True])
def test_the_images_of_a_pair_are_augmented_alike(tiny_discriminator, batch, draw, bcr):
    """So that images which are equal stay it, and neither is preferred."""
    lada = objective(
        loss="rpgan", policy="color,translation,cutout", augment_pairs=True, bcr=bcr, r1_weight=0.0
    )
    draws = draw(lada.discriminator_draws(), 4)
    assert not draws["real"]
    _, parts = lada.discriminator_loss(tiny_discriminator(), batch, batch["real"], draws)
    np.testing.assert_allclose(parts["d_loss"], np.log(2.0), rtol=1e-6)
    apart = {**draws, "real": draw(lada.discriminator_draws(), 4)["fake"]}
    _, other = lada.discriminator_loss(tiny_discriminator(), batch, batch["real"], apart)
    changed = "bcr" if bcr else "d_loss"  # bCR leaves the adversarial terms clean
    assert abs(float(other[changed]) - float(parts[changed])) > 1e-4
    with pytest.raises(ValueError, match="policy='': there is no augmentation for augment_pairs"):
        objective(policy="", augment_pairs=True)


def test_g_learns_from_reals_only_where_the_loss_is_relativistic():
    for loss, seen in {"nsl": {"z", "fake"}, "rpgan": {"z", "fake", "real"}}.items():
        assert set(objective(loss=loss, policy="color").generator_draws()) == seen


def test_the_sign_at_reals_is_that_of_d(tiny_generator, tiny_discriminator, batch, plain_draws):
    discriminator = tiny_discriminator()
    fake = tiny_generator()(plain_draws["z"])
    _, metrics = objective().discriminator_loss(discriminator, batch, fake, plain_draws)
    logits = logits_in_numpy(numbers(discriminator.get_weights()), *numbers([batch["real"]]))
    np.testing.assert_allclose(metrics["real_sign"], np.sign(logits).mean(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("every", "rows"), [(1, [0, 1, 2, 3]), (2, [0, 2]), (4, [0])])
def test_r1_and_r2_are_taken_at_every_nth_image_of_each_side(
    tiny_generator, tiny_discriminator, batch, plain_draws, rng, every, rows
):
    discriminator, fake = tiny_discriminator(), tiny_generator()(plain_draws["z"])
    lada = objective(loss="rpgan", r1_weight=0.3, r2_weight=0.2, penalty_every=every)

    def loss():
        return lada.discriminator_loss(discriminator, batch, fake, plain_draws)

    (total, metrics), gradients = value_and_grad(loss, discriminator)
    weights, (real, fakes) = numbers(discriminator.get_weights()), numbers([batch["real"], fake])

    def formula(w):
        margin = logits_in_numpy(w, real) - logits_in_numpy(w, fakes)
        penalties = 0.3 * r1_in_numpy(w, real[rows]) + 0.2 * r1_in_numpy(w, fakes[rows])
        return softplus(-margin).mean() + penalties

    np.testing.assert_allclose(metrics["r1"], 0.3 * r1_in_numpy(weights, real[rows]), rtol=1e-5)
    np.testing.assert_allclose(metrics["r2"], 0.2 * r1_in_numpy(weights, fakes[rows]), rtol=1e-5)
    np.testing.assert_allclose(total, formula(weights), rtol=1e-5)
    # The last bias cancels in a pair: rounding is all its gradient has.
    assert_gradient(formula, weights, numbers(gradients), rng)
