"""Places for results: refused if something is there already, never left half-written."""

import contextlib
import os
import pathlib
import shutil
import tempfile

from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path


@contextlib.contextmanager
def new_file(path, flag="out"):
    """Yields a temporary sibling of a file to make, renamed to `path` when the block succeeds.

    Args:
        path: it must not exist yet; its folder is made.
        flag: str, the flag named in messages.

    Yields:
        pathlib.Path, as `files.atomic_path`.

    Raises:
        InputError: if something is there, or nothing can be written there.
    """
    path = vacant(path, flag)
    with writing(path, flag), atomic_path(path) as temporary:
        yield temporary


@contextlib.contextmanager
def new_folder(path, flag="out"):
    """As `new_file`, for a folder."""
    path = vacant(path, flag)
    with writing(path, flag):
        partial = pathlib.Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
        try:
            yield partial
            partial.chmod(0o755)
            os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def vacant(path, flag="out"):
    """The path of something to make, as pathlib.Path: InputError if it exists; makes its folder."""
    path = pathlib.Path(path)
    if path.exists():
        raise InputError(f"{flag}={path}: it exists already; give another name, or delete it")
    with writing(path, flag):
        path.parent.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def writing(path, flag="out"):
    """An error of the file system, other than an `InputError` on the way, as one line."""
    try:
        yield
    except OSError as error:
        raise InputError(
            f"{flag}={path}: it cannot be written ({error.strerror or error})"
        ) from None
