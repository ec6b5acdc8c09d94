"""Progress bars are seen in every terminal, and nowhere else."""

import io
import os
import sys

import pytest

from ladagan_tf.progress import progress_bar


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True

    def fileno(self):
        return 2


@pytest.mark.parametrize("size", [(100, 30), (0, 0)], ids=["of a size", "that says none"])
def test_a_terminal_shows_a_bar(size, monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(os, "get_terminal_size", lambda descriptor: os.terminal_size(size))
    with progress_bar(4, "img", "drawing", mininterval=0.0) as bar:
        bar.update(2)
    assert "drawing:  50%|" in terminal.getvalue()
    lines = terminal.getvalue().strip().split("\r")
    assert 60 < max(map(len, lines)) <= (size[0] or 80)


@pytest.mark.parametrize("stream", [io.StringIO(), None], ids=["a file", "closed"])
def test_what_is_no_terminal_stays_empty(stream, monkeypatch):
    monkeypatch.setattr(sys, "stderr", stream)
    with progress_bar(4, "img") as bar:
        bar.update(4)
    assert stream is None or stream.getvalue() == ""
