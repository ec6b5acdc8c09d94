"""One exception for input a user can correct, and its one-line presentation."""

import contextlib
import sys


class InputError(ValueError):
    """A flag, field or file that cannot be used.

    The message is one line: what it is, the value given, and what is accepted.
    """


@contextlib.contextmanager
def one_line_errors():
    """Turns an `InputError` into `error: <message>` on stderr and exit status 2."""
    try:
        yield
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
