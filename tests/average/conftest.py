"""The small generator of `small_generators` and its run, and `ladagan_tf.average` called here."""

import pytest
from in_process import command
from small_generators import run, small  # noqa: F401

from ladagan_tf import average
from ladagan_tf.flags import average as average_flags


@pytest.fixture
def main():
    """The entry point in this process."""
    with command(average, average_flags.define) as call:
        yield call
