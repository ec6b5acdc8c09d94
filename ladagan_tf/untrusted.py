"""JSON, .npy and .npz files that others made: no size that they declare is believed.

Nothing is allocated for what a header announces before the file is seen to hold it, and what is
packed may not unpack without bound.
"""

import json
import math
import pathlib
import zipfile

import numpy as np

from ladagan_tf.errors import InputError, one_line_about

# What a compressed archive may unpack to: a file is at most so many times as large in memory, but
# every file may have a gibibyte. Deflate could blow it up a thousand times.
EXPANSION, ALWAYS = 20, 2**30
STREAM = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}  # what zipfile unpacks piece by piece


def check_regular(path):
    """Raises ValueError if what is at a path is no regular file: a pipe may never say anything.

    Args:
        path: pathlib.Path; it need not exist.
    """
    if path.exists() and not path.is_file():
        raise ValueError("it is no regular file")


def read_json(path):
    """The dict in a JSON file.

    Args:
        path: the file, UTF-8.

    Raises:
        InputError: if it cannot be read, or holds something else.
    """
    path = pathlib.Path(path)
    with one_line_about(path, "JSON file"):
        check_regular(path)
        content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise InputError(f"{path}: give a JSON object, not {type(content).__name__}")
    return content


def read_npy(path):
    """The array in an .npy file, read-only.

    Args:
        path: the file.

    Raises:
        InputError: if it cannot be read, or holds Python objects.
    """
    path = pathlib.Path(path)
    with one_line_about(path, ".npy file"):
        check_regular(path)
        with path.open("rb") as file:
            return _array(file, path.stat().st_size)


def read_npz(path, names=None, what=None):
    """Arrays of an .npz archive, read-only, by name.

    Args:
        path: the file.
        names: names of the arrays to read, where they are there; None reads all.
        what: str, how messages name it; None: by its path.

    Raises:
        InputError: if it cannot be read, or holds Python objects.
    """
    path = pathlib.Path(path)
    with one_line_about(what or path, "npz archive"):
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            return _arrays(archive, path.stat().st_size, names)


def _arrays(archive, size, names):
    """As `read_npz`, of an open archive of `size` bytes."""
    found = {m.filename.removesuffix(".npy"): m for m in archive.infolist()}
    if names is not None:
        found = {name: found[name] for name in names if name in found}
    check_unpacked(found.values(), size)
    arrays = {}
    for name, member in found.items():
        with archive.open(member) as file:
            arrays[name] = _array(file, member.file_size)
    return arrays


def check_unpacked(members, size):
    """Raises ValueError unless members of an archive may be unpacked.

    Args:
        members: zipfile.ZipInfos.
        size: int, bytes of the archive.
    """
    declared, most = sum(member.file_size for member in members), max(ALWAYS, EXPANSION * size)
    if declared > most:
        raise ValueError(
            f"it would unpack to {declared} bytes, and {most} are accepted; save it uncompressed"
        )
    for member in members:
        if member.compress_type not in STREAM:
            raise ValueError(f"{member.filename} is compressed by method {member.compress_type}")


def _array(file, size):
    """The array of an .npy file of `size` bytes."""
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the .npy format")
    read = np.lib.format.read_array_header_1_0
    if version == (2, 0):
        read = np.lib.format.read_array_header_2_0
    shape, fortran_order, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are programs")
    length, left = math.prod(shape) * dtype.itemsize, size - file.tell()
    if min(shape, default=0) < 0 or length > left:
        raise ValueError(f"an array of shape {shape} and {dtype} does not fit into {left} bytes")
    data = file.read(length)
    if len(data) != length:
        raise ValueError(f"it ends {length - len(data)} bytes early")
    return np.ndarray(shape, dtype, data, order="F" if fortran_order else "C")
