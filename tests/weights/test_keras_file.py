"""`.keras` files: only classes of ours are made of them, and only as large as their weights."""

import io
import json
import sys
import time
import zipfile

import h5py
import keras
import numpy as np
import pytest
from golden_sets import GOLDEN
from tiny_gat import GENERATOR

from ladagan_tf.errors import InputError
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.systems import average_of
from ladagan_tf.weights.keras_file import load_network

SMALL_D = {"widths": (4, 8), "num_heads": 2, "mlp_width": 4, "out_widths": (4, 4)}
ADD_WEIGHT = keras.layers.Layer.add_weight


def members(name="gat"):
    with zipfile.ZipFile(GOLDEN / "moved" / f"{name}.keras") as archive:
        return {member: archive.read(member) for member in archive.namelist()}


def write(path, contents, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in contents.items():
            archive.writestr(name, data)
    return path


def with_config(path, change, name="gat"):
    contents = members(name)
    config = json.loads(contents["config.json"])
    change(config)
    return write(path, contents | {"config.json": json.dumps(config)})


def refusal(path):
    """The one line of a refusal, which must come at once."""
    started = time.monotonic()
    with pytest.raises(InputError, match=r"^model=m: this \.keras file cannot be read") as caught:
        load_network(path, "model=m")
    assert time.monotonic() - started < 10 and keras.layers.Layer.add_weight is ADD_WEIGHT
    assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)
    return str(caught.value)


def test_a_lambda_and_foreign_classes_are_refused_before_they_are_made(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("os.system", calls.append)
    network = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda x: x)])
    network.save(tmp_path / "lambda.keras")
    assert "holds a Sequential of keras" in refusal(tmp_path / "lambda.keras")
    code = keras.saving.serialize_keras_object(network.layers[-1])
    assert "__lambda__" in json.dumps(code)
    (tmp_path / "evil_module.py").write_text("import os; os.system('ran')")
    monkeypatch.syspath_prepend(tmp_path)
    evil = {"module": "evil_module", "class_name": "Evil", "config": {}}
    for node in (code, code["config"]["function"], evil, evil | {"registered_name": "x>Evil"}):
        for place in ("dtype", "about", "generator"):
            change = {"config": {"vae": {"config": {place: node}}}}
            path = with_config(tmp_path / "a.keras", lambda config, c=change: _merge(config, c))
            assert "only networks of ladagan_tf are loaded" in refusal(path)
        path = with_config(tmp_path / "b.keras", lambda config, node=node: config.update(node))
        assert "only networks of ladagan_tf are loaded" in refusal(path)
    assert not calls and "evil_module" not in sys.modules


def _merge(tree, changes):
    for key, value in changes.items():
        if isinstance(value, dict) and "class_name" not in value:
            _merge(tree[key], value)
        else:
            tree[key] = value


LARGE = 4 * 10**9
SIZES = [
    ("lada", {"noise_dim": LARGE}),
    ("lada", {"widths": [LARGE, 4, 2]}),
    ("lada", {"mlp_widths": [4, 4, LARGE]}),
    ("lada", {"decoder_widths": [LARGE], "resolution": 64}),
    ("gat", {"generator": {"config": {"depth": LARGE, "levels": 1, "taps": None}}}),
    ("gat", {"generator": {"config": {"width": LARGE}}}),
    ("gat", {"generator": {"config": {"latent_size": LARGE}}}),
    ("gat", {"generator": {"config": {"num_classes": LARGE}}}),
    ("gat", {"generator": {"config": {"channels": LARGE}}}),
    ("gat", {"vae": {"config": {"resnets": LARGE}}}),
    ("gat", {"vae": {"config": {"widths": [LARGE, LARGE]}}}),
    ("gat", {"vae": {"config": {"latent_channels": LARGE}}}),
]


@pytest.mark.parametrize(("name", "change"), SIZES)
def test_no_network_is_larger_than_its_weights(tmp_path, name, change):
    path = with_config(tmp_path / "a.keras", lambda c: _merge(c, {"config": change}), name)
    assert "far more weights than the" in refusal(path) or "give at most 1000" in refusal(path)


def test_weights_are_counted_before_they_are_made():
    made = []

    def initializer(shape, dtype):
        made.append(shape)
        return np.zeros(shape, dtype)

    with blank_of(5):
        layer = keras.layers.Layer()
        layer.add_weight((2, 3), initializer)
        layer.add_weight(shape=(4,), initializer=initializer)
        with pytest.raises(ValueError, match="far more weights than the 5"):
            layer.add_weight((), initializer)
    assert made == [(2, 3), (4,)]


