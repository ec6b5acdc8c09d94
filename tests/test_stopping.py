"""A stop is noted once, what is ignored stays ignored, and children do not stay behind."""

import pathlib
import signal
import subprocess
import sys

import pytest

from ladagan_tf.stopping import SIGNALS, StopRequest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PARENT = """
from ladagan_tf.stopping import start_python
child = start_python(["-c", "import time; time.sleep(60)"], None, None)
print("begun", flush=True)
child.wait()
"""


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted_and_all_are_given_back(number):
    before = [signal.getsignal(n) for n in SIGNALS]
    with StopRequest() as request:
        assert request.received is None
        signal.raise_signal(number)
        assert request.received == number.name
        assert [signal.getsignal(n) for n in SIGNALS] == before


def test_what_nohup_ignores_stays_ignored():
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequest() as request:
            signal.raise_signal(signal.SIGHUP)
        assert request.received is None
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, usual)


def test_a_child_ends_when_its_parent_is_killed():
    """As long as it lives it holds the pipe open."""
    process = subprocess.Popen(
        [sys.executable, "-c", PARENT], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "begun\n"
    process.kill()
    process.communicate(timeout=30)
