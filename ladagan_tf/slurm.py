"""What Slurm tells the tasks of a job step: where they run, and which one this is.

TensorFlow's SlurmClusterResolver asks nvidia-smi, which machines without GPUs lack, orders host
names as text, where Slurm has n9 before n10, and knows one [range] in a name; so it is read here.
"""

import os
import re

from ladagan_tf.errors import InputError

PORTS = 10_000, 20_000  # the first, and how many jobs may have their own
MOST = 100_000  # tasks


def workers():
    """The addresses of a step's tasks, and the number of this one.

    Ports follow from the number of the job, so that jobs which share a machine do not meet.

    Returns:
        (list of "host:port" in the order of the tasks, int).

    Raises:
        InputError: naming the variable that is missing or says something else; or if tasks are not
            numbered machine by machine.
    """
    hosts, tasks = expand_hosts(_variable("STEP_NODELIST")), _tasks_per_machine()
    rank, machine, local = map(_integer, ("PROCID", "NODEID", "LOCALID"))
    if len(hosts) != len(tasks):
        raise InputError(
            f"SLURM_STEP_TASKS_PER_NODE={_variable('STEP_TASKS_PER_NODE')}: it tells of "
            f"{len(tasks)} machines, SLURM_STEP_NODELIST of {len(hosts)}"
        )
    places = [(i, k) for i, count in enumerate(tasks) for k in range(count)]
    if rank >= len(places) or places[rank] != (machine, local):
        raise InputError(
            f"SLURM_PROCID={rank}: it is task {local} of machine {machine}, which is not their "
            "order; give srun --distribution=block"
        )
    first, jobs = PORTS
    port = first + (_integer("JOB_ID") if os.environ.get("SLURM_JOB_ID") else 0) % jobs
    return [f"{hosts[i]}:{port + k}" for i, k in places], rank


def place():
    """Which task of its machine this is, and how many there are: (0, 1) outside of a job step."""
    if not {"SLURM_LOCALID", "SLURM_STEP_TASKS_PER_NODE"} <= os.environ.keys():
        return 0, 1
    tasks, machine = _tasks_per_machine(), _integer("NODEID")
    if machine >= len(tasks):
        raise InputError(
            f"SLURM_NODEID={machine}: SLURM_STEP_TASKS_PER_NODE tells of {len(tasks)} machines"
        )
    return _integer("LOCALID"), tasks[machine]


def gpus_of_machine():
    """How many GPUs of this machine the job has: an int; 0 if Slurm does not say."""
    return _integer("GPUS_ON_NODE") if os.environ.get("SLURM_GPUS_ON_NODE") else 0


def expand_hosts(text):
    """The hosts of Slurm's short form, as r1n[08-10,12],login: a list of str.

    Raises:
        InputError: if it is none.
    """
    found = []
    for part in re.findall(r"(?:[^,\[\]]|\[[^\[\]]*\])+", text):
        names = [""]
        for plain, ranges in re.findall(r"([^\[\]]+)|\[([^\[\]]*)\]", part):
            names = [a + b for a in names for b in ([plain] if plain else _numbers(ranges, text))]
        found += names
    rest = re.sub(r"\[[\d,-]+\]", "", text)
    if not found or {"[", "]"}.intersection(rest) or len(found) > MOST:
        raise InputError(f"SLURM_STEP_NODELIST={text}: give host names, as n[01-04,7],m1")
    return found


def _numbers(ranges, text):
    """Texts of the numbers of "08-10,12", which keep their leading zeros."""
    found = []
    for part in ranges.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and int(last) - int(first) in range(MOST)):
            raise InputError(f"SLURM_STEP_NODELIST={text}: {part} is no number or range")
        found += [f"{i:0{len(first)}d}" for i in range(int(first), int(last) + 1)]
    return found


def _tasks_per_machine():
    """The counts of "2(x3),1": [2, 2, 2, 1]."""
    text, found = _variable("STEP_TASKS_PER_NODE"), []
    for part in text.split(","):
        match = re.fullmatch(r"(\d{1,6})(?:\(x(\d{1,6})\))?", part)
        if not match or int(match[1]) * int(match[2] or 1) > MOST:
            raise InputError(f"SLURM_STEP_TASKS_PER_NODE={text}: give counts, as 2(x3),1")
        found += [int(match[1])] * int(match[2] or 1)
    return found


def _integer(name):
    text = _variable(name)
    if not (text.isascii() and text.isdecimal()):
        raise InputError(f"SLURM_{name}={text}: it must be a whole number")
    return int(text)


def _variable(name):
    value = os.environ.get(f"SLURM_{name}")
    if not value:
        raise InputError(
            f"strategy=multiworker: no SLURM_{name} in the environment; in a job of Slurm start "
            "it with srun, or set TF_CONFIG"
        )
    return value
