"""The small generators of `small_generators`, and a slow one, as fixtures."""

import time

import numpy as np
import pytest
from small_generators import conditional, noise, small  # noqa: F401

from ladagan_tf.sampling.sampler import Sampler


@pytest.fixture
def slow():
    """`Sampler` that takes SLOW_S for each batch, whatever its size."""
    from service_clients import SLOW_S  # not above: what it imports is optional

    def generate(z):
        time.sleep(SLOW_S)
        return np.ones((len(z), 32, 32, 3), np.float32)

    return Sampler(generate, 8, 32, 0, None, {})


@pytest.fixture(scope="module")
def address(small):  # noqa: F811
    """host:port of a service of the small generator."""
    from service_clients import serving

    with serving(small) as address:
        yield address
