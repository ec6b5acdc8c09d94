"""One line about a file that cannot be read, whatever a library says about its bytes."""

import contextlib

from ladagan_tf.errors import InputError


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
        reason = " ".join(f"{name}{error}".split())[:300]
        raise InputError(f"{path}: this {kind} cannot be read ({reason})") from error
