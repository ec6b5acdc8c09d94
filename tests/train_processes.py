"""Real processes of `train.py`, and what two runs are compared by."""

import json
import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = {"generator", "discriminator", "averaged", "g_optimizer", "d_optimizer"}
PARTS |= {"window", "counters"}
# Several starts in one process, which save the import of TensorFlow.
STARTS = """
import json, sys
import keras
from absl import flags
from absl.testing import flagsaver
import train
from ladagan_tf.command import run
from ladagan_tf.flags import train as train_flags
starts = json.loads(sys.argv[1])
train_flags.define()
for given in starts:
    with flagsaver.flagsaver():
        flags.FLAGS(["train.py", *given])
        try:
            run(train.main)
            print("code 0")
        except SystemExit as end:
            print("code", end.code)
    print("END OF START", flush=True)
    keras.utils.clear_session()  # or layers of the next start would be counted on, dense_1 ...
"""


def start(arguments, **environment):
    return subprocess.Popen(
        arguments,
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def start_each(starts):
    """Runs `train.py` with each list of flags; returns what each printed, then "code N"."""
    process = start([sys.executable, "-c", STARTS, json.dumps(starts)])
    code, output = finish(process, timeout=480)
    assert code == 0, output
    return output.split("END OF START\n")[:-1]


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
