"""LMDB as a source, as LSUN is published."""

import os
import pickle
import sys

import pytest
from encoded_images import png
from PIL import Image

from ladagan_tf.data import sources
from ladagan_tf.data.sources import open_source
from ladagan_tf.errors import InputError


def _lmdb_folder(folder, entries):
    """An LMDB as LSUN is published: digests as keys, encoded images as values."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return folder


def test_an_lmdb_is_read_in_the_order_of_its_keys_also_by_other_processes(tmp_path):
    entries = {f"{key:02x}".encode(): png(Image.new("RGB", (9, 8), (key, 0, 0))) for key in (7, 2)}
    source = open_source(str(_lmdb_folder(tmp_path / "set", entries)), resolution=8)
    assert (source.count, source.classes) == (2, ())
    items = list(source.items())
    assert [(item.name, item.label) for item in items] == [("02", None), ("07", None)]
    read = pickle.loads(pickle.dumps(source.read))
    assert [read(item.payload).getpixel((0, 0))[0] for item in items] == [2, 7]


def test_an_lmdb_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"data\.mdb holds no images"):
        open_source(str(_lmdb_folder(tmp_path / "empty", {})), resolution=8)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match="damaged: this LMDB cannot be read"):
        open_source(str(tmp_path / "damaged"), resolution=8)
    source = open_source(str(_lmdb_folder(tmp_path / "later", {b"1": b"2"})), resolution=8)
    monkeypatch.setattr(sources, "_lmdb", lambda folder: {}[folder])  # as where a page is damaged
    with pytest.raises(InputError, match="later: this LMDB cannot be read"):
        list(source.items())
    monkeypatch.undo()
    whole = _lmdb_folder(tmp_path / "cut", {b"1": bytes(100_000)}) / "data.mdb"
    os.truncate(whole, whole.stat().st_size // 2)
    with pytest.raises(
        InputError, match=r"cut: this LMDB cannot be read \(data\.mdb has \d+ of its \d+ b"
    ):
        open_source(str(tmp_path / "cut"), resolution=8)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match=r"damaged: it needs packages .*: pip install 'lmdb>="):
        open_source(str(tmp_path / "damaged"), resolution=8)
