"""Exceptions for what a user can correct, and their one-line presentation."""

import contextlib
import errno
import os
import re
import signal
import sys
import tempfile
import zipfile
import zlib

# What a command ends with, and what that means.
STATUSES = {
    0: "it is done, or was asked for help",
    1: "a mistake of this program, with a traceback: please report it",
    2: "a flag, a file or a machine that it cannot go on with; one line says what and why",
    3: "training that diverged: a loss, gradient or weight is no longer finite",
    4: "stopped by SIGTERM, SIGINT or SIGHUP after all was saved: the same command continues it",
    130: "stopped by Ctrl-C where nothing is saved before the end",
    141: "what it was printing into, such as head, has seen enough",
    143: "stopped by SIGTERM where nothing is saved before the end (129: by SIGHUP)",
}
LONGEST = 380  # characters of a message
# What `tempfile`, and Matplotlib without a home, say where no folder takes files.
NO_FOLDER = ("No usable temporary directory", "Matplotlib requires access to a writable cache")
# What TensorFlow says of a sick disk, a lost file server and a size beyond any memory; of types
# that mean more.
TENSORFLOW_SAYS = (
    os.strerror(errno.EIO), os.strerror(errno.ESTALE), "would have more than 2**63 - 1 elements",
)  # fmt: skip
NOT_UTF8 = "a name on the way is not UTF-8"
# What a file, a disk or a terminal can cause wherever it is touched; our own mistakes raise others.
BORDER = (UnicodeError, EOFError, MemoryError, zlib.error, zipfile.BadZipFile)
TENSORFLOW_BORDER = (
    "DataLossError", "NotFoundError", "PermissionDeniedError", "ResourceExhaustedError",
)  # fmt: skip


def one_line(text):
    """`text` (str) as one line of at most `LONGEST` printable characters: its ends, if longer."""
    line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in " ".join(text.split()))
    if len(line) <= LONGEST:
        return line
    return f"{line[: LONGEST // 2 - 3]} ... {line[2 - LONGEST // 2 :]}"


class InputError(ValueError):
    """A flag, field or file that cannot be used.

    The message is made one line of bounded length, whatever names and values were put into it:
    what it is, the value given, and what is accepted.

    Attributes:
        status: int, the exit status that it ends a command with.
    """

    status = 2

    def __init__(self, message=""):
        super().__init__(one_line(str(message)))


class NotFiniteError(InputError):
    """Images that are NaN or infinite."""


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
    if _is_a_name(error):
        return NOT_UTF8
    lines = (line.strip() for line in str(error).splitlines())
    return next(filter(None, lines), type(error).__name__)


@contextlib.contextmanager
def one_line_errors():
    """Ends a command in one line instead of a traceback, where it is not a mistake of ours.

    An `InputError`, or an error that only the world outside can cause (`BORDER`, the file system
    and TensorFlow's words for it), becomes `error: <message>` on stderr and exit status 2 (or the
    error's own); a `StoppedError` its message and status 4; a signal, where nothing saves before
    it ends, its name and status 128 and its number; a closed pipe nothing, and status 141. Every
    other exception is ours to mend and keeps its traceback.
    """
    try:
        yield
    except InputError as error:
        _end(f"error: {error}", error.status)
    except BrokenPipeError:
        leave_pipe()
        raise SystemExit(128 + signal.SIGPIPE) from None
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        said = error.strerror or reason(error)
        if said.startswith(NO_FOLDER):
            where, said = "", "no folder for temporary files can be written to; set TMPDIR to one"
        elif error.errno == errno.ENOENT and not where:  # only getcwd says that of no file
            said = "the current folder is no longer there; change to another one"
        _end(f"error: {one_line(where + said)}", InputError.status)
    except BORDER as error:
        _end(f"error: {_named(error)}", InputError.status)
    except StoppedError as error:
        _end(str(error), error.status)
    except KeyboardInterrupt as error:
        number = error.args[0] if error.args else signal.SIGINT  # see `stopping.Interrupt`
        _end(f"stopped by {signal.Signals(number).name}", 128 + number)
    except Exception as error:
        if _is_of_tensorflow(error) and (
            type(error).__name__ in TENSORFLOW_BORDER
            or any(said in str(error) for said in TENSORFLOW_SAYS)
        ):
            _end(f"error: {_named(error)}", InputError.status)
        raise


def _is_of_tensorflow(error):
    return type(error).__module__.startswith("tensorflow.")


def _named(error):
    """An exception in one line: its type, where that adds to the message, and its message."""
    kind, said = type(error), str(error).strip()
    if _is_a_name(error):
        return NOT_UTF8
    if isinstance(error, OSError) and error.strerror:
        return one_line(error.strerror)
    if _is_of_tensorflow(error):  # without the names of its nodes
        said = re.sub(r"{{.*?}}|\[Op:.*", "", said).strip()
    if said and (kind is ValueError or kind.__module__.startswith(__package__)):
        return one_line(said)
    return one_line(f"{kind.__name__}: {said}" if said else kind.__name__)


def _is_a_name(error):
    """Whether this is of a file's name, whose bytes are no UTF-8 and are in a str as surrogates."""
    return isinstance(error, UnicodeEncodeError) and error.reason == "surrogates not allowed"


def leave_pipe():
    """What is printed leads nowhere from here on: its reader, such as `head`, has seen enough.

    Else Python complains when it flushes at exit.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def warn(line):
    """Says on stderr what does not end a command."""
    print(f"warning: {line}", file=sys.stderr)


def _end(line, status):
    with contextlib.suppress(BrokenPipeError):  # of 2>&1
        print(line, file=sys.stderr)
    raise SystemExit(status) from None


@contextlib.contextmanager
def one_line_about(what, kind):
    """Turns any failure of the block into `InputError`: the file, its format and the reason.

    For blocks that read what others made, and nothing else: libraries raise a dozen unrelated types
    for hostile bytes.

    Args:
        what: the file, or str that names it, e.g. "source=a.zip".
        kind: str, the format it seems to have, e.g. "npz archive".
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what}: this {kind} cannot be read ({_named(error)})") from error


def _scratch():
    """An open file without a name: in memory where the system has such, as no folder takes files
    under `docker run --read-only`.
    """
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("stderr"), "w+b")
    return tempfile.TemporaryFile()


@contextlib.contextmanager
def held_stderr():
    """Keeps what libraries write to the file of standard error; shown only if the block fails.

    Not if a signal ends it.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with _scratch() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except Exception:  # no signal: what they said is not its cause
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)
