"""A tiny run ended by a signal at many moments, and whether it still becomes the run it would be.

    python tests/kills.py KILL TERM [--moments=20] [--seed=0]

Each moment is a run of its own, ended after a random part of the time that an uninterrupted one
takes from its first file on, then started again. Prints the moment, how it ended, the step it
continued from, and whether checkpoint, statistics and pictures are those of the uninterrupted run,
bit for bit; exits with 1 if one is not. Not collected by pytest: it takes minutes, and
`test_train_cli.py` tries two moments.
"""

import argparse
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import train_processes  # noqa: E402
from in_process import command, outcome  # noqa: E402
from test_train_cli import STEPS, TINY  # noqa: E402

from ladagan_tf import train  # noqa: E402
from ladagan_tf.data.preparation import prepare  # noqa: E402
from ladagan_tf.flags import train as train_flags  # noqa: E402

FLAGS = [*TINY, "--policy=", "--r1_weight=0", "--g_modulation=layer_norm"]  # fast to trace


def begin(dataset, run_dir, said):
    """Forks a process that trains, which saves the import; returns its id."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            tf.config.run_functions_eagerly(True)  # or tracing would take most of the time
            with command(train, train_flags.define) as call:
                arguments = [f"--dataset={dataset}", f"--run_dir={run_dir}", *FLAGS]
                status, out, error = outcome(call, arguments)
            said.write_text(out + error)
        finally:
            os._exit(status)
    return process


def begun(process, run_dir, said):
    """When a run wrote its first file: it is waited for, as long as its process is there."""
    while not (run_dir / "flags.cfg").exists():
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            raise SystemExit(f"it did not begin: {said.read_text()}")
        time.sleep(0.005)
    return time.monotonic()


def ended(process):
    """How it ended: the exit status, or minus the signal."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def main():
    """Tries every signal at every moment."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("signals", nargs="+", choices=["KILL", "TERM", "HUP", "INT"])
    parser.add_argument("--moments", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng, failed = np.random.default_rng(given.seed), 0
    with tempfile.TemporaryDirectory() as folder:
        place = pathlib.Path(folder)
        dataset, reference, said = place / "set", place / "reference", place / "said"
        process = os.fork()  # TensorFlow's threads do not survive a fork: none begin in this one
        if process == 0:
            prepare("shapes", dataset, resolution=32, num_images=50, workers=1)
            os._exit(0)
        ended(process)
        process = begin(dataset, reference, said)
        began = begun(process, reference, said)
        assert ended(process) == 0, said.read_text()
        whole = time.monotonic() - began
        for name in given.signals:
            for moment in rng.uniform(0.0, 1.0, given.moments):
                run_dir = place / "run"
                process = begin(dataset, run_dir, said)
                begun(process, run_dir, said)
                time.sleep(moment * whole)
                os.kill(process, signal.Signals[f"SIG{name}"])
                first = ended(process)
                second = ended(begin(dataset, run_dir, said))
                found = re.search(r"step (\d+) of", said.read_text())
                step = found[1] if found else STEPS
                process = os.fork()
                if process == 0:
                    train_processes.assert_identical(run_dir, reference, STEPS)
                    left = [
                        p for p in run_dir.rglob("*") if "partial" in p.name or "lock" in p.name
                    ]
                    os._exit(bool(left))
                same = second == 0 and ended(process) == 0
                failed += not same
                print(f"{name} at {moment:.2f}: ended {first}, continued from {step}, "
                      f"{'the same' if same else 'DIFFERS'}", flush=True)  # fmt: skip
                shutil.rmtree(run_dir)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
