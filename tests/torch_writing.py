"""Files as `torch.save` writes them, without PyTorch: a zip of a pickle and raw arrays."""

import argparse
import struct
import zipfile

import numpy as np


def save_torch(path, tree):
    """Writes nested dicts and Namespaces of text, ints, None and float32 arrays as a .pt file."""
    arrays = []
    program = b"\x80\x02" + _pickled(tree, arrays) + b"."
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("latest/data.pkl", program)
        for number, array in enumerate(arrays):
            archive.writestr(f"latest/data/{number}", array.astype("<f4").tobytes())
    return path


def _pickled(node, arrays):
    if isinstance(node, argparse.Namespace):
        return b"cargparse\nNamespace\n)R" + _pickled(vars(node), arrays) + b"b"
    if isinstance(node, dict):
        pairs = (_pickled(part, arrays) for pair in node.items() for part in pair)
        return b"}(" + b"".join(pairs) + b"u"
    if isinstance(node, np.ndarray):
        arrays.append(node)
        storage = b"ctorch\nFloatStorage\n" + _text(str(len(arrays) - 1)) + _text("cpu")
        identity = b"(" + _text("storage") + storage + _int(node.size) + b"tQ"
        steps = (stride // node.itemsize for stride in np.zeros_like(node, order="C").strides)
        view = _int(0) + _ints(node.shape) + _ints(steps) + b"\x89N"
        return b"ctorch._utils\n_rebuild_tensor_v2\n(" + identity + view + b"tR"
    if node is None:
        return b"N"
    return _text(node) if isinstance(node, str) else _int(node)


def _text(value):
    return b"X" + struct.pack("<I", len(value.encode())) + value.encode()


def _int(value):
    return b"J" + struct.pack("<i", value)


def _ints(values):
    return b"(" + b"".join(map(_int, values)) + b"t"
