"""The Frechet distance has its closed forms, and is refused of what is no covariance."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.frechet import frechet_distance

RANDOM = np.random.default_rng(0)


def test_distance_of_commuting_gaussians_has_the_closed_form():
    axes = np.linalg.qr(RANDOM.standard_normal((5, 5)))[0]
    s, t = np.array([4.0, 1.0, 0.5, 0.0, 2.0]), np.array([1.0, 1.0, 3.0, 2.0, 0.0])
    m = RANDOM.standard_normal(5)
    found = frechet_distance(m, axes * s @ axes.T, m + 1.0, axes * t @ axes.T)
    assert found == pytest.approx(5.0 + np.square(np.sqrt(s) - np.sqrt(t)).sum(), abs=1e-12)


def test_distance_is_symmetric_never_negative_and_zero_for_equal_moments():
    few = RANDOM.standard_normal((20, 64))  # rank 19 of 64
    many = RANDOM.standard_normal((500, 64))
    a, b = ((x.mean(axis=0), np.cov(x, rowvar=False)) for x in (few, many))
    assert frechet_distance(*a, *b) == pytest.approx(frechet_distance(*b, *a))
    for moments in (a, b):
        assert 0.0 <= frechet_distance(*moments, *moments) < 2e-12


def test_constant_sets_differ_by_their_means_and_traces():
    zero, mean, other = np.zeros((3, 3)), np.zeros(3), np.array([3.0, 4.0, 0.0])
    assert frechet_distance(mean, zero, other, zero) == 25.0
    assert frechet_distance(mean, zero, other, np.eye(3)) == 28.0
    assert frechet_distance(mean, np.eye(3), other, zero) == 28.0


def test_what_is_no_covariance_has_no_distance():
    """A plausible number comes out, too: of a reference with another sign, or half of a matrix."""
    mean, covariance = RANDOM.random(6), np.cov(RANDOM.standard_normal((6, 70)))
    fake = RANDOM.random(6), np.cov(RANDOM.standard_normal((6, 53)))
    wrong = {
        "negative eigenvalues": (-covariance, np.sqrt(np.abs(covariance)) - np.eye(len(mean))),
        "not symmetric": (np.triu(covariance),),
    }
    for message, matrices in wrong.items():
        for matrix in matrices:
            for order in ((mean, matrix, *fake), (*fake, mean, matrix)):
                with pytest.raises(InputError, match=f"it is no covariance: .*{message}"):
                    frechet_distance(*order)
    rounded = covariance.astype(np.float32)  # as other programs store it
    right = frechet_distance(mean, covariance, *fake)
    assert frechet_distance(mean, rounded, *fake) == pytest.approx(right, rel=1e-5)
    frechet_distance(mean, 0 * covariance, *fake)  # of images that are all the same


def test_moments_that_do_not_fit_or_are_not_finite_are_refused():
    mean, eye = np.zeros(3), np.eye(3)
    for arguments, message in (
        ((mean, eye, np.zeros(2), np.eye(2)), "one dimension"),
        ((mean, eye, mean, np.full((3, 3), np.nan)), "not finite"),
    ):
        with pytest.raises(InputError, match=message):
            frechet_distance(*arguments)
