"""Hostile and damaged weight files are refused in one line, and nothing in them is run."""

import collections
import io
import pickle
import posix
import time
import zipfile

import numpy as np
import pytest
from handmade import FOUR, one_tensor, refusal, text, torch_zip

from ladagan_tf import untrusted
from ladagan_tf.errors import InputError
from ladagan_tf.weights.reading import read_weights
from ladagan_tf.weights.torch_file import LEGACY_START, read_torch

REFUSED = {
    "refuse_global_zip.pth": "posix.getcwd",
    "refuse_global_legacy.pth": "posix.getcwd",
    "refuse_truncated_zip.pth": "zip",
    "refuse_truncated_legacy.pth": "ends within storage",
    "refuse_truncated.safetensors": "safetensors",
    "refuse_offsets.safetensors": "offset",
    "refuse_hugeheader.safetensors": "header too large",
}


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize("name", REFUSED)
def test_recorded_bad_files_are_refused_and_nothing_runs(formats, name, monkeypatch):
    calls = []
    monkeypatch.setattr(posix, "getcwd", lambda: calls.append("getcwd"))
    assert REFUSED[name] in refusal(formats / name)
    assert not calls


CALLS = []


def record(what):
    CALLS.append(what)


class Recorder:
    def __reduce__(self):
        return record, ("ran",)


class Hidden:
    """Calls while the state of an allowed object is made."""

    def __reduce__(self):
        return collections.OrderedDict, (), {"state": Recorder()}


@pytest.mark.parametrize("payload", [Recorder(), [Recorder()], {"w": Recorder()}, Hidden()])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_pickle_that_calls_something_is_refused_before_it_does(tmp_path, payload, protocol):
    program = pickle.dumps(payload, protocol)
    pickle.loads(program)
    assert CALLS  # the file is live: an unpickler runs it
    CALLS.clear()
    path = torch_zip(tmp_path / "w.pt", program)
    message = refusal(path)
    assert "refused" in message or "opcode" in message
    assert not CALLS


def test_names_of_allowed_things_call_only_our_own(tmp_path):
    state = b"\x80\x02cargparse\nNamespace\n)\x81}" + text("__class__") + text("x") + b"sb."
    assert read_torch(torch_zip(tmp_path / "w.pt", state)) == {"__class__": "x"}


# ------------------------------------------------------------------------------ damaged files


@pytest.mark.parametrize(
    ("size", "stride", "offset"),
    [
        ([5], [1], 0),
        ([2, 2], [4, 1], 0),
        ([4], [1], 1),
        ([4], [-1], 3),
        ([2], [1], -1),
        ([-1], [1], 0),
        ([2, 2], [1], 0),
        ([1000, 1000, 1000], [0, 0, 0], 0),
    ],
)
def test_views_that_leave_or_repeat_their_storage_are_refused(tmp_path, size, stride, offset):
    path = torch_zip(tmp_path / "w.pt", one_tensor(size, stride, offset), FOUR)
    assert "a tensor of size" in refusal(path)


def test_a_storage_shorter_than_it_claims_is_refused(tmp_path):
    path = torch_zip(tmp_path / "w.pt", one_tensor([4], [1], count=2**30), FOUR)
    assert "has 16 bytes, not 1073741824 values" in refusal(path)


def test_a_compressed_torch_file_is_refused(tmp_path):
    path = torch_zip(tmp_path / "w.pt", one_tensor([4], [1]), FOUR, zipfile.ZIP_DEFLATED)
    assert "compressed" in refusal(path)


def test_dicts_that_contain_themselves_are_refused(tmp_path):
    path = torch_zip(tmp_path / "w.pt", b"\x80\x02}q\x00" + text("a") + b"h\x00s.")
    assert "nested without end" in refusal(path)


PAIRS = b")q\x00" + b"h\x00h\x00\x86q\x00" * 60  # each of the one before, twice: 2^60 leaves


@pytest.mark.parametrize(
    "program",
    [
        b"}" + text("a") + PAIRS + b"s.",
        b"}" + PAIRS + b"K\x01s.",  # a key is hashed
        b"}" + text("a") + b"]q\x01h\x01as.",  # a list of itself
        b"}" + text("a") + b")" + b"\x85" * 200_000 + b"s.",
        PAIRS + b")R.",  # what is called
        b"ccollections\nOrderedDict\n(](" + PAIRS + b"K\x01\x86aetR.",  # as a pair to make it of
        b"cargparse\nNamespace\n)\x81](" + PAIRS + b"K\x01\x86aeb.",  # as state
        b"(" + PAIRS + text("FloatStorage") + text("0") + text("cpu") + b"K\x04tQ.",
        b"}" + text("k" * 5_000) + b"K\x01s" + b"N0" * 1_000,
    ],
)
@pytest.mark.parametrize("legacy", [False, True])
def test_what_is_shared_or_nested_without_bound_is_refused_at_once(tmp_path, program, legacy):
    path = tmp_path / "w.pt"
    if legacy:
        start = LEGACY_START + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)
        path.write_bytes(start + b"\x80\x02" + program + pickle.dumps([], 2))
    else:
        torch_zip(path, b"\x80\x02" + program)
    started = time.monotonic()
    assert len(refusal(path)) < 400
    assert time.monotonic() - started < 20


