"""What files declare is checked before it is believed, and every failure is one line."""

import errno
import os
import struct
import tempfile
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf import untrusted
from ladagan_tf.errors import (
    LONGEST,
    InputError,
    held_stderr,
    one_line_about,
    one_line_errors,
    reason,
)
from ladagan_tf.weights.keras_file import load_network
from ladagan_tf.weights.torch_file import read_torch


def npy(shape="(4,)", descr="'<f4'", data=bytes(16), order="False"):
    """An .npy file by its header's words."""
    header = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


def archive(path, compression=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(f"{name}.npy", data)
    return path


@pytest.mark.parametrize("compressed", [False, True])
def test_arrays_are_those_that_numpy_wrote(tmp_path, compressed):
    arrays = {
        "grey": np.arange(12, dtype=np.uint8).reshape(3, 4),
        "turned": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "scalar": np.float64(3.0),
        "empty": np.zeros((0, 3), np.float32),
        "text": np.array("words"),
        "swapped": np.arange(3, dtype=">i2"),
    }
    path = tmp_path / "a.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    found = untrusted.read_npz(path)
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].dtype == array.dtype
    assert untrusted.read_npz(path, ("grey", "absent")).keys() == {"grey"}
    np.save(tmp_path / "a.npy", arrays["turned"])
    np.testing.assert_array_equal(untrusted.read_npy(tmp_path / "a.npy"), arrays["turned"])


HOSTILE = {
    "rows beyond the file": npy("(1000000000000, 64)"),
    "a negative side": npy("(-4,)"),
    "text without end": npy("()", "'<U1000000000'"),
    "objects": npy("(1,)", "'|O'"),
    "cut": npy("(4,)", data=bytes(15)),
    "no header": b"\x93NUMPY\x01\x00\xff\xff{",
    "nested": b"\x93NUMPY\x01\x00" + struct.pack("<H", 9_000) + b"(" * 9_000,
    "version 9": b"\x93NUMPY\x09\x00" + npy()[8:],
    "nothing": b"",
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_headers_that_lie_cost_no_memory_and_are_one_line(tmp_path, data):
    (tmp_path / "a.npy").write_bytes(data)
    archive(tmp_path / "a.npz", a=data)
    tracemalloc.start()
    for read, name in ((untrusted.read_npy, "a.npy"), (untrusted.read_npz, "a.npz")):
        with pytest.raises(InputError, match=rf"^{tmp_path / name}: this .* cannot be read \(.+\)"):
            read(tmp_path / name)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_bombs_passwords_and_other_compressions_are_one_line(tmp_path):
    path = archive(tmp_path / "bomb.npz", a=npy(data=bytes(16)))
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = struct.pack("<I", 2**32 - 2)  # its size, in the directory
    path.write_bytes(data)
    with pytest.raises(InputError, match="would unpack to 4294967294 bytes"):
        untrusted.read_npz(path)
    data[entry + 24 : entry + 28] = struct.pack("<I", 16)
    data[entry + 8] = data[6] = 1  # needs a password
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"bomb\.npz: this npz archive cannot be read .*password"):
        untrusted.read_npz(path)
    archive(tmp_path / "lzma.npz", zipfile.ZIP_LZMA, a=npy())
    with pytest.raises(InputError, match="compressed by method 14"):
        untrusted.read_npz(tmp_path / "lzma.npz")


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", npy()])
def test_what_is_no_npz_archive_is_one_line_that_says_so(tmp_path, data):
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InputError, match=r"^source=a: this npz archive cannot be read"):
        untrusted.read_npz(tmp_path / "a.npz", what="source=a")


@pytest.mark.parametrize("text", [b"", b"{", b"[" * 100_000, b"[]", b"\xff", b"1" * 10_000])
def test_what_is_no_json_object_is_one_line(tmp_path, text):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(InputError, match=r"a\.json: (this JSON file cannot be read|give a JSON)"):
        untrusted.read_json(tmp_path / "a.json")


@pytest.mark.parametrize(
    "read",
    [
        untrusted.read_json,
        untrusted.read_npy,
        untrusted.read_npz,
        read_torch,
        lambda path: load_network(path, path),
    ],
)
def test_a_pipe_is_refused_and_not_waited_for(tmp_path, read):
    os.mkfifo(tmp_path / "f")
    with pytest.raises(InputError, match=r"/f: this .* cannot be read \(it is no regular file\)$"):
        read(tmp_path / "f")


# ------------------------------------------------------------------------------ errors.py


def ended(error, capsys):
    """(exit status, last line) of a command in which `error` was raised."""
    with pytest.raises(SystemExit) as stopped, one_line_errors():
        raise error
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return stopped.value.code, lines[0]


@pytest.mark.parametrize(
    "error",
    [
        EOFError(),
        OSError(),
        MemoryError("Unable to allocate 58. TiB"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
        zlib.error("Error -3"),
        zipfile.BadZipFile("Bad CRC-32"),
        tf.errors.ResourceExhaustedError(None, None, "No space left\nin two lines"),
        tf.errors.UnknownError(None, None, "{{node}} set/records-00000; Input/output error [Op:a]"),
        tf.errors.AbortedError(None, None, "{{node}} set/records-00000; Stale file handle [Op:a]"),
        tf.errors.InvalidArgumentError(
            None,
            None,
            "{{node}} Shape [9000000000000000000,4] would have more than 2**63 - 1 elements",
        ),
        InputError("x" * 10_000),
        InputError("two\nlines\x00and \udcff more"),
        InputError(),
    ],
)
def test_what_the_world_outside_causes_ends_a_command_in_one_line(error, capsys):
    status, line = ended(error, capsys)
    assert status == 2 and line.startswith("error: ") and len(line) < 400 and line.isprintable()


def test_a_current_folder_that_was_deleted_is_named(capsys, monkeypatch, tmp_path):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(FileNotFoundError) as met:
        os.getcwd()
    assert ended(met.value, capsys)[1].startswith("error: the current folder is no longer there")


@pytest.mark.parametrize(
    "error",
    [ValueError("ours"), KeyError("ours"), tf.errors.InvalidArgumentError(None, None, "ours")],
)
def test_our_own_mistakes_keep_their_traceback(error):
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_a_long_message_keeps_both_ends():
    text = str(InputError(f"{'a' * 1_000}: give {'b' * 1_000}"))
    assert len(text) <= LONGEST and text.startswith("a" * 100) and text.endswith("b" * 100)


def test_no_folder_for_temporary_files_is_one_line_that_names_what_to_set(monkeypatch, capfd):
    def refuse(**_):
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "TemporaryFile", refuse)
        with pytest.raises(KeyError), held_stderr():
            os.write(2, b"held\n")
            raise KeyError
    assert capfd.readouterr().err == "held\n"
    with pytest.raises(FileNotFoundError) as raised:
        refuse()
    for error in (raised.value, OSError("Matplotlib requires access to a writable cache dir ...")):
        assert ended(error, capfd) == (
            2,
            "error: no folder for temporary files can be written to; set TMPDIR to one",
        )


def test_a_name_that_is_no_utf8_is_called_that(capsys):
    with pytest.raises(UnicodeEncodeError) as raised:
        "r\udcfc".encode()
    assert ended(raised.value, capsys) == (2, "error: a name on the way is not UTF-8")
    assert reason(raised.value) == "a name on the way is not UTF-8"


def test_an_exception_without_a_message_is_named_by_its_type():
    words = r"a\.pb: this graph cannot be read \(EOFError\)$"
    with pytest.raises(InputError, match=words), one_line_about("a.pb", "graph"):
        raise EOFError
