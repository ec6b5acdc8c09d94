"""A worker that is gone is told in one line, and only that; one worker asks nobody."""

import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.training import workers

# What TensorFlow 2.21 said when a worker was killed, or stood still.
KILLED = "Collective ops is aborted by: recvmsg:Connection reset by peer\nAdditional GRPC error"
UNHEALTHY = "The following tasks are unhealthy (stopped sending heartbeats)"
GONE = [
    tf.errors.UnavailableError(None, None, KILLED),
    tf.errors.InternalError(None, None, KILLED),
    tf.errors.AbortedError(None, None, UNHEALTHY),
    tf.errors.DeadlineExceededError(None, None, "Deadline Exceeded"),
]
STRATEGY = tf.distribute.get_strategy()


@pytest.mark.parametrize("error", GONE, ids=lambda error: type(error).__name__)
def test_a_lost_worker_is_one_line_that_says_how_to_continue(monkeypatch, error):
    monkeypatch.setattr(workers, "worker", lambda strategy: (1, 3))
    with (
        pytest.raises(InputError, match=r"^worker 1 of 3: another worker .* to continue runs/a "),
        workers.told_of_lost_workers(STRATEGY, "runs/a"),
    ):
        raise error


def test_other_errors_pass_and_one_worker_has_none_to_lose(monkeypatch):
    with (
        pytest.raises(tf.errors.UnavailableError),
        workers.told_of_lost_workers(STRATEGY, "runs/a"),
    ):
        raise GONE[0]
    monkeypatch.setattr(workers, "worker", lambda strategy: (1, 3))
    with (
        pytest.raises(tf.errors.DataLossError),
        workers.told_of_lost_workers(STRATEGY, "runs/a"),
    ):
        raise tf.errors.DataLossError(None, None, "corrupted record at 0")


def test_several_workers_hear_of_a_stop_one_step_later_and_one_at_once(monkeypatch):
    alone = workers.Workers(STRATEGY)
    assert [alone.any_told(told) for told in (False, True)] == [False, True]
    monkeypatch.setattr(workers, "worker", lambda strategy: (1, 3))
    several = workers.Workers(STRATEGY)
    assert [several.any_told(told) for told in (False, True, False)] == [False, False, True]
    several.wait()
