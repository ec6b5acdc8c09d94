"""Noise guidance: levels, one chain from the cleanest upward, the official numbers."""

import numpy as np
import pytest

from ladagan_tf.training import NOISE_SCHEDULES
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


SCHEDULES = {  # the information a_k of the first level m to the last, p = k / (K - 1) of the way
    "exponential": lambda m, p: np.exp((1 - p) * np.log(m)),
    "linear": lambda m, p: (1 - p) * m + p,
    "cosine": lambda m, p: m + (1 - m) * (1 - np.cos(np.pi * p)) / 2,
}


@pytest.mark.parametrize("schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("least", [0.01, 0.125, 0.6, 1.0])
def test_levels_of_a_schedule_are_its_formula(schedule, least):
    for count in (2, 4, 7):
        place = np.array([k / (count - 1) for k in range(count)], np.float64)
        expected = 1.01 - SCHEDULES[schedule](least, place)
        levels = noise_levels(count, schedule, least)
        np.testing.assert_allclose(levels, expected, atol=1e-12)
        assert np.all(np.diff(levels) <= 1e-12) and np.all(levels <= 1 + 1e-12)
    np.testing.assert_allclose(noise_levels(1, schedule, least), [0.01], atol=1e-12)


def test_the_schedules_differ_between_the_ends_only_and_exponential_keeps_least():
    exponential, linear, cosine = (noise_levels(5, s) for s in NOISE_SCHEDULES)
    np.testing.assert_allclose(exponential[[0, -1]], linear[[0, -1]], atol=1e-12)
    np.testing.assert_allclose(cosine[[0, 2, -1]], linear[[0, 2, -1]], atol=1e-12)
    assert np.all(exponential[1:-1] > linear[1:-1])
    assert cosine[1] > linear[1] and cosine[3] < linear[3]


@pytest.mark.parametrize("schedule", NOISE_SCHEDULES)
def test_the_chain_of_any_schedule_has_its_levels_in_float64(rng, schedule):
    """Sums of squares of what each draw contributes are t_k^2, whatever the levels are."""
    levels = noise_levels(4, schedule, 0.3)
    noised = []
    for place in range(4):  # each draw alone
        one = np.zeros((1, 1, 1, 4, 1))
        one[:, :, :, place] = 1.0
        noised.append(np.asarray(add_noise(np.zeros_like(one), one, levels)).reshape(4))
    np.testing.assert_allclose(np.sum(np.square(noised), axis=0), levels**2, rtol=1e-12)
    assert np.all(np.triu(noised, 1) == 0)  # a draw reaches its level and noisier ones


def test_levels_that_are_all_the_cleanest_share_one_noise(noise):
    noised = np.asarray(add_noise(np.zeros_like(noise), noise, noise_levels(4, "linear", 1.0)))
    np.testing.assert_allclose(noised, np.repeat(noised[:, :, :, 3:], 4, axis=3), atol=1e-7)


@pytest.mark.parametrize("least", [0.0, 0.009, 1.01, float("nan")])
def test_information_out_of_range_is_refused(least):
    with pytest.raises(ValueError, match=f"min_information={least:g}: give a number from 0.01 to"):
        noise_levels(4, "cosine", least)


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="noise_schedule='learned' is not one of exponential"):
        noise_levels(4, "learned")
