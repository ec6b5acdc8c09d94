"""Starts of `train.py`, in processes and in this one, and what two runs are compared by."""

import json
import os
import pathlib
import subprocess
import time

import keras
import numpy as np
import tensorflow as tf
from in_process import command, outcome

from ladagan_tf import train
from ladagan_tf.flags import train as train_flags

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = {"generator", "discriminator", "averaged", "g_optimizer", "d_optimizer"}
PARTS |= {"window", "counters"}


def start(arguments, **environment):
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def run_each(starts, eagerly=False):
    """Runs `train.py` in this process with each list of flags.

    Args:
        starts: list of lists of flags.
        eagerly: bool, without graphs: tracing two steps takes longer than running them.

    Returns:
        List of what each printed, ending in "code N".
    """
    outputs = []
    tf.config.run_functions_eagerly(eagerly)
    try:
        with command(train, train_flags.define) as call:
            for given in starts:
                keras.utils.clear_session()  # or layers would be counted on, dense_1 ...
                status, out, error = outcome(call, given)
                outputs.append(f"{error}{out}code {status}\n")
    finally:
        tf.config.run_functions_eagerly(False)
    return outputs


def finish(process, timeout=240):
    output, _ = process.communicate(timeout=timeout)
    return process.returncode, output


def wait_for_checkpoint(run_dir, process, step):
    deadline = time.monotonic() + 120
    while not (run_dir / "checkpoints" / f"step-{step:08d}").is_dir():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


def variables(run_dir, step):
    """Everything in a checkpoint, by name."""
    folder = run_dir / "checkpoints" / f"step-{step:08d}"
    reader = tf.train.load_checkpoint(str(folder / "ckpt"))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if "CHECKPOINTABLE" not in name}


def assert_identical(run_dir, reference, step):
    """The same checkpoint of `step`, statistics and pictures, bit for bit."""
    ours, expected = variables(run_dir, step), variables(reference, step)
    assert ours.keys() == expected.keys()
    assert {name.split("/")[1].split(".S")[0] for name in ours} >= PARTS
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    assert stats(run_dir) == stats(reference)
    for picture in sorted((reference / "samples").iterdir()):
        assert (run_dir / "samples" / picture.name).read_bytes() == picture.read_bytes()


def stats(run_dir):
    """Lines of stats.jsonl without what depends on the clock."""
    lines = (run_dir / "stats.jsonl").read_text().splitlines()
    clock = ("img_per_s", "metric_seconds")
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]
