"""PyTorch's .pth and .pt files, zip and legacy stream, read without PyTorch and without pickle.

Such a file is a pickle, that is a program, plus raw arrays. `interpret` is not an unpickler with
names forbidden: it is a loop over the few opcodes that make containers, numbers and tensors, and it
has no means to import or call anything of the file's choosing.
"""

import io
import math
import operator
import pathlib
import pickletools
import struct
import zipfile

import numpy as np

from ladagan_tf.errors import one_line_about
from ladagan_tf.untrusted import check_regular

ZIP_START = b"PK\x03\x04"
LEGACY_START = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # a pickled magic number
BFLOAT16 = "torch BFloat16Storage"
STORAGES = {
    "torch FloatStorage": "<f4",
    "torch DoubleStorage": "<f8",
    "torch HalfStorage": "<f2",
    BFLOAT16: "<u2",  # NumPy has no bfloat16: see `decode`
    "torch LongStorage": "<i8",
    "torch IntStorage": "<i4",
    "torch ShortStorage": "<i2",
    "torch CharStorage": "i1",
    "torch ByteStorage": "u1",
    "torch BoolStorage": "?",
}


# Of one file. What is shared counts wherever it is used: 450 bytes of nested pairs of themselves
# would take longer than the universe to walk, to hash or to print.
MOST_OPCODES = 4_000_000
MOST_NODES = 1_000_000
DEEPEST = 50
EXPANSION = 10  # by which its tensors, which may share values, may exceed it


class Container(dict):
    """A dict that a file makes: its keys are names or numbers."""

    def __init__(self, pairs=()):
        super().__init__()
        self.add(pairs)

    def add(self, pairs):
        """Sets (key, value) pairs, or those of a dict; ValueError for another kind of key."""
        for key, value in pairs.items() if isinstance(pairs, dict) else pairs:
            if not isinstance(key, str | int | float | None):
                raise ValueError(f"a {type(key).__name__} as a key")
            self[key] = value


class Namespace(Container):
    """What `argparse.Namespace` becomes: checkpoints keep a run's flags in one."""


def tensor(storage, offset, size, stride, *_):
    """A read-only view of a storage, or None where the storage is not known yet.

    Args:
        storage: array (n,), or None.
        offset: int, of the first element.
        size, stride: sequences of ints, in elements.

    Raises:
        ValueError: if the view leaves its storage, repeats elements or has a negative number.
    """
    if storage is None:
        return None
    size, stride = [operator.index(n) for n in size], [operator.index(n) for n in stride]
    if min([operator.index(offset), *size, *stride]) < 0 or len(size) != len(stride):
        raise ValueError(f"a tensor of size {size}, stride {stride} and offset {offset}")
    if 0 in size:
        return np.zeros(size, storage.dtype)
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # A view that repeats elements would grow without bound when it is copied.
    if last >= storage.size or math.prod(size) > storage.size:
        raise ValueError(f"a tensor of size {size} reaches beyond its {storage.size} stored values")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], size, steps, writeable=False)


# All a file can name besides storages, and what is made of it.
MAKERS = {
    "collections OrderedDict": Container,
    "torch._utils _rebuild_tensor_v2": tensor,
    "torch._utils _rebuild_parameter": lambda data, *_: data,
    "argparse Namespace": Namespace,
}


def interpret(stream, storage):
    """The object that one protocol-2 pickle describes.

    Args:
        stream: binary file, left behind the pickle's last byte.
        storage: function of (storage name, key, number of elements) to a 1-D array or None.

    Returns:
        Dicts, lists, tuples, numbers, strings, None and arrays.

    Raises:
        ValueError: for a name or an opcode outside what tensor files use, before acting on it.
            Damaged pickles raise other errors too.
    """
    stack, marks, memo = [], [], {}

    def pop(count):
        if count > len(stack):
            raise ValueError("the pickle's stack is empty")
        items = stack[len(stack) - count :]
        del stack[len(stack) - count :]
        return items

    def pop_to_mark():
        return pop(len(stack) - marks.pop())

    def top(kind):
        if not isinstance(stack[-1], kind):
            raise ValueError(f"the pickle fills a {type(stack[-1]).__name__}")
        return stack[-1]

    for number, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        if number > MOST_OPCODES:
            raise ValueError(f"it has more than {MOST_OPCODES} opcodes")
        match opcode.name:
            case "PROTO":
                pass
            case "STOP":
                return pop(1)[0]
            case "MARK":
                marks.append(len(stack))
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT" | "BINUNICODE":
                stack.append(argument)
            case "NONE":
                stack.append(None)
            case "NEWTRUE" | "NEWFALSE":
                stack.append(opcode.name == "NEWTRUE")
            case "EMPTY_DICT":
                stack.append(Container())
            case "EMPTY_LIST":
                stack.append([])
            case "EMPTY_TUPLE":
                stack.append(())
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                stack.append(tuple(pop(int(opcode.name[-1]))))
            case "TUPLE":
                stack.append(tuple(pop_to_mark()))
            case "APPEND":
                (item,) = pop(1)
                top(list).append(item)
            case "APPENDS":
                items = pop_to_mark()
                top(list).extend(items)
            case "SETITEM":
                pair = pop(2)
                top(Container).add([pair])
            case "SETITEMS":
                items = pop_to_mark()
                top(Container).add(zip(items[::2], items[1::2], strict=True))
            case "GLOBAL":
                if argument not in MAKERS and argument not in STORAGES:
                    name = argument.replace(" ", ".")
                    raise ValueError(f"it names {name}, which is no tensor or container: refused")
                stack.append(argument)  # a name stays a string; nothing is imported
            case "REDUCE" | "NEWOBJ":
                maker, arguments = pop(2)
                stack.append(MAKERS[_name(maker)](*arguments))
            case "BUILD":  # an ordered dict's state is metadata, a namespace's its content
                (state,) = pop(1)
                if isinstance(top(Container), Namespace):
                    stack[-1].add(state)
            case "BINPERSID":
                (identity,) = pop(1)
                kind, name, key, _, count, *view = identity
                if _name(kind) != "storage" or view not in ([], [None]):
                    raise ValueError(f"a reference to a {kind} that is no whole storage")
                stack.append(storage(_name(name), _name(key), count))
            case _:
                raise ValueError(f"opcode {opcode.name} does not belong in a file of tensors")


