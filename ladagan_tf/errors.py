"""Exceptions for what a user can correct, and their one-line presentation."""

import contextlib
import signal
import sys


class InputError(ValueError):
    """A flag, field or file that cannot be used.

    The message is one line: what it is, the value given, and what is accepted.

    Attributes:
        status: int, the exit status that it ends a command with.
    """

    status = 2


class DivergenceError(InputError):
    """Training that has diverged: a loss, gradient or weight is no longer finite."""

    status = 3


class StoppedError(Exception):
    """Work that a signal ended after all was saved: the same command continues it.

    Attributes:
        status: int, the exit status that it ends a command with, unlike that of a finished one.
    """

    status = 4


def reason(error):
    """What an exception says, for a message of one line.

    Args:
        error: Exception.

    Returns:
        str: the first line of its message that is not empty; the name of its type if there is none.
    """
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


@contextlib.contextmanager
def one_line_errors():
    """Ends a command in one line instead of a traceback, where it is not a mistake of ours.

    An `InputError`, or an error of the file system, becomes `error: <message>` on stderr and exit
    status 2 (or the error's own); a `StoppedError` its message and status 4; Ctrl-C, where nothing
    saves before it ends, status 130.
    """
    try:
        yield
    except InputError as error:
        _end(f"error: {error}", error.status)
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        _end(f"error: {where}{error.strerror or reason(error)}", InputError.status)
    except StoppedError as error:
        _end(str(error), error.status)
    except KeyboardInterrupt:
        _end("stopped by SIGINT", 128 + signal.SIGINT)


def _end(line, status):
    print(line, file=sys.stderr)
    raise SystemExit(status) from None


@contextlib.contextmanager
def one_line_about(path, kind):
    """Turns any failure of the block into `InputError`: the file, its format and the reason.

    Args:
        path: the file.
        kind: str, the format it seems to have, e.g. "npz archive".
    """
    try:
        yield
    except InputError:
        raise
    # Hostile bytes make zipfile, NumPy and protobuf raise a dozen unrelated types.
    except Exception as error:
        name = "" if type(error) is ValueError else f"{type(error).__name__}: "
        said = " ".join(f"{name}{error}".split())[:300]
        raise InputError(f"{path}: this {kind} cannot be read ({said})") from error
