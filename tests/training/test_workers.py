"""A worker that is gone is told in one line, and only that; one worker asks nobody."""

import hashlib
import json
import socket
import threading
import types

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf import devices
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


def test_a_lost_worker_is_named_where_it_is_known(monkeypatch):
    monkeypatch.setattr(workers, "worker", lambda strategy: (1, 3))
    cluster = types.SimpleNamespace(lost=lambda: "worker 2 (c:1)")
    with (
        pytest.raises(InputError, match=r"^worker 1 of 3: worker 2 \(c:1\) has ended or cannot be"),
        workers.told_of_lost_workers(STRATEGY, "runs/a", cluster),
    ):
        raise GONE[0]


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


def free_addresses(number, host="localhost"):
    with_ports = [socket.create_server(("", 0)) for _ in range(number)]
    addresses = [f"{host}:{listener.getsockname()[1]}" for listener in with_ports]
    for listener in with_ports:
        listener.close()
    return addresses


def test_workers_begin_when_all_are_there():
    addresses, present = free_addresses(3), []

    def begin(index):
        present.append(workers.roll_call(addresses, index, 30))

    threads = [threading.Thread(target=begin, args=(index,)) for index in range(3)]
    for thread in threads[:2]:
        thread.start()
    threads[1].join(0.3)
    assert present == []
    with socket.create_connection(("localhost", int(addresses[0].split(":")[1])), 9) as stray:
        stray.sendall(b"GET / HTTP/1.1\r\n\r\n")
    threads[2].start()
    for thread in threads:
        thread.join(30)
    clusters = sorted(present, key=lambda cluster: cluster.index)
    assert [cluster.index for cluster in clusters] == [0, 1, 2]
    # Who ends is known to all that are left, however it ends.
    clusters[1].close()
    who = f"worker 1 ({addresses[1]})"
    assert clusters[0].lost(9) == clusters[2].lost(9) == who
    with socket.create_server(("", int(addresses[0].split(":")[1]))):  # as TensorFlow's
        clusters[0].close()
        assert clusters[2].lost(9) == f"worker 0 ({addresses[0]})"
    clusters[2].close()


def test_who_is_gone_may_not_be_known():
    ends = socket.socketpair()
    ours = [workers.Cluster(["a:1", "b:1"], i, {1 - i: end}) for i, end in enumerate(ends)]
    assert ours[1].lost(0.01) is None
    assert ours[0].lost(0.01) is None and ours[1].lost(9) is None  # which worker 0 has told
    for cluster in ours:
        cluster.close()


def hosts():
    """Names of this machine, as it has kinds of addresses."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return ["localhost"]
    return ["localhost", "[::1]"]


@pytest.mark.parametrize("host", hosts())
def test_workers_that_do_not_do_the_same_are_refused_by_all(host):
    addresses, said = free_addresses(2, host), []

    def begin(index, batch):
        with pytest.raises(InputError) as found:
            workers.roll_call(addresses, index, 30, {"--batch_size": batch, "--seed": "1"})
        said.append(str(found.value))

    other = threading.Thread(target=begin, args=(1, "16"))
    other.start()
    begin(0, "8")
    other.join(30)
    assert said == 2 * [
        f"strategy=multiworker: worker 1 ({addresses[1]}) has --batch_size=16, worker 0 has 8; "
        "start all workers alike"
    ]


def report(addresses, index, **other):
    """The connection of a worker that has reported to worker 0."""
    name = hashlib.sha256("\n".join(addresses).encode()).hexdigest()[:32]
    while True:
        try:
            first = socket.create_connection(("localhost", int(addresses[0].split(":")[1])), 9)
        except OSError:
            continue  # it does not listen yet
        workers._send(first, {"cluster": name, "index": index, "same": {}, **other})
        return first


@pytest.mark.parametrize(
    ("reports", "said", "seconds"),
    [
        ([{"index": 1}, {"index": 1}], r"two say that they are worker 1 \(localhost:\d+\)$", 30),
        ([{"index": 1, "gone": True}, {"index": 2}], r"worker 1 .* of 3 did not begin", 0.2),
        ([{"index": 1, "same": None}, {"index": 2}], r"worker 1 .* of 3 did not begin", 0.2),
    ],
    ids=["the same index twice", "one that ended while it waited", "no worker of this code"],
)
def test_who_is_not_there_once_does_not_count(reports, said, seconds):
    addresses, connections = free_addresses(3), []

    def others():
        for content in reports:
            gone = content.pop("gone", False)
            connections.append(report(addresses, **content))
            if gone:
                connections[-1].close()

    thread = threading.Thread(target=others)
    thread.start()
    with pytest.raises(InputError, match=said):
        workers.roll_call(addresses, 0, seconds)
    thread.join(9)
    for connection in connections:
        connection.close()


def test_a_worker_that_never_comes_is_named_by_all():
    addresses, said = free_addresses(3), []

    def begin(index):
        with pytest.raises(
            InputError, match=r"worker 2 \(localhost:\d+\) of 3 did not begin in 0.5 s"
        ):
            workers.roll_call(addresses, index, 0.5)
        said.append(index)

    threads = [threading.Thread(target=begin, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(said) == [0, 1]


def test_a_port_where_something_else_is_is_told():
    addresses = free_addresses(2)
    with socket.create_server(("", int(addresses[0].split(":")[1]))):
        with pytest.raises(
            InputError, match=r"worker 0 \(localhost:\d+\) of 2 did not begin in 0.1"
        ):
            workers.roll_call(addresses, 1, 0.1)
        with pytest.raises(InputError, match=r"^TF_CONFIG: worker 0 cannot listen at localhost:"):
            workers.roll_call(addresses, 0, 0.1)


@pytest.mark.parametrize(
    "config",
    [
        None, "", "{", "[]", "{}", {"cluster": {"worker": []}}, {"cluster": {"worker": ["a"]}},
        {"cluster": {"worker": ["a:1", "a:1"]}}, {"task": {"type": "worker", "index": 2}},
        {"task": {"type": "chief", "index": 0}}, {"task": None}, {"cluster": {"worker": ["a:x"]}},
    ],
)  # fmt: skip
def test_what_is_no_cluster_is_refused_in_one_line(monkeypatch, config):
    whole = {"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.delenv("SLURM_PROCID", raising=False)
    monkeypatch.setenv("TF_CONFIG", json.dumps(whole))
    assert devices.cluster() == (["a:1", "b:2"], 1)
    if config is None:
        monkeypatch.delenv("TF_CONFIG")
    else:
        text = config if isinstance(config, str) else json.dumps(whole | config)
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(InputError, match=r"^strategy=multiworker needs TF_CONFIG="):
        devices.cluster()


def test_workers_that_would_continue_from_different_steps_are_refused(monkeypatch):
    monkeypatch.setattr(workers, "worker", lambda strategy: (1, 3))
    several = workers.Workers(STRATEGY)
    others = {"start": 4}

    def total(mine):  # of three workers with two replicas each
        return 2 * (np.asarray(mine) + np.array([others["start"] + 1, 0, 5]))

    several._total = total
    several.check_start(4)
    with pytest.raises(InputError, match=r"--dataset: worker 1 has something else there than wo"):
        several.check_contents({"dataset": "of another"})
    others["start"] = 0
    with pytest.raises(InputError, match=r"\(worker 0 at 0, worker 1 at 4, worker 2 at 4\)"):
        several.check_start(4)
