"""Seeded damage: to bytes of any kind, and to JSON, arrays, archives, weights, records and messages
in the place where their reader looks, so that it gets past the checksums.
"""

import io
import json
import os
import pathlib
import struct
import tempfile
import zipfile

import numpy as np

EXTREMES = [0, 1, -1, 127, 255, 2**15, 2**16 - 1, 2**31 - 1, 2**32 - 1, 2**40, 2**63 - 1]

# ------------------------------------------------------------------------------ bytes


def flip(data, rng):
    for place in rng.integers(len(data), size=rng.integers(1, 9)):
        data[place] ^= 1 << int(rng.integers(8))


def cut(data, rng):
    del data[rng.integers(len(data)) :]


def drop(data, rng):
    start = rng.integers(len(data))
    del data[start : start + rng.integers(1, 65)]


def double(data, rng):
    start = rng.integers(len(data))
    data[start:start] = data[start : start + rng.integers(1, 65)]


def swap(data, rng):
    first, second = (int(place) for place in rng.integers(len(data), size=2))
    length = int(rng.integers(1, 33))
    data[first : first + length], data[second : second + length] = (
        data[second : second + length],
        data[first : first + length],
    )


def fill(data, rng):
    start, length = rng.integers(len(data)), int(rng.integers(1, 65))
    data[start : start + length] = bytes([rng.choice([0, 1, 0x7F, 0xFF])]) * length


def count(data, rng):
    """A number becomes an extreme one."""
    width, order = rng.choice([1, 2, 4, 8]), rng.choice(["little", "big"])
    value = EXTREMES[rng.integers(len(EXTREMES))] % 256 ** int(width)
    start = int(rng.integers(len(data)))
    data[start : start + width] = value.to_bytes(int(width), str(order))


def damaged(data, rng):
    """Damaged bytes."""
    data = bytearray(data)
    if not data:
        return b"\0"
    kinds = (flip, cut, drop, double, swap, fill, count)
    for _ in range(rng.integers(1, 4)):
        if data:
            kinds[rng.integers(len(kinds))](data, rng)
    return bytes(data)


# ------------------------------------------------------------------------------ structures


def edited_json(data, rng):
    """JSON with another value, key or nesting in one place; or damaged as text."""
    if rng.random() < 0.2:
        return damaged(data, rng)
    tree = json.loads(data)
    nodes = [(tree, key) for key in _keys(tree)]
    for parent, key in nodes:  # it grows
        nodes += [(parent[key], inner) for inner in _keys(parent[key])]
    parent, key = nodes[rng.integers(len(nodes))]
    other_parent, other_key = nodes[rng.integers(len(nodes))]
    values = [
        *(None, True, "", "x" * 3_000, "\udcff", [], {}, [[]], 0, -1, 0.5, 1e400, 10**12, 10**400),
        *EXTREMES,
        json.loads(json.dumps(other_parent[other_key])),
        [parent[key]] * 3,
    ]
    if rng.random() < 0.15:
        del parent[key]
    elif rng.random() < 0.1 and isinstance(parent, dict):
        parent[f"{key}x"] = parent.pop(key)
    else:
        parent[key] = values[rng.integers(len(values))]
    return json.dumps(tree).encode()


def _keys(node):
    if isinstance(node, dict):
        return list(node)
    return range(len(node)) if isinstance(node, list) else ()


