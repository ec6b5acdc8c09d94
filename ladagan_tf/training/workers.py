"""What the workers of one run must know of each other: that one is told to stop, or is gone."""

import contextlib
import hashlib
import json
import select
import socket
import time

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


MESSAGE_BYTES = 4096
PAUSE_SECONDS = 0.2  # between two attempts to reach the first worker


def roll_call(addresses, index, seconds):
    """Returns when every worker of a cluster has begun; each of them must call it.

    TensorFlow would wait for an hour, deaf to signals, without a word about whom it waits for. So
    they first report to worker 0, where its TensorFlow will listen; it tells them when all are
    there, or who is not.

    Args:
        addresses: list of "host:port", the same for all.
        index: int, of this worker.
        seconds: float, how long to wait.

    Raises:
        InputError: naming the workers that are missing then, or why this one cannot listen.
    """
    name = hashlib.sha256("\n".join(addresses).encode()).hexdigest()[:32]
    absent = (
        _report(addresses, index, seconds, name) if index else _gather(addresses, seconds, name)
    )
    if absent:
        names = ", ".join(f"{i} ({addresses[i]})" for i in absent)
        raise InputError(
            f"strategy=multiworker: worker {names} of {len(addresses)} did not begin in "
            f"{seconds:g} s; start it with the same TF_CONFIG but for the index, see that worker 0 "
            "can be reached, or raise --worker_wait"
        )


def _gather(addresses, seconds, name):
    """Worker 0's part: waits for the others, and tells them; returns who is missing."""
    deadline, here = time.monotonic() + seconds, {0: None}
    with contextlib.ExitStack() as kept:
        try:
            port = int(addresses[0].rpartition(":")[2])
            listener = kept.enter_context(socket.create_server(("", port), backlog=128))
        except OSError as error:
            raise InputError(
                f"TF_CONFIG: worker 0 cannot listen at {addresses[0]} ({error.strerror})"
            ) from None
        while len(here) < len(addresses):
            if not select.select([listener], [], [], max(0.0, deadline - time.monotonic()))[0]:
                break
            caller = kept.enter_context(listener.accept()[0])
            caller.settimeout(1.0)
            with contextlib.suppress(OSError, ValueError):  # something else that calls
                said, number = caller.recv(MESSAGE_BYTES).decode().split()
                if said == name and 0 < int(number) < len(addresses):
                    here[int(number)] = caller
        absent = sorted(set(range(len(addresses))) - here.keys())
        for caller in filter(None, here.values()):
            with contextlib.suppress(OSError):
                caller.sendall(f"{name} {json.dumps(absent)}".encode())
        return absent


def _report(addresses, index, seconds, name):
    """The other workers' part: hears from worker 0 who is missing."""
    host, _, port = addresses[0].rpartition(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with (
            contextlib.suppress(OSError, ValueError),
            socket.create_connection((host.strip("[]"), int(port)), timeout=1.0) as first,
        ):
            first.sendall(f"{name} {index}".encode())
            first.settimeout(seconds + 1.0)  # it may have begun just now
            said, _, absent = first.recv(MESSAGE_BYTES).decode().partition(" ")
            if said == name:
                return json.loads(absent)
        time.sleep(PAUSE_SECONDS)
    return [0]


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

    def check_start(self, step):
        """Raises InputError unless all workers begin at the same step, an int."""
        if self.count == 1:
            return
        mine = np.zeros(self.count, np.int64)
        mine[self.index] = step + 1  # 0 would look like nothing
        starts = np.asarray(self._total(tf.constant(mine)))
        starts = starts * (step + 1) // starts[self.index] - 1  # each replica has added its own
        if len(set(starts)) > 1:
            told = ", ".join(f"worker {i} at {start}" for i, start in enumerate(starts))
            raise InputError(
                f"run_dir: the workers would continue from different steps ({told}); give all of "
                "them the same folder, on a disk that they share"
            )

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
