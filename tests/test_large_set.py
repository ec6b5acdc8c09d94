"""What `benchmarks/large_set.py` says of the order in which a streamed set is read."""

import dataclasses

import pytest
from in_process import benchmark

from ladagan_tf.data import dataset_info, ordering
from ladagan_tf.data.preparation import prepare


@pytest.fixture(scope="module")
def large_set():
    return benchmark("large_set")


@pytest.fixture(scope="module")
def info(tmp_path_factory):
    """A thousand images in twenty shards; what is read of them is their description."""
    out = tmp_path_factory.mktemp("prepared") / "thousand"
    found = dataset_info.load_info(
        prepare("shapes", out, resolution=4, num_images=50, shards=1).folder
    )
    shards = [
        dataclasses.replace(found.shards[0], name=f"records-{i:05d}.tfrecord") for i in range(20)
    ]
    return dataclasses.replace(found, shards=tuple(shards), count=1000)


def test_a_shuffle_of_the_whole_set_is_as_good_as_chance(large_set, info, monkeypatch):
    monkeypatch.setattr(ordering, "_OPEN_SHARDS", 20)
    told = large_set.shuffling(info, 10)
    assert told["block"] == 8192
    assert told["moved_between_epochs"] == pytest.approx(1, abs=0.1)
    assert told["batch_mates_of_one_shard"] == pytest.approx(1, abs=0.2)


def test_two_shards_at_a_time_meet_each_other_in_every_batch(large_set, info, monkeypatch):
    monkeypatch.setattr(ordering, "_OPEN_SHARDS", 2)
    monkeypatch.setattr(large_set, "MOST_IN_A_BLOCK", 20)
    told = large_set.shuffling(info, 10)
    # Of 10 images 5 are of the same shard, 4 of the 9 others; of all, 1 in 20.
    assert told["batch_mates_of_one_shard"] == pytest.approx(20 * 4 / 9, rel=0.15)
