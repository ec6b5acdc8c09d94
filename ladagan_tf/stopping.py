"""SIGTERM and Ctrl-C as a request that a loop answers when it can."""

import signal


class StopRequest:
    """Notes the first SIGTERM or SIGINT between `begin` and `end`; a second has its usual effect.

    As a context manager it begins and ends with the block.

    Attributes:
        received: str, the signal's name; None as long as there was none.
    """

    def __init__(self):
        self.received = None
        self._previous = {}

    def begin(self):
        """Takes over both signals. Call it in the main thread."""
        for number in (signal.SIGTERM, signal.SIGINT):
            self._previous[number] = signal.signal(number, self._note)

    def end(self):
        """Gives both signals back."""
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
