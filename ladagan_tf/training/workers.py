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


# Of the kinds of addresses; TensorFlow's server takes both, too.
BOTH = {"family": socket.AF_INET6, "dualstack_ipv6": True} if socket.has_dualstack_ipv6() else {}
MESSAGE_BYTES = 2**17
PAUSE_SECONDS = 0.2  # between two attempts to reach the first worker
NEWS_SECONDS = 15.0  # in which worker 0 says who is gone; it looks for a third of them


def roll_call(addresses, index, seconds, same=None):
    """Returns when every worker of a cluster has begun; each of them must call it.

    TensorFlow would wait for an hour, deaf to signals, without a word about whom it waits for. So
    they first report to worker 0, where its TensorFlow will listen; it tells them when all are
    there, or who is not, or who does not do the same.

    Args:
        addresses: list of "host:port", the same for all.
        index: int, of this worker.
        seconds: float, how long to wait.
        same: dict of text that has to be the same for all workers; None for nothing.

    Returns:
        `Cluster`.

    Raises:
        InputError: naming the workers that are missing then, or a worker and the first thing of
            `same` in which it differs; or why this one cannot listen.
    """
    name, same = hashlib.sha256("\n".join(addresses).encode()).hexdigest()[:32], same or {}
    call = _report if index else _gather
    absent, other, connections = call(addresses, index, seconds, name, same)
    cluster = Cluster(addresses, index, connections)
    if absent or other:
        cluster.close()
    if other:  # it may be why others are absent
        raise InputError(f"strategy=multiworker: {other}")
    if absent:
        names = ", ".join(f"{i} ({addresses[i]})" for i in absent)
        raise InputError(
            f"strategy=multiworker: worker {names} of {len(addresses)} did not begin in "
            f"{seconds:g} s; start it with the same TF_CONFIG but for the index, see that worker 0 "
            "can be reached, or raise --worker_wait"
        )
    return cluster


def _gather(addresses, index, seconds, name, same):
    """Worker 0's part: waits for the others, and tells them.

    Returns:
        (list of who is missing, text of who differs or None, dict from worker to its connection).
    """
    deadline, other = time.monotonic() + seconds, None
    here = {}  # connection -> worker
    with contextlib.ExitStack() as kept:
        try:
            port = int(addresses[0].rpartition(":")[2])
            listener = kept.enter_context(socket.create_server(("", port), backlog=128, **BOTH))
        except OSError as error:
            raise InputError(
                f"TF_CONFIG: worker 0 cannot listen at {addresses[0]} ({error.strerror})"
            ) from None
        while len(here) + 1 < len(addresses):
            left = max(0.0, deadline - time.monotonic())
            ready = select.select([listener, *here], [], [], left)[0]
            if not ready:
                break
            for ended in here.keys() & ready:  # those who wait say nothing more
                ended.close()
                del here[ended]
            if listener not in ready:
                continue
            caller = listener.accept()[0]
            caller.settimeout(1.0)
            try:
                said = _receive(caller)
                number, theirs = said["index"], dict(said["same"])
                ours = said["cluster"] == name and 0 < number < len(addresses)
            except (OSError, ValueError, KeyError, TypeError):
                ours = False
            if not ours:
                caller.close()  # something else that calls
                continue
            who = f"{number} ({addresses[number]})"
            twice = number in here.values() and f"two say that they are worker {who}"
            other = other or twice or _difference(same, theirs, who)
            here[caller] = number
        absent = sorted(set(range(1, len(addresses))) - set(here.values()))
        for caller in here:
            with contextlib.suppress(OSError):
                _send(caller, {"cluster": name, "absent": absent, "other": other})
            if absent or other:
                caller.close()
    return absent, other, {number: caller for caller, number in here.items()}


def _difference(ours, theirs, who):
    """In words, the first thing that worker `who` does otherwise than worker 0; None if nothing."""
    for name in sorted({*ours, *theirs}):
        here, there = ours.get(name, "nothing"), theirs.get(name, "nothing")
        if here != there:
            told = f"worker {who} has {name}={there}, worker 0 has {here}"
            return f"{told}; start all workers alike"
    return None


def _report(addresses, index, seconds, name, same):
    """The other workers' part: hears from worker 0; returns as `_gather`."""
    host, _, port = addresses[0].rpartition(":")
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        first = None
        try:
            first = socket.create_connection((host.strip("[]"), int(port)), timeout=1.0)
            _send(first, {"cluster": name, "index": index, "same": same})
            first.settimeout(seconds + 1.0)  # it may have begun just now
            said = _receive(first)
            if said["cluster"] == name:
                return said["absent"], said["other"], {0: first}
        except (OSError, ValueError, KeyError, TypeError):
            pass
        if first:
            first.close()
        time.sleep(PAUSE_SECONDS)
    return [0], None, {}