def edited_npy(data, rng):
    """An array with another header, or damaged."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    array = np.load(io.BytesIO(data))
    shapes = [(), (0,), (10**12,), (10**12, 0), (-1,), array.shape[::-1], (1, *array.shape), (2, 2)]
    dtypes = ["<f4", "<f8", "|u1", "<u2", "<i8", "|O", "<U9", "|V3", "<c8", "<f2", "<M8[s]", "|b1"]
    shape = shapes[rng.integers(len(shapes))] if rng.random() < 0.6 else array.shape
    descr = dtypes[rng.integers(len(dtypes))] if rng.random() < 0.6 else array.dtype.str
    header = f"{{'descr': {descr!r}, 'fortran_order': {rng.random() < 0.5}, 'shape': {shape}}}\n"
    start = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode()
    return start + (array.tobytes() if rng.random() < 0.8 else damaged(array.tobytes(), rng))


def edited_zip(data, rng, edit):
    """An archive with right checksums and one other member; or damaged."""
    if rng.random() < 0.3:
        return damaged(data, rng)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [[name, archive.read(name)] for name in archive.namelist()]
    chosen = int(rng.integers(len(members)))
    kind = rng.random()
    if kind < 0.1:
        del members[chosen]
    elif kind < 0.2:
        members[chosen][0] += "x"
    elif kind < 0.25:
        members.append(["../outside", b"x"])
    elif kind < 0.3:
        members.append(members[chosen])
    else:
        members[chosen][1] = edit(*members[chosen], rng)
    # LZMA is slow, and both it and BZIP2 for every member that they pack: it is one.
    methods = [zipfile.ZIP_STORED] * 48 + [zipfile.ZIP_DEFLATED] * 8
    methods += [zipfile.ZIP_BZIP2] * 3 + [zipfile.ZIP_LZMA]
    method = methods[rng.integers(len(methods))]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i, (name, content) in enumerate(members):
            archive.writestr(name, content, method if i == chosen else None)
    return buffer.getvalue()


def edited_h5(data, rng):
    """A file of weights with one array or group less, elsewhere or of another kind; or damaged."""
    import h5py

    if rng.random() < 0.5:
        return damaged(data, rng)
    buffer, names = io.BytesIO(data), []
    with h5py.File(buffer, "r+") as file:
        file.visit(names.append)
        name, other = names[rng.integers(len(names))], names[rng.integers(len(names))]
        item, kind = file[name], rng.integers(6)
        whole = item[()] if isinstance(item, h5py.Dataset) else np.float32(0)
        if kind != 5 or not name.startswith(other):
            del file[name]
        if kind == 1:
            file.create_dataset(name, (10**6, 10**6), "f4", chunks=(10, 10))
        elif kind == 2:
            file[name] = whole.reshape(-1)
        elif kind == 3:
            file[name] = np.full(np.shape(whole), b"text") if rng.random() < 0.5 else "text"
        elif kind == 4 and other in file:
            file[name] = file[other]
        elif kind == 5:
            file[f"{name}/loop" if isinstance(item, h5py.Group) else "loop"] = file["/"]
    return buffer.getvalue()


def edited_keras(name, data, rng):
    """A member of a .keras file, edited as what it is."""
    kinds = {".json": edited_json, ".h5": edited_h5}
    return kinds.get(pathlib.PurePath(name).suffix, damaged)(data, rng)


def edited_records(data, rng):
    """TFRecords with right checksums and other contents; or damaged."""
    import tensorflow as tf

    if rng.random() < 0.1:
        return damaged(data, rng)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "a")
        pathlib.Path(path).write_bytes(data)
        records = [*tf.data.TFRecordDataset(path).as_numpy_iterator()]
        chosen = int(rng.integers(len(records)))
        example = tf.train.Example.FromString(records[chosen])
        features = example.features.feature
        name = sorted(features)[rng.integers(len(features))]
        kind, values = rng.random(), features[name].bytes_list.value
        if kind < 0.1:
            del features[name]
        elif kind < 0.5 and values:
            values[0] = damaged(values[0], rng)
        elif kind < 0.6:
            features[name].int64_list.value.append(EXTREMES[rng.integers(len(EXTREMES))] % 2**63)
        elif kind < 0.7 and "label" in features:
            features["label"].int64_list.value[0] = int(rng.choice([-2, -1, 10**6, 2**40]))
        records[chosen] = example.SerializeToString()
        if kind > 0.7:
            records[chosen] = damaged(records[chosen], rng)
        if 0.9 < kind < 0.95:
            del records[chosen]
        with tf.io.TFRecordWriter(path) as writer:
            for record in records:
                writer.write(record)
        return pathlib.Path(path).read_bytes()


def edit_message(message, rng):
    """Changes one field of a protobuf message, or of one that is in it."""
    fields = message.ListFields()
    if not fields:
        return
    field, value = fields[rng.integers(len(fields))]
    inner = field.message_type
    if inner is None:
        choices = EXTREMES if field.cpp_type <= field.CPPTYPE_UINT64 else ["", "x" * 99, 1e30, 1.0]
        if isinstance(value, bytes | str | bool | int | float):
            if not _assigned(message, field.name, choices, rng):
                message.ClearField(field.name)
        elif len(value):
            del value[rng.integers(len(value))]
    elif inner.GetOptions().map_entry:
        keys = sorted(value)
        key = keys[rng.integers(len(keys))]
        if rng.random() < 0.2 or not hasattr(value[key], "ListFields"):
            del value[key]
        else:
            edit_message(value[key], rng)
    elif hasattr(value, "ListFields"):
        edit_message(value, rng)
    elif rng.random() < 0.1:
        del value[rng.integers(len(value))]
    elif rng.random() < 0.1:
        value.add().CopyFrom(value[rng.integers(len(value))])
    else:
        edit_message(value[rng.integers(len(value))], rng)


def _assigned(message, name, choices, rng):
    try:
        setattr(message, name, choices[rng.integers(len(choices))])
    except (TypeError, ValueError):
        return False
    return True


def edited_saved_model(name, data, rng):
    """A file of a SavedModel: its graphs with another field in one place; or damaged."""
    from tensorflow.core.protobuf import saved_model_pb2

    if name != "saved_model.pb" or rng.random() < 0.2:
        return damaged(data, rng)
    model = saved_model_pb2.SavedModel.FromString(data)
    for _ in range(rng.integers(1, 4)):
        edit_message(model, rng)
    return model.SerializeToString()
