"""Weight files of five formats as one dict of arrays; the content decides, not the suffix."""

import hashlib
import math
import pathlib
import zipfile

import ml_dtypes  # noqa: F401 - names bfloat16 to NumPy, which safetensors needs
import numpy as np
import tensorflow as tf
from safetensors.numpy import load_file

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.untrusted import read_npz
from ladagan_tf.weights import torch_file

FORMATS = "PyTorch .pth/.pt, .safetensors, .npz or a frozen TensorFlow graph (.pb)"
MOST_ENTRIES = 1_000_000
LONGEST_NAME = 1_000


def read_weights(path):
    """The tensors in a weight file, by name.

    Args:
        path: file in one of `FORMATS`.

    Returns:
        dict: name -> numeric array, perhaps read-only; bfloat16 as float32. Nested dicts are joined
        by "."; the prefix "state_dict." and everything that is no array are dropped.

    Raises:
        InputError: if the file is missing, damaged, of another format, or would execute code.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    kind, read = _reader(path)
    with one_line_about(path, kind):
        tensors = read(path)
        if not tensors:
            raise ValueError("it holds no tensors by name")
        return tensors


def _reader(path):
    """(Name of the format, reading function) by the first bytes."""
    with one_line_about(path, "file"), path.open("rb") as file:
        start = file.read(len(torch_file.LEGACY_START))
    if start.startswith(torch_file.ZIP_START):
        with one_line_about(path, "zip archive"), zipfile.ZipFile(path) as archive:
            if any(name.endswith(".npy") for name in archive.namelist()):
                return "npz archive", _read_npz
        return "PyTorch file", _read_torch
    if start == torch_file.LEGACY_START:
        return "PyTorch file", _read_torch
    if start[8:9] == b"{":  # JSON behind a 64-bit length
        return "safetensors file", _read_safetensors
    if start[:1] == b"\n":  # the tag of GraphDef's first field, node
        return "TensorFlow graph", read_graph
    raise InputError(f"{path}: no weight file; {FORMATS} can be read")


def _read_torch(path):
    return flatten(torch_file.read_torch(path))


def _read_npz(path):
    return {name: a for name, a in read_npz(path).items() if a.dtype.kind in "fiub"}


def _read_safetensors(path):
    arrays = load_file(path)
    return {n: a.astype("float32") if a.dtype.name == "bfloat16" else a for n, a in arrays.items()}


def flatten(tree):
    """The arrays in nested dicts, named by their keys joined with ".".

    Raises:
        ValueError: if two arrays get one name, or the nesting is endless.
    """
    tensors, pending, seen = {}, [("", tree)], 0
    while pending:
        name, node = pending.pop()
        seen += 1
        if seen > MOST_ENTRIES or len(name) > LONGEST_NAME:
            raise ValueError("its dicts are nested without end")
        if isinstance(node, dict):
            prefix = f"{name}." if name else ""
            pending += [(f"{prefix}{key}", node[key]) for key in reversed(node)]
        elif isinstance(node, np.ndarray):
            name = name.removeprefix("state_dict.")
            if name in tensors:
                raise ValueError(f"two tensors are called {name}")
            tensors[name] = node
    return tensors


def content_sha256(tensors):
    """What tells weights apart, whatever the file format they came in.

    Args:
        tensors: dict, name -> array.

    Returns:
        str, the SHA-256 (hex) over sorted names, shapes and little-endian float32 values.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].astype("<f4")
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())  # C order, whatever the strides
    return digest.hexdigest()


# A Const may spell out one value for its whole shape, so it may be larger than the file says; but
# not without bound.
EXPANSION = 10


def read_graph(path):
    """Numeric `Const` nodes by name; the graph is only parsed, never imported.

    Args:
        path: pathlib.Path of a binary GraphDef.

    Returns:
        dict: node name -> array in the graph's layout (kernels HWIO); bfloat16 as float32.

    Raises:
        ValueError, TypeError or protobuf's DecodeError: for damaged files.
    """
    data = path.read_bytes()
    budget = EXPANSION * len(data)  # bytes
    arrays = {}
    for node in tf.compat.v1.GraphDef.FromString(data).node:
        if node.op != "Const":
            continue
        value = node.attr["value"].tensor
        dtype = tf.dtypes.as_dtype(value.dtype)
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            continue
        budget -= dtype.size * math.prod(max(0, side.size) for side in value.tensor_shape.dim)
        if budget < 0:
            raise ValueError(f"constants up to {node.name} are far larger than the file")
        array = tf.make_ndarray(value)
        arrays[node.name] = array.astype("float32") if dtype == tf.bfloat16 else array
    return arrays
