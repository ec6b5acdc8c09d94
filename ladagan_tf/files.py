"""Writing files so that an interrupted process never leaves half of one."""

import contextlib
import os
import pathlib
import tempfile


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary sibling of `path`; renames it to `path` when the block succeeds.

    Args:
        path: the final path of a file. Its folder must exist. The temporary name keeps the
            suffix, because image writers choose their format by it.

    Yields:
        pathlib.Path of the temporary file. It is deleted if the block raises.
    """
    path = pathlib.Path(path)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = pathlib.Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path, text):
    """Replaces `path` by a file that holds `text`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def cache_folder():
    """The user's cache folder of this project; it need not exist.

    Returns:
        pathlib.Path $XDG_CACHE_HOME/ladagan_tf, by default ~/.cache/ladagan_tf.
    """
    root = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    return pathlib.Path(root) / "ladagan_tf"