def _send(connection, content):
    connection.sendall(f"{json.dumps(content)}\n".encode())


def _receive(connection):
    """What the other end sends next: a dict; ValueError if it is something else."""
    data = b""
    while not data.endswith(b"\n"):
        more = connection.recv(MESSAGE_BYTES)
        if not more or len(data) > MESSAGE_BYTES:
            raise ValueError("no message")
        data += more
    content = json.loads(data)
    if not isinstance(content, dict):
        raise ValueError("no message")
    return content


class Cluster:
    """The workers that have answered a roll call, whose connections tell who has ended.

    The system closes a process's connections however it ends, so that worker 0 sees whose, and
    tells the rest before it ends itself.

    Args:
        addresses: list of "host:port".
        index: int, of this worker.
        connections: dict from a worker's number to a socket: all others of worker 0, worker 0 of
            the others.
    """

    def __init__(self, addresses, index, connections):
        self.addresses = addresses
        self.index = index
        self.connections = connections

    def close(self):
        """Ends the connections."""
        for connection in self.connections.values():
            connection.close()

    def lost(self, seconds=NEWS_SECONDS):
        """Who has ended, in words; None if that is not known in time.

        Args:
            seconds: float, how long to wait for it.
        """
        numbers = self._ended(seconds / 3) if self.index == 0 else self._told(seconds)
        return ", ".join(f"worker {i} ({self.addresses[i]})" for i in numbers) or None

    def _ended(self, seconds):
        readable, _, _ = select.select([*self.connections.values()], [], [], seconds)
        found = [i for i, connection in self.connections.items() if connection in readable]
        for i in self.connections.keys() - found:
            with contextlib.suppress(OSError):
                _send(self.connections[i], {"ended": found})
        return found

    def _told(self, seconds):
        first = self.connections[0]
        first.settimeout(seconds)
        try:
            return _receive(first)["ended"]
        except TimeoutError:
            return []
        except (OSError, ValueError, KeyError):
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
        starts = self._of_all(step)
        if len(set(starts)) > 1:
            told = ", ".join(f"worker {i} at {start}" for i, start in enumerate(starts))
            raise InputError(
                f"run_dir: the workers would continue from different steps ({told}); give all of "
                "them the same folder, on a disk that they share"
            )

    def check_contents(self, contents):
        """Raises InputError unless all workers read the same.

        Args:
            contents: dict of text, see `training.loop.contents_of`.
        """
        for name in sorted(contents):
            digest = hashlib.sha256(contents[name].encode()).hexdigest()
            of_all = self._of_all(int(digest[:8], 16))
            others = [i for i, found in enumerate(of_all) if found != of_all[0]]
            if others:
                raise InputError(
                    f"--{name}: worker {others[0]} has something else there than worker 0; give "
                    "all of them the same"
                )

    def _of_all(self, number):
        """What every worker calls this with, an int from 0 to 2**32: a list."""
        if self.count == 1:
            return [number]
        mine = np.zeros(self.count, np.int64)
        mine[self.index] = number + 1  # 0 would look like nothing
        found = np.asarray(self._total(tf.constant(mine)))
        replicas = found[self.index] // (number + 1)  # each of which has added its own
        return [int(n) for n in found // replicas - 1]

    def wait(self):
        """Returns when every worker has come here."""
        if self.count > 1:
            np.asarray(self._total(tf.constant(0.0)))


@contextlib.contextmanager
def told_of_lost_workers(strategy, run_dir, cluster=None):
    """That another worker does not answer any more as one line.

    Args:
        strategy: tf.distribute.Strategy; of one worker there is nothing to tell.
        run_dir: the run directory.
        cluster: `Cluster`, which knows who it is; None if nothing does.
    """
    try:
        yield
    except tf.errors.OpError as error:
        gone = isinstance(error, GONE) or "Collective ops is aborted" in str(error)
        index, count = worker(strategy)
        if count == 1 or not gone:
            raise
        who = (cluster.lost() if cluster else None) or "another worker"
        raise InputError(
            f"worker {index} of {count}: {who} has ended or cannot be reached, see what "
            f"it said; start all workers again with the same command to continue {run_dir} from "
            "its latest checkpoint"
        ) from error
