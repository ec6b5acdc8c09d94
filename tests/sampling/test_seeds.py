"""The latent and the label of an image depend on its seed and on nothing else."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds


def test_a_latent_does_not_depend_on_the_others_in_its_batch():
    together = seeds.latents(range(10), 16)
    alone = np.concatenate([seeds.latents([i], 16) for i in range(10)])
    np.testing.assert_array_equal(together, alone)


def test_different_seeds_give_independent_standard_normals():
    z = seeds.latents(range(2000), 8).astype(np.float64)
    np.testing.assert_allclose(z.mean(0), 0, atol=4 / 2000**0.5)
    np.testing.assert_allclose(np.cov(z.T), np.eye(8), atol=0.12)


def test_a_seed_keeps_its_latent_for_ever():
    # Philox is specified; a change here would change every published sample.
    expected = np.random.Generator(np.random.Philox(key=[7, 0])).standard_normal(3)
    np.testing.assert_array_equal(seeds.latents([7], 3)[0], expected.astype(np.float32))


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.0])
def test_what_is_beyond_a_truncation_is_drawn_again_from_the_seeds_own_stream(limit):
    z = seeds.latents(range(200), 16, limit)
    for seed in (0, 7, 199):
        rounds = np.random.Generator(np.random.Philox(key=[seed, 0])).standard_normal((400, 16))
        first = (np.abs(rounds) <= limit).argmax(axis=0)  # of each component
        expected = rounds[first, np.arange(16)].astype(np.float32)
        np.testing.assert_array_equal(z[seed], expected)
    np.testing.assert_array_equal(seeds.latents([7], 16, limit)[0], z[7])
    whole = seeds.latents(range(200), 16)
    within = np.abs(whole) <= limit
    np.testing.assert_array_equal(z[within], whole[within])
    # The variance of a normal number that is known to lie within the limit.
    x = np.linspace(-limit, limit, 10_001)
    density = np.exp(-(x**2) / 2)
    assert abs(z.astype(np.float64).var() / np.average(x**2, weights=density) - 1) < 0.1


@pytest.mark.parametrize("limit", [0.0, -1.0, 0.009, float("nan")])
def test_a_truncation_that_no_draw_meets_is_refused(limit):
    with pytest.raises(InputError, match="give a number from 0"):
        seeds.latents([0], 4, limit)


def test_balanced_labels_take_turns_and_random_ones_are_uniform():
    np.testing.assert_array_equal(seeds.labels(range(5), 3, "balanced"), [0, 1, 2, 0, 1])
    counts = np.bincount(seeds.labels(range(3000), 3, "random"))
    assert np.all(np.abs(counts - 1000) < 120)


def test_proportional_labels_are_as_frequent_as_the_real_ones():
    counts = np.bincount(seeds.labels(range(3000), 3, "proportional", (10, 0, 30)), minlength=3)
    assert counts[1] == 0 and abs(counts[0] - 750) < 100


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_named(seed):
    with pytest.raises(InputError, match=f"seed={seed}"):
        seeds.latents([seed], 4)
