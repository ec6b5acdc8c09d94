"""Runs of `train.py`, in processes and in this one, and what two runs are compared by.

Processes are forked off one that has imported `train.py` and computed nothing: that saves each four
seconds of a core. (A study in tests/studies starts `python train.py` itself.)
"""

import json
import multiprocessing
import multiprocessing.forkserver
import os
import pathlib
import runpy
import shutil
import sys
import tempfile
import time
import unittest.mock

import keras
import numpy as np
import tensorflow as tf
from in_process import command, outcome

from ladagan_tf import train
from ladagan_tf.flags import train as train_flags
from ladagan_tf.reports import keeping

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARTS = {"generator", "discriminator", "averaged", "g_optimizer", "d_optimizer"}
PARTS |= {"window", "counters"}
HANGS = 600  # seconds, on a busy machine


class Process:
    """A process that runs `train.py` with flags, as `subprocess.Popen` would start it.

    Args:
        given: list of str, the flags.
        environment: dict of str, more variables of the environment; none by default.
        eagerly: bool, without graphs: for what is stopped before tracing would pay.
    """

    def __init__(self, given, environment=(), eagerly=False):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([__name__])
        begin = {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        with unittest.mock.patch.dict(os.environ, begin):
            multiprocessing.forkserver.ensure_running()
        self._said = tempfile.NamedTemporaryFile()  # noqa: SIM115 - it goes with this object
        self._process = context.Process(
            target=_run, args=(given, environment, eagerly, self._said.name), daemon=True
        )
        self._process.start()

    def poll(self):
        return self._process.exitcode

    def kill(self):
        self._process.kill()

    def send_signal(self, number):
        os.kill(self._process.pid, number)

    def finish(self):
        """(exit status, what it printed)."""
        self._process.join(HANGS)
        said = self.said()
        assert self._process.exitcode is not None, said
        self._said.close()
        return self._process.exitcode, said

    def said(self):
        return pathlib.Path(self._said.name).read_text()


def _run(given, environment, eagerly, output):
    with open(output, "w") as file:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(file.fileno(), stream.fileno())
    os.environ.update(environment)
    sys.argv = ["train.py", *given]
    os.chdir(ROOT)
    tf.config.run_functions_eagerly(eagerly)
    runpy.run_path("train.py", run_name="__main__")


def run_each(starts, eagerly=False, reports=True):
    """Runs `train.py` in this process with each list of flags.

    Args:
        starts: list of lists of flags.
        eagerly: bool, without graphs: tracing two steps takes longer than running them.
        reports: bool, with the page, the curves and the film of a run, a seventh of a short one.

    Returns:
        List of what each printed, ending in "code N".
    """
    outputs, writers = [], keeping.WRITERS if reports else {}
    tf.config.run_functions_eagerly(eagerly)
    try:
        with (
            unittest.mock.patch.object(keeping, "WRITERS", writers),
            command(train, train_flags.define) as call,
        ):
            for given in starts:
                # Or layers would be counted on, dense_1 ... Collecting garbage every time takes a
                # second where other tests have left their graphs.
                keras.utils.clear_session(free_memory=False)
                status, out, error = outcome(call, given)
                outputs.append(f"{error}{out}code {status}\n")
    finally:
        tf.config.run_functions_eagerly(False)
    return outputs


def run_named(starts, reports=False):
    """Runs `train.py` without graphs in this process: dict of name to flags, to what it printed."""
    return dict(zip(starts, run_each([*starts.values()], True, reports), strict=True))


def assert_continues(whole, given, steps, kimg, expected=PARTS, eagerly=True):
    """A finished run without its last step becomes it again, bit for bit.

    Args:
        whole: the run's path; beside it `parts` is made of a copy.
        given: list of flags of a start in `parts`.
        steps, kimg: int, str: the run's length, the latter as its pictures are named.
        expected: set of parts that a checkpoint has.
        eagerly: bool, without graphs, as the whole run.
    """
    parts = whole.parent / "parts"
    shutil.copytree(whole, parts)
    shutil.rmtree(parts / "checkpoints" / f"step-{steps:08d}")
    for picture in (parts / "samples").glob(f"*_{kimg}kimg.png"):
        picture.unlink()
    (output,) = run_each([given], eagerly, reports=False)  # the rest
    assert output.endswith("code 0\n") and f"step {steps - 1} of {steps}" in output, output
    assert_identical(parts, whole, steps, expected)


def wait_for_checkpoint(run_dir, process, step):
    deadline = time.monotonic() + HANGS
    while not (run_dir / "checkpoints" / f"step-{step:08d}").is_dir():
        assert process.poll() is None, process.said()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def variables(run_dir, step):
    """Everything in a checkpoint, by name."""
    folder = run_dir / "checkpoints" / f"step-{step:08d}"
    reader = tf.train.load_checkpoint(str(folder / "ckpt"))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if "CHECKPOINTABLE" not in name}


def assert_identical(run_dir, reference, step, parts=PARTS):
    """The same checkpoint of `step`, statistics and pictures, bit for bit."""
    ours, expected = variables(run_dir, step), variables(reference, step)
    assert ours.keys() == expected.keys()
    assert {name.split("/")[1].split(".S")[0] for name in ours} >= parts
    for name, value in expected.items():
        np.testing.assert_array_equal(ours[name], value, err_msg=name)
    assert stats(run_dir) == stats(reference)
    for picture in sorted((reference / "samples").iterdir()):
        assert (run_dir / "samples" / picture.name).read_bytes() == picture.read_bytes()


def stats(run_dir):
    """Lines of stats.jsonl without what depends on the clock and the process."""
    lines = (run_dir / "stats.jsonl").read_text().splitlines()
    clock = ("img_per_s", "sec_per_kimg", "metric_seconds", "cpu_peak_gb", "gpu_peak_gb")
    return [{k: v for k, v in json.loads(line).items() if k not in clock} for line in lines]