@pytest.mark.parametrize("kind", [Discriminator, GatGenerator])
def test_what_will_be_overwritten_is_not_drawn_at_random_and_constants_are_as_always(kind):
    sizes = {Discriminator: SMALL_D, GatGenerator: GENERATOR}[kind]
    with blank_of(100_000):
        blank = kind(**sizes)
    networks = (blank, kind(**sizes), kind(**sizes))
    random = 0
    for made in zip(*(network.get_weights() for network in networks), strict=True):
        if np.array_equal(*made[1:]):
            np.testing.assert_array_equal(*made[:2])
        else:
            random += 1
            assert not made[0].any()
    assert random > 10


@pytest.mark.parametrize("kind", [Discriminator, GatGenerator])
def test_a_seeded_start_is_the_same_whether_the_average_is_drawn_or_not(kind):
    sizes, starts = {Discriminator: SMALL_D, GatGenerator: GENERATOR}[kind], []
    for average in (kind, lambda **sizes: average_of(kind, **sizes)):
        keras.utils.set_random_seed(0)
        before, _, after = kind(**sizes), average(**sizes), kind(**sizes)
        starts.append((*before.get_weights(), *after.get_weights()))
    for drawn, blank in zip(*starts, strict=True):
        np.testing.assert_array_equal(drawn, blank)


def weights(change):
    """The HDF5 file of the golden network, changed."""
    file = io.BytesIO(members()["model.weights.h5"])
    with h5py.File(file, "r+") as store:
        change(store)
    return file.getvalue()


def _first(store):
    found = []
    store.visititems(lambda name, item: found.append(name) if hasattr(item, "shape") else None)
    return found[0]


def _unallocated(store):
    store.create_dataset("vast", (10**6, 10**6), "f4", chunks=(10, 10))


def _compressed(store):
    store.create_dataset("vast", data=np.zeros((1000, 1000), "f4"), compression="gzip")


def _virtual(store):
    layout = h5py.VirtualLayout((10**6, 10**6), "f4")
    store.create_virtual_dataset("vast", layout)


def _external(store):
    store.create_dataset("vast", (8,), "f4", external=[("/etc/passwd", 0, 32)])


def _text(store):
    store.create_dataset("vast", data=["text"], dtype=h5py.string_dtype())


def _fewer(store):
    del store[_first(store)]


def _reshaped(store):
    name = _first(store)
    data = store[name][()]
    del store[name]
    store[name] = data.reshape(-1)[:1]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_unallocated, "vast is not wholly in the file"),
        (_compressed, "vast is not wholly in the file"),
        (_virtual, "vast is not wholly in the file"),
        (_external, "vast is not wholly in the file"),
        (_text, "vast is not wholly in the file"),
        (_fewer, "could not be loaded"),
        (_reshaped, "could not be loaded"),
    ],
)
def test_arrays_that_are_not_in_the_file_are_refused(tmp_path, change, words):
    contents = members() | {"model.weights.h5": weights(change)}
    assert words in refusal(write(tmp_path / "a.keras", contents))


def test_texts_that_are_no_unicode_are_refused(tmp_path):
    """Which names of classes may hold, and nothing could print or write afterwards."""
    for change in (
        {"config": {"vae": {"config": {"about": {"a": "\ud800"}}}}},
        {"module": "\udc80"},
    ):
        path = with_config(tmp_path / "a.keras", lambda config, c=change: _merge(config, c))
        assert "is not UTF-8" in refusal(path)


def test_archives_with_anything_else_in_them_are_refused(tmp_path):
    path, contents = tmp_path / "a.keras", members()
    assert "and nothing else" in refusal(write(path, contents | {"assets/../../x": b"x"}))
    assert "and nothing else" in refusal(write(path, {"config.json": b"{}"}))
    data = bytearray(write(path, contents).read_bytes())
    data[data.index(b"\x89HDF") + 100_000] ^= 1
    path.write_bytes(data)
    assert "Bad CRC-32" in refusal(path)
    path.write_bytes(data[:1000])
    assert "BadZipFile" in refusal(path)
    bomb = contents | {"metadata.json": bytes(2**20)}
    assert load_network(write(path, bomb, zipfile.ZIP_DEFLATED), "model=m")
    assert "RecursionError" in refusal(write(path, contents | {"config.json": b"[" * 100_000}))
