"""Gradient norms are means over tensors, and a spike is a multiple of the running median."""

import keras
import numpy as np
import pytest

from ladagan_tf.training.statistics import SPIKE_WINDOW, BlockNorms, SpikeCounter


@pytest.fixture
def network():
    """Two layers below a network: one with a kernel and a bias, one with two such layers."""
    inner = keras.Sequential([keras.layers.Dense(2), keras.layers.Dense(1)], name="inner")
    network = keras.Sequential([keras.layers.Dense(3, name="first"), inner])
    network.build((None, 4))
    return network


def test_a_block_is_a_layer_below_the_network_and_its_norm_the_mean_over_its_tensors(network):
    means = BlockNorms("norm", network)(np.float32([1.0, 3.0, 2.0, 4.0, 6.0, 8.0]))
    assert {name: float(mean) for name, mean in means.items()} == pytest.approx(
        {"norm": 4.0, "norm/first": 2.0, "norm/inner": 5.0}
    )


def spikes_of(norms, factor=3.0):
    counter = SpikeCounter(1, factor)
    counts = []
    for norm in norms:
        counter.count(np.float32([norm]))
        counts.append(int(counter.totals[0]))
    return np.diff(counts, prepend=0)


def test_spikes_are_steps_above_the_factor_times_the_median_of_those_before(rng):
    norms = rng.lognormal(sigma=1.0, size=3 * SPIKE_WINDOW).astype(np.float32)
    expected = [
        step >= SPIKE_WINDOW and norm > 3.0 * np.median(norms[step - SPIKE_WINDOW : step])
        for step, norm in enumerate(norms)
    ]
    assert sum(expected) > 5
    np.testing.assert_array_equal(spikes_of(norms), expected)


def test_a_step_that_does_not_count_is_no_spike_and_leaves_the_median(rng):
    counter = SpikeCounter(1)
    for _ in range(SPIKE_WINDOW):
        counter.count(keras.ops.ones(1))
    recent = keras.ops.convert_to_numpy(counter.recent)
    counter.count(keras.ops.full((1,), np.inf), counts=False)
    assert int(counter.totals[0]) == 0
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(counter.recent), recent)


def test_skipped_steps_at_the_start_make_no_spikes():
    counter = SpikeCounter(1)
    for step in range(2 * SPIKE_WINDOW):
        counter.count(np.float32([1.0]), counts=step >= SPIKE_WINDOW - 1)
    assert int(counter.totals[0]) == 0


def test_a_constant_norm_never_spikes_and_an_infinite_one_does():
    norms = np.ones(SPIKE_WINDOW + 3)
    norms[-2] = np.inf
    assert list(np.flatnonzero(spikes_of(norms))) == [len(norms) - 2]


def test_networks_are_counted_apart():
    counter = SpikeCounter(2, 2.0)
    for _ in range(SPIKE_WINDOW):
        counter.count(np.float32([1.0, 10.0]))
    counter.count(np.float32([5.0, 5.0]))
    assert list(np.asarray(counter.totals)) == [1, 0]
