"""What the workers of one run must know of each other: that one is told to stop, or is gone."""

import contextlib

import numpy as np
import tensorflow as tf

from ladagan_tf.devices import worker
from ladagan_tf.errors import InputError

# What a collective or the service that watches over the workers says when one does not answer.
GONE = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.UnavailableError,
)


class Workers:
    """The workers of a strategy, as one of them sees them. All must make the same calls.

    Args:
        strategy: tf.distribute.Strategy.

    Attributes:
        index: int, of this worker; 0 is the chief.
        count: int.
    """

    def __init__(self, strategy):
        self.index, self.count = worker(strategy)
        self._before = np.float32(0.0)

        @tf.function(autograph=False)
        def total(value):
            values = strategy.run(tf.identity, args=(value,))
            return strategy.reduce(tf.distribute.ReduceOp.SUM, values, axis=None)

        self._total = total

    def any_told(self, told):
        """Whether a worker was told to stop, the same answer for all of them. Ask after each step.

        Of several workers it answers for the step before, so that no worker waits for its device.

        Args:
            told: bool, whether this one was.
        """
        if self.count == 1:
            return told
        before, self._before = self._before, self._total(tf.constant(told, tf.float32))
        return bool(np.asarray(before) > 0)

    def wait(self):
        """Returns when every worker has come here."""
        if self.count > 1:
            np.asarray(self._total(tf.constant(0.0)))


@contextlib.contextmanager
def told_of_lost_workers(strategy, run_dir):
    """That another worker does not answer any more as one line.

    Args:
        strategy: tf.distribute.Strategy; of one worker there is nothing to tell.
        run_dir: the run directory.
    """
    try:
        yield
    except tf.errors.OpError as error:
        gone = isinstance(error, GONE) or "Collective ops is aborted" in str(error)
        index, count = worker(strategy)
        if count == 1 or not gone:
            raise
        raise InputError(
            f"worker {index} of {count}: another worker has ended or cannot be reached, see what "
            f"it said; start all workers again with the same command to continue {run_dir} from "
            "its latest checkpoint"
        ) from error
