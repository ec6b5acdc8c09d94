"""Weights whose channels are of very different sizes, and what int8 may make of them."""

import numpy as np
import pytest


@pytest.fixture
def weights():
    """(32, 16) kernel whose columns are of very different sizes, one of them 0; and a bias."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, (32, 16)) * 10.0 ** np.arange(-8, 8)
    kernel[:, 3] = 0
    return kernel.astype(np.float32), rng.normal(0, 1, (16,)).astype(np.float32)


def assert_rounded(stored, kernel):
    """A stored kernel is within half a step of each channel, and is rounded."""
    step = np.abs(kernel).max(axis=0) / 127
    off = np.abs(stored - kernel)
    assert (off <= 0.502 * step + 1e-6).all()
    assert (off.max(axis=0) > 0.3 * step)[step > 1e-5].all()
