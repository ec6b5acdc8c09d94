"""Signals as a request that a loop answers when it can, and children that end with their parent."""

import ctypes
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
PR_SET_PDEATHSIG = 1  # of Linux's <sys/prctl.h>
_LIBC = ctypes.CDLL(None)


class StopRequest:
    """Notes the first SIGTERM, SIGINT or SIGHUP between `begin` and `end`.

    A second one has its usual effect, and one that is ignored, as SIGHUP under nohup, stays so.

    As a context manager it begins and ends with the block.

    Attributes:
        received: str, the signal's name; None as long as there was none.
    """

    def __init__(self):
        self.received = None
        self._previous = {}

    def begin(self):
        """Takes the signals over. Call it in the main thread."""
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._note)

    def end(self):
        """Gives the signals back."""
        while self._previous:
            signal.signal(*self._previous.popitem())

    def _note(self, number, frame):
        self.received = signal.Signals(number).name
        self.end()

    def __enter__(self):
        self.begin()
        return self

    def __exit__(self, *_):
        self.end()


class Interrupt(StopRequest):
    """The first signal raises KeyboardInterrupt(number): what is half-written is deleted."""

    def _note(self, number, frame):
        super()._note(number, frame)
        raise KeyboardInterrupt(number)


def start_python(words, stdout, stderr, env=None):
    """Starts a Python that gets SIGTERM when this process ends, however that does; on Linux only.

    Its session is its own: Ctrl-C reaches this process, which passes it on once.

    Args:
        words: list of str, what Python is told to run.
        stdout, stderr, env: as `Popen` takes them.

    Returns:
        Popen.
    """
    return subprocess.Popen(
        [sys.executable, *words],
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=stderr,
        env=env,
        start_new_session=True,
        preexec_fn=functools.partial(_get_sigterm_after, os.getpid()),
    )


def _get_sigterm_after(parent):
    # Nothing is imported here, which a fork could find locked.
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it has ended already
            os.kill(os.getpid(), signal.SIGTERM)


def exit_with_parent():
    """Lets a worker of `multiprocessing` exit when its parent is killed: it would wait for ever."""

    def wait():
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()
