"""A window's results are means of the steps in it."""

import numpy as np
import pytest

from ladagan_tf.training.statistics import Window


@pytest.fixture
def window():
    window = Window(["loss", "norm"])
    for loss in (1.0, 2.0, 6.0):
        window.add({"loss": loss, "other": 9.0, "norm": 2.0 * loss})
    return window


def test_results_are_means_of_the_named_scalars(window):
    assert window.results() == {"loss": 3.0, "norm": 6.0}


def test_after_a_reset_earlier_steps_do_not_count(window):
    window.reset()
    window.add({"loss": 5.0, "norm": 7.0})
    assert window.results() == {"loss": 5.0, "norm": 7.0}


def test_a_step_that_does_not_count_changes_nothing(window):
    window.add({"loss": np.nan, "norm": np.inf}, counts=False)
    assert window.results() == {"loss": 3.0, "norm": 6.0}


def test_an_empty_window_has_no_results():
    assert np.isnan(Window(["loss"]).results()["loss"])
