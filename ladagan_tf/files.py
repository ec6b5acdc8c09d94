"""Places for results: refused if something is there already, never left half-written."""

import contextlib
import errno
import hashlib
import itertools
import json
import math
import os
import pathlib
import secrets
import shutil
import tempfile

from ladagan_tf.errors import InputError

# What only writing can meet.
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary sibling of `path`; renames it to `path` when the block succeeds.

    Args:
        path: the final path of a file. Its folder must exist. The temporary name keeps the
            suffix, because image writers choose their format by it.

    Yields:
        pathlib.Path of the temporary file. It is deleted if the block raises.

    Raises:
        OSError: of the file system, with a file's name in it.
    """
    path = pathlib.Path(path)
    temporary = path.parent / f"{_hidden(path)}-{secrets.token_hex(4)}{path.suffix}"
    temporary.touch(exist_ok=False)  # not by `tempfile`, which does not ask the umask
    try:
        with disk_errors():
            yield temporary
        temporary.replace(path)
    except OSError as error:
        if error.errno and error.filename is None:  # a full disk's has none
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)


def _hidden(path):
    """What unfinished names beside a path begin with: of the longest names a part, or none fits."""
    return f".{path.stem[:50]}"


def write_text(path, text):
    """Replaces `path` by a file that holds `text`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path, content, indent=2):
    """As `write_text`, of content that `json` knows, on indented lines."""
    write_text(path, json.dumps(content, indent=indent) + "\n")


def is_utf8(name):
    """Whether the bytes of a file's name, a str, are UTF-8: TensorFlow opens no others."""
    return name == name.encode(errors="replace").decode()


def set_aside(path):
    """Renames a file or folder to the first free one of NAME.old-1, NAME.old-2, ...; returns that.

    Args:
        path: pathlib.Path.
    """
    numbers = itertools.count(1)
    names = (path.with_name(f"{path.name}.old-{number}") for number in numbers)
    aside = next(name for name in names if not os.path.lexists(name))
    path.rename(aside)
    return aside


def json_line(content):
    """Content as a line of JSON, which has no NaN and no infinity: they become null.

    Args:
        content: dicts, lists, text and numbers, of NumPy too; anything else becomes its `str`.
    """
    return json.dumps(_plain(content), allow_nan=False) + "\n"


def _plain(value):
    if isinstance(value, dict):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    if getattr(value, "shape", None) == ():
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if isinstance(value, str | int | None) else str(value)


def cache_folder():
    """The user's cache folder of this project; it need not exist.

    Returns:
        pathlib.Path $XDG_CACHE_HOME/ladagan_tf, by default ~/.cache/ladagan_tf.

    Raises:
        InputError: if neither is there: of a user without a home.
    """
    root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    if root.startswith("~"):
        raise InputError(
            "there is no home folder to keep a cache in; set XDG_CACHE_HOME, or give --cache_dir"
        )
    return pathlib.Path(root) / "ladagan_tf"


def sha256_of(path):
    """The SHA-256 of a file's content in hexadecimal; OSError if it cannot be read."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def new_file(path):
    """Yields a temporary sibling of a file to make, renamed to `path` when the block succeeds.

    Args:
        path: it must not exist yet, what `--out` says; its folder is made.

    Yields:
        pathlib.Path, as `atomic_path`.

    Raises:
        InputError: if something is there, or nothing can be written there.
    """
    path = vacant(path)
    with writing(path), atomic_path(path) as temporary:
        yield temporary


@contextlib.contextmanager
def new_folder(path):
    """As `new_file`, for a folder."""
    path = vacant(path)
    with writing(path):
        partial = path.parent / f"{_hidden(path)}-{secrets.token_hex(4)}"
        partial.mkdir()
        try:
            yield partial
            os.rename(partial, path)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def vacant(path):
    """The path of something to make, as pathlib.Path, whose folder it makes.

    Raises:
        InputError: if it exists, or nothing can be written there.
    """
    path = pathlib.Path(path)
    if os.path.lexists(path):  # also a link to nothing, which no folder can be renamed to
        raise InputError(f"out={path}: it exists already; give another name, or delete it")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path.parent).close()
    return path


def refuse_bare(path, endings):
    """Raises InputError if a path to write is an ending alone, which would be a folder's name."""
    name = pathlib.Path(path).name
    if name and name in endings:
        raise InputError(f"out={path}: give a name before the ending, as samples{name}")


def refuse_mount(path):
    """Raises InputError if a folder to make is a mount point, which nothing can be renamed to."""
    if os.path.ismount(path):
        raise InputError(
            f"out={path}: it is a mount point, which nothing can be renamed to; give a folder "
            f"in it, as --out={pathlib.Path(path) / 'NAME'}"
        )


def check_writable(path, flag="out", size=0):
    """Raises InputError unless a file could be written now; its folder is made.

    For results of long work: what cannot be written is told before it, not after.

    Args:
        path: a file, which may exist.
        flag: str, the flag named in messages.
        size: int, bytes that it will take.
    """
    path = pathlib.Path(path)
    with writing(path, flag):
        path.parent.mkdir(parents=True, exist_ok=True)
        if (path.is_fifo() or path.is_socket()) and path.parts[:2] != ("/", "dev"):
            raise OSError(errno.EINVAL, "it is a pipe or a socket")  # nobody may read it
        if path.exists():
            open(path, "ab").close()
        else:
            tempfile.TemporaryFile(dir=path.parent).close()
        free = shutil.disk_usage(path.parent).free
    if free < size:
        raise InputError(
            f"{flag}={path}: it takes {size / 1e9:.3g} GB, and only {free / 1e9:.3g} GB are free"
        )


def refuse_input(path, read, flag="out"):
    """Raises InputError if a file to write is the one to `read`, which would be lost.

    Args:
        path, read: files; neither need exist.
        flag: str, the flag named in messages.
    """
    if os.path.exists(path) and os.path.exists(read) and os.path.samefile(path, read):
        raise InputError(f"{flag}={path}: it is read, and would be lost; give another file")


@contextlib.contextmanager
def writing(path, flag="out"):
    """An error of the file system, other than an `InputError` on the way, as one line.

    One that names a file elsewhere, which was read meanwhile, stays what it is.
    """
    try:
        with disk_errors():
            yield
    except BrokenPipeError:  # of what is printed into, which `errors.one_line_errors` knows
        raise
    except OSError as error:
        if isinstance(error.filename, str | os.PathLike) and _is_elsewhere(error.filename, path):
            raise
        raise InputError(
            f"{flag}={path}: it cannot be written ({error.strerror or error})"
        ) from None


def _is_elsewhere(other, path):
    """Whether a file is neither what is written, nor in it, beside it or on the way to it."""
    other, path = (pathlib.Path(os.path.abspath(each)) for each in (other, path))
    if other.parent == path.parent or path.is_relative_to(other):
        return False
    inside = other.relative_to(path.parent).parts if other.is_relative_to(path.parent) else ("",)
    return not inside[0].startswith((path.name, _hidden(path)))


@contextlib.contextmanager
def disk_errors():
    """What libraries say of a disk in their own types and words, as the OSError that it is."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if getattr(error, "errno", None) is None:  # TensorFlow's, or HDF5's
            for number in DISK_ERRORS:
                if os.strerror(number) in str(error):
                    raise OSError(number, os.strerror(number)) from error
        raise
