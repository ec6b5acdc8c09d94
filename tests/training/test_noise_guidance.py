"""Noise guidance: levels, one chain from the cleanest upward, the official numbers."""

import numpy as np
import pytest

from ladagan_tf.training.latent_views import add_noise, noise_levels


@pytest.fixture
def noise(rng):
    return rng.normal(size=(2, 3, 3, 4, 4)).astype(np.float32)


def test_the_four_levels_are_the_papers():
    np.testing.assert_allclose(noise_levels(4), [0.885, 0.76, 0.51, 0.01], atol=1e-12)


@pytest.mark.parametrize("count", [1, 2, 7])
def test_any_number_of_levels_ends_at_the_cleanest(count):
    levels = noise_levels(count)
    assert levels[-1] == pytest.approx(0.01) and np.all(np.diff(levels) < 0)


def test_without_noise_each_stage_is_scaled_down(rng, noise):
    stages = rng.normal(size=noise.shape).astype(np.float32)
    expected = (1 - noise_levels(4))[:, None] * stages
    np.testing.assert_allclose(add_noise(stages, 0 * noise), expected, rtol=1e-5, atol=1e-6)


def test_each_level_of_a_real_latent_is_a_further_noised_copy_of_the_next(rng, noise):
    latent = rng.normal(size=(2, 3, 3, 1, 4)).astype(np.float32)
    noised = np.asarray(add_noise(np.repeat(latent, 4, axis=3), noise))
    t = noise_levels(4)
    for k in range(3):
        kept = (1 - t[k]) / (1 - t[k + 1])
        fresh = np.sqrt(t[k] ** 2 - t[k + 1] ** 2 * kept**2)
        expected = kept * noised[:, :, :, k + 1] + fresh * noise[:, :, :, k]
        np.testing.assert_allclose(noised[:, :, :, k], expected, rtol=1e-5, atol=1e-6)


def test_noise_has_its_level_and_neighbours_are_correlated(rng):
    noise = rng.normal(size=(1, 160, 160, 4, 4)).astype(np.float32)
    noised = np.asarray(add_noise(np.zeros_like(noise), noise)).reshape(-1, 4, 4)
    samples = noised.transpose(0, 2, 1).reshape(-1, 4)  # (102400, K)
    np.testing.assert_allclose(samples.std(0), noise_levels(4), rtol=0.01)
    neighbours = np.corrcoef(samples.T)[range(3), range(1, 4)]
    t = noise_levels(4)
    kept = (1 - t[:3]) / (1 - t[1:])
    np.testing.assert_allclose(neighbours, kept * t[1:] / t[:3], atol=0.01)  # .41, .33, .01
