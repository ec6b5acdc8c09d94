"""Slurm's variables as the workers of a run, and what is no such variable in one line."""

import itertools
import json
import os

import pytest

from ladagan_tf import devices, slurm
from ladagan_tf.errors import InputError

STEP = {
    "PROCID": "3", "NODEID": "1", "LOCALID": "1", "STEP_NODELIST": "n[9-10]",
    "STEP_TASKS_PER_NODE": "2(x2)", "JOB_ID": "40321", "GPUS_ON_NODE": "8",
}  # fmt: skip


@pytest.fixture
def step(monkeypatch):
    """`step(**changed)`: the environment of a task; None takes a variable out."""

    def enter(**changed):
        monkeypatch.delenv("TF_CONFIG", raising=False)
        for name in [name for name in os.environ if name.startswith("SLURM_")]:
            monkeypatch.delenv(name)
        for name, value in {**STEP, **changed}.items():
            if value is not None:
                monkeypatch.setenv(f"SLURM_{name}", value)

    yield enter
    monkeypatch.delenv("TF_CONFIG", raising=False)


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("login", "login"),
        ("n[9-11]", "n9 n10 n11"),  # in the order of numbers
        ("a-b[08-10,12],m1.x", "a-b08 a-b09 a-b10 a-b12 m1.x"),
        ("r[1-2]n[1-2]", "r1n1 r1n2 r2n1 r2n2"),
        ("n[1-2]-ib", "n1-ib n2-ib"),
    ],
)
def test_a_short_form_is_these_hosts(text, hosts):
    assert slurm.expand_hosts(text) == hosts.split()


@pytest.mark.parametrize(
    "text", ["n[", "n]", "n[]", "n[a]", "n[3-1]", "n[1-]", ",", "n[1-9999999]"]
)
def test_what_is_no_list_of_hosts_is_one_line(text):
    with pytest.raises(InputError, match=r"^SLURM_STEP_NODELIST="):
        slurm.expand_hosts(text)


def test_every_task_finds_the_same_workers_and_itself(step):
    addresses = [f"{host}:{10_321 + local}" for host in ("n9", "n10") for local in (0, 1)]
    places = itertools.product("01", "01")
    for index, (node, local) in enumerate(places):
        step(PROCID=str(index), NODEID=node, LOCALID=local)
        assert devices.cluster() == (addresses, index)
        config = json.loads(os.environ["TF_CONFIG"])  # as TensorFlow reads it
        assert config == {
            "cluster": {"worker": addresses}, "task": {"type": "worker", "index": index},
        }  # fmt: skip


def test_tf_config_counts_more(step, monkeypatch):
    step()
    config = {"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert devices.cluster() == (["a:1"], 0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"STEP_NODELIST": None}, "no SLURM_STEP_NODELIST in the environment; .* srun"),
        ({"STEP_TASKS_PER_NODE": "2(x3)"}, "tells of 3 machines, SLURM_STEP_NODELIST of 2"),
        ({"STEP_TASKS_PER_NODE": "two"}, "SLURM_STEP_TASKS_PER_NODE=two: give counts"),
        ({"PROCID": "x"}, "SLURM_PROCID=x: it must be a whole number"),
        ({"JOB_ID": "12_3"}, "SLURM_JOB_ID=12_3: it must be a whole number"),
        ({"PROCID": "9"}, "SLURM_PROCID=9: it is task 1 of machine 1"),
        ({"NODEID": "0"}, "not their order; give srun --distribution=block"),  # cyclic
    ],
)
def test_what_slurm_does_not_say_is_one_line(step, changed, message):
    step(**changed)
    with pytest.raises(InputError, match=message):
        devices.cluster()
    assert "TF_CONFIG" not in os.environ


@pytest.mark.parametrize(
    ("changed", "seen", "taken"),
    [
        ({}, 8, [4, 5, 6, 7]),  # both tasks see all
        ({}, 4, [0, 1, 2, 3]),  # Slurm gave each its own
        ({"STEP_TASKS_PER_NODE": "1(x2)", "LOCALID": "0"}, 8, [*range(8)]),
        ({"GPUS_ON_NODE": None}, 0, []),
        ({"STEP_TASKS_PER_NODE": None}, 8, [*range(8)]),  # in the batch script, not started by srun
    ],
)
def test_tasks_of_one_machine_divide_its_gpus(step, changed, seen, taken):
    step(**changed)
    assert devices.own_gpus([*range(seen)]) == taken


def test_gpus_that_cannot_be_divided_are_told_and_without_slurm_all_are_taken(step, monkeypatch):
    step(GPUS_ON_NODE="3")
    with pytest.raises(InputError, match="3 GPUs of this machine for 2 tasks of Slurm"):
        devices.own_gpus([0, 1, 2])
    for name, value in (("GPUS_ON_NODE", "gpu:3"), ("NODEID", "2")):
        step(**{name: value})
        with pytest.raises(InputError, match=f"^SLURM_{name}={value}: "):
            devices.own_gpus([0, 1, 2])
    monkeypatch.delenv("SLURM_LOCALID")
    assert devices.own_gpus([0, 1, 2]) == [0, 1, 2]
