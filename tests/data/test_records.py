"""Records, shards and `dataset.json`."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.data import records, unfinished
from ladagan_tf.data.shapes import shapes_image
from ladagan_tf.errors import InputError


@pytest.fixture
def copy(fifty, tmp_path):
    return shutil.copytree(fifty, tmp_path / "copy")


def _edit(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_record_holds_png_pixels_label_and_name():
    pixels, label = shapes_image(0, 0, 8)
    png = tf.io.encode_png(pixels).numpy()
    serialised = records.serialise(label, "ä.png", {"image": png})
    parsed = records.parse(tf.constant([serialised]), ("image", "label", "name"))
    np.testing.assert_array_equal(records.decode_image(parsed["image"][0], 8), pixels)
    assert parsed["label"].numpy().tolist() == [label]
    assert parsed["name"].numpy()[0].decode() == "ä.png"


def test_records_on_disk_are_the_source_images_in_order(fifty):
    dataset = tf.data.TFRecordDataset(records.load_info(fifty).shard_paths)
    parsed = records.parse(next(iter(dataset.batch(50))), ("image", "label"))
    for index in (0, 17, 49):
        pixels, label = shapes_image(0, index, 8)
        np.testing.assert_array_equal(records.decode_image(parsed["image"][index], 8), pixels)
        assert parsed["label"][index] == label


def test_info_survives_being_written_and_read(copy):
    changed = dataclasses.replace(records.load_info(copy), content_sha256="another")
    records.write_info(changed)
    assert records.load_info(copy) == changed


def test_info_describes_the_set(fifty):
    info = records.load_info(fifty)
    assert (info.count, info.resolution, info.channels) == (50, 8, 3)
    assert sum(info.class_counts) == 50 and len(info.class_counts) == len(info.classes) == 30
    assert [shard.records for shard in info.shards] == [12, 13, 12, 13]
    assert info.total_bytes == sum(path.stat().st_size for path in fifty.glob("*.tfrecord"))


@pytest.mark.parametrize(("count", "number"), [(10, 1), (10, 6), (7, 7)])
def test_a_writer_makes_exactly_the_asked_number_of_shards(tmp_path, count, number):
    writer = unfinished.ShardWriter(tmp_path, count, number)
    for index in range(count):
        writer.write(records.Record(str(index), "", -1, data=b"%d" % index))
    written = writer.close()
    assert len(written) == number and sum(shard.records for shard in written) == count
    names = [str(tmp_path / shard.name) for shard in written]
    content = [int(record) for record in tf.data.TFRecordDataset(names).as_numpy_iterator()]
    assert content == list(range(count))


def test_shards_are_split_by_size_unless_a_number_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(unfinished, "_AUTO_SHARD_BYTES", 250)
    writer = unfinished.ShardWriter(tmp_path, 10)
    for _ in range(10):
        writer.write(records.Record("", "", -1, data=bytes(100)))
    assert [shard.records for shard in writer.close()] == [3, 3, 3, 1]


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        records.load_info(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is empty, so it has no dataset\.json"):
        records.load_info(tmp_path)


def test_a_folder_without_dataset_json_is_refused(copy):
    (copy / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"has no dataset\.json"):
        records.load_info(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "[" * 100_000])
def test_an_unreadable_dataset_json_is_refused(copy, text):
    (copy / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: (this JSON|give a JSON|format_version)"):
        records.load_info(copy)


def test_another_format_version_is_refused_with_both_numbers(copy):
    _edit(copy, format_version=99)
    with pytest.raises(InputError, match="format_version 99; this code reads 1"):
        records.load_info(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"shards": None},
        {"preparation": {}},
        {"extra": 1},
        {"count": 10**12},
        {"count": 50.0},
        {"count": -1},
        {"resolution": 10**12},
        {"resolution": "8"},
        {"channels": 1},
        {"classes": [1, 2]},
        {"class_counts": [1]},
        {"shards": [{"name": "records-00000.tfrecord", "bytes": 64, "records": 50}]},
        {"shards": [{"name": "../records-00000.tfrecord", "bytes": 10**6, "records": 50}]},
        {"latents": {}},
    ],
)
def test_a_malformed_field_is_refused(copy, changes):
    _edit(copy, **changes)
    with pytest.raises(InputError, match="missing or malformed"):
        records.load_info(copy)


def test_a_missing_shard_is_named(copy):
    (copy / "records-00002.tfrecord").unlink()
    with pytest.raises(InputError, match=r"records-00002\.tfrecord: this shard is missing"):
        records.load_info(copy)


def test_a_truncated_shard_is_named_with_both_sizes(copy):
    shard = copy / "records-00001.tfrecord"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"records-00001.*{size - 10} bytes.*says {size}"):
        records.load_info(copy)
