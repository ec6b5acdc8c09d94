"""PyTorch files made byte by byte, and what every refusal must look like."""

import struct
import zipfile

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.weights.reading import read_weights


def refusal(path, read=read_weights):
    """The message of the refusal, which must be one line that names the file."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and "\n" not in message
    return message


def text(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def numbers(*values):
    return b"(" + b"".join(b"J" + struct.pack("<i", value) for value in values) + b"t"


def one_tensor(size, stride, offset=0, count=4, storage="FloatStorage"):
    """A pickle of {"w": tensor}, as torch.save writes it."""
    identity = b"(" + text("storage") + f"ctorch\n{storage}\n".encode() + text("0") + text("cpu")
    identity += b"J" + struct.pack("<i", count) + b"tQ"
    rebuild = b"ctorch._utils\n_rebuild_tensor_v2\n("
    offset = b"J" + struct.pack("<i", offset)
    arguments = identity + offset + numbers(*size) + numbers(*stride) + b"\x89Nt"
    return b"\x80\x02}" + text("w") + rebuild + arguments + b"Rs."


def torch_zip(path, program, raw=b"", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("file/data.pkl", program)
        archive.writestr("file/data/0", raw)
    return path


FOUR = np.arange(4, dtype="<f4").tobytes()
