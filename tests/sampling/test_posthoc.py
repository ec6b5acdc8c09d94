"""Averages of any length against integrals of their profiles, taken numerically in float64."""

import numpy as np
import pytest

from ladagan_tf.runs.snapshots import Snapshots
from ladagan_tf.sampling import posthoc

MIDDLES = (np.arange(20_000) + 0.5) / 20_000  # of the time from 0 to 1
STORED = [(time, sigma_rel) for time in (0.25, 0.5, 0.75, 1.0) for sigma_rel in (0.05, 0.1)]
TIMES, LENGTHS = np.array(STORED).T


def profile(time, sigma_rel):
    """The weight of each of `MIDDLES`, whose mean is 1."""
    gamma = posthoc.exponent(sigma_rel)
    inside = time > MIDDLES
    return inside * (gamma + 1) * (MIDDLES / time) ** gamma / time


@pytest.mark.parametrize("sigma_rel", [0.01, 0.05, 0.1, 0.25, 0.288])
def test_sigma_rel_is_the_standard_deviation_of_the_profile(sigma_rel):
    weights = profile(1.0, sigma_rel)
    mean = np.mean(MIDDLES * weights)
    deviation = np.sqrt(np.mean((MIDDLES - mean) ** 2 * weights))
    assert deviation == pytest.approx(sigma_rel, rel=1e-5)


def test_the_paper_s_exponents_are_found():
    """EDM2, Appendix C: sigma_rel of 0.05 and 0.10 are gamma of 16.97 and 6.94."""
    assert [round(posthoc.exponent(s), 2) for s in (0.05, 0.1)] == [16.97, 6.94]


def test_inner_products_are_the_integrals_of_products():
    found = posthoc.inner_products(
        TIMES[:, None], [[posthoc.exponent(s)] for s in LENGTHS], 0.6, posthoc.exponent(0.2)
    )
    other = profile(0.6, 0.2)
    expected = [np.mean(profile(*stored) * other) for stored in STORED]
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-4)


@pytest.mark.parametrize(("time", "sigma_rel"), [(1.0, 0.075), (1.0, 0.2), (0.6, 0.1), (0.1, 0.03)])
def test_the_combination_is_the_nearest_of_sum_one_and_says_how_far_it_is(time, sigma_rel):
    mixed, error = posthoc.coefficients(TIMES, LENGTHS, time, sigma_rel)
    profiles, wanted = np.stack([profile(*stored) for stored in STORED]), profile(time, sigma_rel)

    def distance(shares):
        return np.sqrt(np.mean((shares @ profiles - wanted) ** 2) / np.mean(wanted**2))

    assert mixed.sum() == pytest.approx(1.0)
    assert error == pytest.approx(distance(mixed), rel=1e-3)
    for moved in np.eye(len(mixed)):
        for step in (1e-2, -1e-2):
            assert distance(mixed + step * (moved - 1 / len(mixed))) > error


@pytest.mark.parametrize("count", [1, 4, 40])
def test_a_stored_average_is_made_of_itself_alone(count):
    times = np.repeat(np.arange(1, count + 1) * 1e5, 2)
    for number in (2 * count - 1, count - 1):
        mixed, error = posthoc.coefficients(
            times, [0.05, 0.1] * count, times[number], [0.05, 0.1][number % 2]
        )
        np.testing.assert_allclose(mixed, np.eye(2 * count)[number], atol=1e-9)
        assert error < 1e-6


def test_lengths_that_are_hardly_different_are_no_error():
    mixed, error = posthoc.coefficients([1.0, 1.0], [0.1, 0.1 + 1e-9], 1.0, 0.1)
    assert mixed.sum() == pytest.approx(1.0) and error < 1e-6


def tracked(weights, sigma_rel):
    """The average of (steps, n) weights at each step, by the paper's recursion, in float64."""
    average, found = np.zeros(weights.shape[1]), []
    for step, values in enumerate(weights, 1):
        decay = (1.0 - 1.0 / step) ** (posthoc.exponent(sigma_rel) + 1)
        average = decay * average + (1.0 - decay) * values
        found.append(average)
    return np.array(found)


@pytest.fixture
def walk(tmp_path):
    """Weights on a random walk of 400 steps of 4 images, and ten snapshots of it."""
    weights = np.random.default_rng(0).normal(size=(400, 64)).cumsum(axis=0) / 20
    lengths = {s: tracked(weights, s) for s in (0.05, 0.1)}
    for step in range(40, 401, 40):
        statistic = np.full(3, step, np.float32)  # copied
        averages = {s: [at[step - 1].astype("f4"), statistic] for s, at in lengths.items()}
        Snapshots(tmp_path, averages, [1], [1]).save(step, 4 * step)
    return weights, posthoc.PosthocAverages(tmp_path)


def test_a_stored_length_comes_back_and_others_are_what_tracking_them_had_given(walk):
    weights, stored = walk
    assert stored.last_kimg == 1.6
    lengths = [0.05, 0.1, 0.075, 0.15]
    made, errors = stored.reconstruct(lengths)
    for length, (found, statistic), error in zip(lengths, made, errors, strict=True):
        expected = tracked(weights, length)[-1]
        limit = 5e-4 if length in (0.05, 0.1) else 0.03  # float16; ten snapshots
        assert np.abs(found - expected).max() < limit * np.abs(expected).max()
        assert statistic.tolist() == [400] * 3 and error < 0.03
    (made,), _ = stored.reconstruct([0.1], kimg=0.8)
    expected = tracked(weights, 0.1)[199]
    assert np.abs(made[0] - expected).max() < 5e-4 * np.abs(expected).max()
    assert made[1].tolist() == [200] * 3


def test_a_variance_stays_one(tmp_path):
    """A negative coefficient would make it negative where it fell by orders of magnitude."""
    for step, value in ((1, 1e4), (2, 1.0)):
        averages = {s: [np.float32([value * s])] for s in (0.05, 0.1)}
        Snapshots(tmp_path, averages, [0]).save(step, step)
    mixed, _ = posthoc.coefficients([1, 1, 2, 2], [0.05, 0.1] * 2, 2, 0.07)
    assert mixed @ np.array([500, 1000, 0.05, 0.1]) < 0
    ((found,),), _ = posthoc.PosthocAverages(tmp_path).reconstruct([0.07])
    assert found == pytest.approx(0.05)
