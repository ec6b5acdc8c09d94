"""Moments do not depend on how the rows were split, and say so when they cannot be computed."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.statistics import Moments

ROWS = np.random.default_rng(0).gamma(0.5, size=(203, 12)).astype(np.float32)


def moments_of(*batches):
    moments = Moments(ROWS.shape[1])
    for batch in batches:
        moments.add(batch)
    return moments


def assert_same(moments, other):
    assert moments.count == other.count
    for a, b in ((moments.mean, other.mean), (moments.covariance(), other.covariance())):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12 * np.abs(b).max())


def test_mean_and_covariance_are_numpys_with_n_minus_1():
    moments = moments_of(ROWS)
    np.testing.assert_allclose(moments.mean, ROWS.astype(float).mean(axis=0), rtol=1e-13)
    expected = np.cov(ROWS.astype(float), rowvar=False)
    np.testing.assert_allclose(moments.covariance(), expected, rtol=1e-11, atol=1e-14)
    biased = np.cov(ROWS.astype(float), rowvar=False, ddof=0)
    assert not np.allclose(moments.covariance(), biased, rtol=1e-3)


@pytest.mark.parametrize("size", [1, 2, 7, 64, 202])
def test_batch_size_does_not_matter_and_the_last_short_batch_counts(size):
    batches = [ROWS[i : i + size] for i in range(0, len(ROWS), size)]
    assert moments_of(*batches).count == 203
    assert_same(moments_of(*batches), moments_of(ROWS))
    assert_same(moments_of(*batches[::-1]), moments_of(ROWS))


def test_a_large_common_offset_costs_no_precision():
    offset = np.float64(2.0**20)
    shifted = moments_of(*np.array_split(ROWS.astype(float) + offset, 9))
    expected = moments_of(ROWS).covariance()
    np.testing.assert_allclose(shifted.covariance(), expected, rtol=1e-8, atol=1e-9)


def test_an_empty_batch_changes_nothing():
    assert_same(moments_of(ROWS, ROWS[:0]), moments_of(ROWS))


@pytest.mark.parametrize("rows", [0, 1])
def test_fewer_than_two_rows_have_no_covariance(rows):
    with pytest.raises(InputError, match=f"at least 2 images, got {rows}"):
        moments_of(ROWS[:rows]).covariance()


def test_wrong_shapes_and_values_are_refused_and_leave_no_trace():
    moments = moments_of(ROWS)
    bad = ROWS[:5].copy()
    bad[1, 2], bad[3, 0] = np.nan, np.inf
    for features, message in (
        (bad, "2 of 5 feature rows are not finite"),
        (ROWS[:, :5], r"\(203, 5\), expected \(rows, 12\)"),
        (ROWS[0], r"\(12,\)"),
    ):
        with pytest.raises(InputError, match=message):
            moments.add(features)
    assert_same(moments, moments_of(ROWS))
