"""Records and shards."""

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.data import dataset_info, records, unfinished
from ladagan_tf.data.shapes import shapes_image


def test_a_record_holds_png_pixels_label_and_name():
    pixels, label = shapes_image(0, 0, 8)
    png = tf.io.encode_png(pixels).numpy()
    serialised = records.serialise(label, "ä.png", {"image": png})
    parsed = records.parse(tf.constant([serialised]), ("image", "label", "name"))
    np.testing.assert_array_equal(records.decode_image(parsed["image"][0], 8), pixels)
    assert parsed["label"].numpy().tolist() == [label]
    assert parsed["name"].numpy()[0].decode() == "ä.png"


def test_records_on_disk_are_the_source_images_in_order(fifty):
    dataset = tf.data.TFRecordDataset(dataset_info.load_info(fifty).shard_paths)
    parsed = records.parse(next(iter(dataset.batch(50))), ("image", "label"))
    for index in (0, 17, 49):
        pixels, label = shapes_image(0, index, 8)
        np.testing.assert_array_equal(records.decode_image(parsed["image"][index], 8), pixels)
        assert parsed["label"][index] == label


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