def _name(text):
    """`text`; ValueError if it is no str, as hashing or printing it might never end."""
    if not isinstance(text, str):
        raise ValueError(f"a {type(text).__name__} in place of a name")
    return text


def check_extent(tree, most_bytes):
    """Raises ValueError if what a file holds nests or shares its parts without bound.

    Args:
        tree: what `interpret` returned.
        most_bytes: int, of all arrays together, each counted wherever it is used.
    """
    pending, nodes, total = [(tree, 0)], 0, 0
    while pending:
        node, depth = pending.pop()
        nodes += 1
        if nodes > MOST_NODES or depth > DEEPEST:
            raise ValueError("its dicts, lists or tuples are nested without end")
        if isinstance(node, np.ndarray):
            total += node.nbytes
        elif isinstance(node, dict | list | tuple):
            parts = node.values() if isinstance(node, dict) else node
            if len(pending) + len(parts) > MOST_NODES:
                raise ValueError("its dicts, lists or tuples are nested without end")
            pending += [(part, depth + 1) for part in parts]
    if total > most_bytes:
        raise ValueError(f"its tensors have {total} bytes, far more than the file")


def decode(raw, name):
    """A storage's bytes as a 1-D array; bfloat16, the upper half of a float32, as float32."""
    array = np.frombuffer(raw, STORAGES[name])
    return (array.astype("<u4") << 16).view("<f4") if name == BFLOAT16 else array


def byte_length(name, count):
    """Bytes of a storage: its type's name and its number of values give an int."""
    return np.dtype(STORAGES[name]).itemsize * operator.index(count)


def read_zip(path):
    """The object in a file of PyTorch 1.6 or later, a zip."""
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("members are compressed, which PyTorch never does")
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise ValueError("its members are larger than the file")
        names = [m.filename for m in members if m.filename.split("/")[1:] == ["data.pkl"]]
        if len(names) != 1:
            raise ValueError("it has no data.pkl")
        root = names[0].removesuffix("data.pkl")
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("big-endian values are not supported")
        storages = {}

        def storage(name, key, count):
            if key not in storages:
                raw = archive.read(f"{root}data/{key}")
                if len(raw) != byte_length(name, count):
                    raise ValueError(f"storage {key} has {len(raw)} bytes, not {count} values")
                storages[key] = decode(raw, name)
            return storages[key]

        return interpret(io.BytesIO(archive.read(names[0])), storage)


def read_legacy(path):
    """The object in a file of PyTorch before 1.6, a sequence of pickles."""
    stream = io.BytesIO(path.read_bytes())
    for _ in range(2):
        interpret(stream, None)  # magic number and protocol version
    if interpret(stream, None).get("little_endian") is not True:
        raise ValueError("big-endian values are not supported")
    start, kinds, storages = stream.tell(), {}, {}
    # The arrays come after the object, which alone tells their types: it is read twice.
    interpret(stream, lambda name, key, count: kinds.update({key: (name, count)}))
    for key in interpret(stream, None):
        name, count = kinds[_name(key)]
        length = byte_length(name, count)
        header, raw = stream.read(8), stream.read(max(0, length))
        if struct.unpack("<q", header) != (count,) or len(raw) != length:
            raise ValueError(f"the file ends within storage {key}, or its length is wrong")
        storages[key] = decode(raw, name)
    stream.seek(start)
    return interpret(stream, lambda name, key, count: storages[key])


def read_torch(path):
    """The object in a PyTorch file.

    Args:
        path: a file written by `torch.save` with the default protocol 2, in either container.

    Returns:
        Nested dicts, lists, tuples, numbers and strings with NumPy arrays (read-only views of
        their storages) as tensors; bfloat16 as float32, `argparse.Namespace` as a dict.

    Raises:
        InputError: if the file is damaged, or holds anything else, naming it; nothing is executed.
    """
    path = pathlib.Path(path)
    with one_line_about(path, "PyTorch file"):
        check_regular(path)
        with path.open("rb") as file:
            start = file.read(len(LEGACY_START))
        if start.startswith(ZIP_START):
            tree = read_zip(path)
        elif start == LEGACY_START:
            tree = read_legacy(path)
        else:
            raise ValueError("it starts as neither of the two formats of torch.save")
        check_extent(tree, EXPANSION * path.stat().st_size)
        return tree