def test_tensors_that_share_values_far_beyond_the_file_are_refused(tmp_path):
    same = one_tensor([4000], [1], count=4000)[2:-1]  # {"w": tensor}
    program = b"\x80\x02](" + same + b"".join(b"h\x07" for _ in range(300)) + b"e."
    program = program.replace(b"s" + b"h\x07", b"sq\x07h\x07", 1)
    path = torch_zip(tmp_path / "w.pt", program, bytes(16_000))
    assert "far more than the file" in refusal(path, read_torch)


def test_two_tensors_of_one_name_are_refused(tmp_path):
    inner = one_tensor([4], [1])
    program = inner[:-1] + text("state_dict") + inner[2:-1] + b"s."
    assert "two tensors are called w" in refusal(torch_zip(tmp_path / "w.pt", program, FOUR))


def test_a_torch_file_without_named_tensors_is_refused(tmp_path):
    assert "no tensors" in refusal(torch_zip(tmp_path / "w.pt", b"\x80\x02]."))


@pytest.mark.parametrize("name", ["three_zip.pth", "views_nested_legacy.pth", "three.safetensors"])
def test_every_truncation_is_refused(formats, tmp_path, name):
    data = (formats / name).read_bytes()
    path = tmp_path / name
    for length in range(0, len(data), 7):
        path.write_bytes(data[:length])
        refusal(path)


@pytest.mark.parametrize(
    "name",
    ["module_zip.pth", "views_nested_legacy.pth", "dtypes.safetensors", "tiny_inception_like.pb"],
)
def test_a_wrong_byte_is_refused_in_one_line_or_harmless(formats, tmp_path, name, rng):
    data = (formats / name).read_bytes()
    path = tmp_path / name
    for position in rng.permutation(len(data))[:300]:
        damaged = bytearray(data)
        damaged[position] ^= int(rng.integers(1, 256))
        path.write_bytes(damaged)
        try:
            read_weights(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_a_graph_cut_within_a_node_is_refused(formats, tmp_path):
    data = (formats / "tiny_inception_like.pb").read_bytes()
    path = tmp_path / "w.pb"
    path.write_bytes(data[:-5])
    assert "TensorFlow graph" in refusal(path)


def test_a_graph_constant_far_larger_than_its_file_is_refused(tmp_path):
    import tensorflow as tf

    graph = tf.compat.v1.GraphDef()
    value = graph.node.add(name="big", op="Const").attr["value"].tensor
    value.dtype = tf.float32.as_datatype_enum
    value.float_val.append(1.0)
    for _ in range(3):
        value.tensor_shape.dim.add(size=2**20)
    path = tmp_path / "w.pb"
    path.write_bytes(graph.SerializeToString())
    assert "far larger than the file" in refusal(path)


def test_npz_with_python_objects_is_refused(tmp_path):
    np.savez(tmp_path / "w.npz", a=np.array([Recorder()], dtype=object))
    CALLS.clear()
    assert "npz archive" in refusal(tmp_path / "w.npz")
    assert not CALLS


def test_npz_that_unpacks_to_far_more_than_itself_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(untrusted, "ALWAYS", 10_000_000)
    np.savez_compressed(tmp_path / "w.npz", a=np.zeros(2_000_000))
    assert "would unpack to 16000" in refusal(tmp_path / "w.npz")


@pytest.mark.parametrize(
    "content",
    [b"", b"\n", b"weights\n", b"\nweights", b"\x89PNG\r\n\x1a\n", pickle.dumps({"w": 1})],
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    refusal(path)


def test_other_zip_archives_and_missing_files_are_refused(tmp_path):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("readme.txt", "hello")
    path = tmp_path / "w.pth"
    path.write_bytes(buffer.getvalue())
    assert "no data.pkl" in refusal(path)
    assert "no such file" in refusal(tmp_path / "absent.pth")
    assert "no such file" in refusal(tmp_path)


def test_read_torch_refuses_other_formats(formats):
    assert "neither" in refusal(formats / "three.safetensors", read_torch)
