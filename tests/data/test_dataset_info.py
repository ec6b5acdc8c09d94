"""What `dataset.json` says of a set, and what is refused."""

import dataclasses
import json
import shutil

import pytest

from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError


@pytest.fixture
def copy(fifty, tmp_path):
    return shutil.copytree(fifty, tmp_path / "copy")


def _edit(folder, **changes):
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_info_survives_being_written_and_read(copy):
    changed = dataclasses.replace(dataset_info.load_info(copy), content_sha256="another")
    dataset_info.write_info(changed)
    assert dataset_info.load_info(copy) == changed


def test_info_describes_the_set(fifty):
    info = dataset_info.load_info(fifty)
    assert (info.count, info.resolution, info.channels) == (50, 8, 3)
    assert sum(info.class_counts) == 50 and len(info.class_counts) == len(info.classes) == 30
    assert [shard.records for shard in info.shards] == [12, 13, 12, 13]
    assert info.total_bytes == sum(path.stat().st_size for path in fifty.glob("*.tfrecord"))


def test_a_missing_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match="nowhere: no such folder"):
        dataset_info.load_info(tmp_path / "nowhere")


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"is empty, so it has no dataset\.json"):
        dataset_info.load_info(tmp_path)


def test_a_folder_without_dataset_json_is_refused(copy):
    (copy / "dataset.json").unlink()
    with pytest.raises(InputError, match=r"has no dataset\.json"):
        dataset_info.load_info(copy)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", "[" * 100_000])
def test_an_unreadable_dataset_json_is_refused(copy, text):
    (copy / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=r"dataset\.json: (this JSON|give a JSON|format_version)"):
        dataset_info.load_info(copy)


def test_another_format_version_is_refused_with_both_numbers(copy):
    _edit(copy, format_version=99)
    with pytest.raises(InputError, match="format_version 99; this code reads 1"):
        dataset_info.load_info(copy)


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
        dataset_info.load_info(copy)


def test_a_missing_shard_is_named(copy):
    (copy / "records-00002.tfrecord").unlink()
    with pytest.raises(InputError, match=r"records-00002\.tfrecord: this shard is missing"):
        dataset_info.load_info(copy)


def test_a_truncated_shard_is_named_with_both_sizes(copy):
    shard = copy / "records-00001.tfrecord"
    size = shard.stat().st_size
    shard.write_bytes(shard.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"records-00001.*{size - 10} bytes.*says {size}"):
        dataset_info.load_info(copy)
