"""Stored averages: what is written is read, what is damaged is one line, later ones go."""

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.runs import snapshots


@pytest.fixture
def writer(tmp_path):
    weights = [np.float32([[1.5, -2.25]]), np.float32([1e-9]), np.float32([3e5])]
    averages = {0.05: weights, 0.1: [2 * w for w in weights]}
    return snapshots.Snapshots(tmp_path / "averages", averages, [1], [1])


def test_what_is_written_is_read(writer):
    for step in (2, 1):
        writer.save(step, 8 * step)
    first, last = snapshots.read_entries(writer.folder)
    assert (first.step, last.step, last.images, last.sigma_rels) == (1, 2, 16, (0.05, 0.1))
    found = snapshots.read(last)
    assert found.statistics == found.copied == {1}
    for ours, stored in zip(writer.averages.values(), found.averages, strict=True):
        for array, read in zip(ours, stored, strict=True):
            np.testing.assert_array_equal(array, read)
    # Half the size, but for statistics and what float16 cannot hold.
    assert [array.dtype for array in found.averages[0]] == ["f2", "f4", "f4"]


def test_a_run_that_goes_back_drops_what_it_writes_again(writer):
    for step in (1, 2, 3):
        writer.save(step, step)
    writer.begin(2)
    assert [entry.step for entry in snapshots.read_entries(writer.folder)] == [1, 2]
    writer.begin(0)  # anew: of other weights
    assert snapshots.read_entries(writer.folder) == []
    assert len([*writer.folder.with_name("averages.old-1").iterdir()]) == 2


def test_what_is_no_snapshot_is_one_line(writer):
    writer.save(1, 8)
    (entry,) = snapshots.read_entries(writer.folder)
    content = dict(np.load(entry.path))
    for change, words in (
        ({"average_1_001": np.float32([np.nan])}, "missing or not finite"),
        ({"other": np.float32([0])}, "missing or not finite"),
        ({"average_0_000": None}, "stored average cannot be read"),
    ):
        changed = {
            name: array for name, array in {**content, **change}.items() if array is not None
        }
        np.savez(entry.path, **changed)
        with pytest.raises(InputError, match=words):
            snapshots.read(entry)
    for wrong in ({"images": np.int64(0)}, {"sigma_rel": np.float64([2.0])}):
        np.savez(entry.path, **{**content, **wrong})
        with pytest.raises(InputError, match=r"step-00000001\.npz: this stored average cannot be"):
            snapshots.read_entries(writer.folder)
    entry.path.write_bytes(b"PK")
    with pytest.raises(InputError, match=r"step-00000001\.npz: this npz archive cannot be read"):
        snapshots.read_entries(writer.folder)
