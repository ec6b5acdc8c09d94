"""Signals as a request that a loop answers when it can, and children that end with their parent."""

import ctypes
import os
import signal

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


def ends_with_parent(parent):
    """Has this process get SIGTERM when its parent ends, however that does; on Linux only.

    For `preexec_fn` of `subprocess`: nothing is imported here, which a fork could find locked.

    Args:
        parent: int, the parent's process id; if it has ended already, this process does, too.
    """
    if hasattr(_LIBC, "prctl"):
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGTERM)
