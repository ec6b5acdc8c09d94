"""The stream of training batches, and the single pass for metrics."""

import dataclasses
import functools
import inspect
import itertools
import json
import pathlib
import shutil

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.data import dataset_info, ordering, pipeline, records
from ladagan_tf.data.preparation import prepare
from ladagan_tf.data.shapes import shapes_image
from ladagan_tf.errors import InputError

_COUNT = 50
_MODES = {"memory": 2**31, "streaming": 2**13}  # memory_limit_bytes; the set has about 12 kB


@pytest.fixture(scope="module", params=_MODES.values(), ids=_MODES)
def limit(request):
    return request.param


@pytest.fixture(scope="module")
def index_of():
    """Pixels -> index of the shape, in the original or mirrored."""
    images = [shapes_image(0, index, 8)[0] for index in range(_COUNT)]
    mirrored = {image[:, ::-1].tobytes(): index for index, image in enumerate(images)}
    return mirrored | {image.tobytes(): index for index, image in enumerate(images)}


def _dataset(folder, **arguments):
    return pipeline.make_dataset(folder, **{"batch_size": 12, "seed": 3} | arguments)


def _batches(folder, number, **arguments):
    return list(_dataset(folder, **arguments).take(number).as_numpy_iterator())


@pytest.fixture(scope="module")
def plain(fifty, limit):
    """A stream that mirrors nothing, and six epochs of it."""
    dataset = _dataset(fifty, memory_limit_bytes=limit)
    return dataset, list(dataset.take(25).as_numpy_iterator())


@pytest.fixture(scope="module")
def flipped(fifty, limit):
    """27 batches, some of whose images are mirrored."""
    tf.random.set_seed(1)
    return _batches(fifty, 27, flip=True, memory_limit_bytes=limit)


def _order(batches, index_of):
    return [index_of[image.tobytes()] for images, _ in batches for image in images]


def _assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a[0], b[0])
        np.testing.assert_array_equal(a[1], b[1])


def test_batches_are_uint8_with_static_shapes_and_the_labels_of_their_images(plain, index_of):
    dataset, batches = plain
    assert dataset.element_spec == (
        tf.TensorSpec((12, 8, 8, 3), tf.uint8),
        tf.TensorSpec((12,), tf.int32),
    )
    images, labels = batches[0]
    assert images.max() > 128, "the range is [0, 255]"
    for image, label in zip(images, labels, strict=True):
        assert shapes_image(0, index_of[image.tobytes()], 8)[1] == label


def test_each_epoch_visits_every_image_once_in_its_own_order(plain, index_of):
    order = _order(plain[1], index_of)
    epochs = [tuple(order[start : start + _COUNT]) for start in range(0, 300, _COUNT)]
    assert all(sorted(epoch) == list(range(_COUNT)) for epoch in epochs)
    assert len(set(epochs)) == 6


def test_the_stream_repeats_by_its_seed_whatever_the_global_one(fifty, limit, flipped, index_of):
    tf.random.set_seed(2)
    again, other = (
        _batches(fifty, 5, seed=seed, flip=True, memory_limit_bytes=limit) for seed in (3, 4)
    )
    _assert_equal(again, flipped[:5])
    assert _order(other, index_of) != _order(again, index_of)


def test_no_order_of_a_small_set_comes_back_after_256_epochs_or_seeds():
    orders = [
        tuple(ordering.permutation(_COUNT, seed, epoch, block).numpy().tolist())
        for seed, epoch, block in itertools.product((0, 1, 256), (0, 1, 256), (0, 1, 256))
    ]
    assert len(set(orders)) == 27
    assert all(sorted(order) == list(range(_COUNT)) for order in orders)


@pytest.mark.parametrize("step", [4, 7, 21])
def test_a_start_step_continues_the_uninterrupted_stream(fifty, limit, flipped, step):
    rest = _batches(fifty, 6, flip=True, start_step=step, memory_limit_bytes=limit)
    _assert_equal(flipped[step : step + 6], rest)


def test_where_an_order_is_of_the_shards_others_are_told_apart(fifty, monkeypatch):
    info = dataset_info.load_info(fifty)
    other = dataclasses.replace(info, shards=(info.shards[0],) * len(info.shards))
    told = {}
    for name, found in (("one", info), ("other", other)):
        monkeypatch.setattr(dataset_info, "load_info", lambda folder, found=found: found)
        told[name] = [pipeline.order_of(fifty, 1.0, limit) for limit in _MODES.values()]
    assert told["one"][0] == told["other"][0] == pipeline.order_of(fifty, 0.1, 2000) == "memory"
    assert told["one"][1] != told["other"][1]


@tf.function(input_signature=[tf.TensorSpec([None], tf.int64)] * 3 + [tf.TensorSpec([], tf.int64)])
def _interleaved(lengths, opened, taken, cycle_length):
    """As `Dataset.interleave` itself does it, of numbers that tell data set and place."""
    sets = tf.data.Dataset.from_tensor_slices((opened, taken)).interleave(
        lambda i, n: tf.data.Dataset.range(100 * i + n, 100 * i + tf.gather(lengths, i)),
        cycle_length=cycle_length,
    )
    return sets.reduce(tf.zeros([0], tf.int64), lambda so_far, x: tf.concat([so_far, [x]], 0))


@pytest.mark.parametrize(
    ("lengths", "at_once"),
    [
        ([3], 16),
        *(([5, 1, 4, 2], at_once) for at_once in (1, 3, 16)),
        *(([0, 2, 0, 0, 4, 1], at_once) for at_once in (1, 3, 16)),
        ([2] * 4, 3),
    ],
)
def test_an_interleaving_goes_on_from_any_of_its_elements(lengths, at_once):
    cycle_length = min(len(lengths), at_once)
    whole = _interleaved(lengths, range(len(lengths)), [0] * len(lengths), cycle_length).numpy()
    assert len(whole) == sum(lengths)
    for first in range(sum(lengths) + 1):
        rest = ordering.rest_of_interleaving(lengths, first, at_once)
        np.testing.assert_array_equal(_interleaved(lengths, *rest, cycle_length), whole[first:])


def test_a_later_start_reads_no_shard_that_is_done(tmp_path, monkeypatch):
    """Half of a set of ten shards, two of them open at a time, in blocks of four images."""
    monkeypatch.setattr(ordering, "_OPEN_SHARDS", 2)
    folder = prepare("shapes", tmp_path / "ten", resolution=8, num_images=50, shards=10).folder
    info = dataset_info.load_info(folder)
    how = {"memory_limit_bytes": 16 * info.total_bytes // 50, "subset": 0.5, "batch_size": 4}
    whole = _batches(folder, 6, **how)
    opened = ordering.permutation(len(info.shards), 3, 0).numpy()
    done = pathlib.Path(info.shard_paths[opened[0]])
    done.write_bytes(bytes(done.stat().st_size))
    with pytest.raises(tf.errors.DataLossError):
        _batches(folder, 6, **how)
    _assert_equal(_batches(folder, 2, start_step=4, **how), whole[4:])


def test_slices_of_workers_and_replicas_make_up_the_global_batch(fifty, limit, flipped):
    slices = {"flip": True, "num_workers": 2, "replicas": 3, "memory_limit_bytes": limit}
    shares = [_batches(fifty, 18, worker_index=worker, **slices) for worker in range(2)]
    for step, (images, labels) in enumerate(flipped[:6]):
        parts = [share[3 * step + replica] for share in shares for replica in range(3)]
        assert all(part[0].shape == (2, 8, 8, 3) for part in parts)
        np.testing.assert_array_equal(np.concatenate([part[0] for part in parts]), images)
        np.testing.assert_array_equal(np.concatenate([part[1] for part in parts]), labels)


def test_a_batch_may_hold_the_whole_set(fifty, index_of):
    for images, _ in _batches(fifty, 3, batch_size=_COUNT):
        assert sorted(index_of[image.tobytes()] for image in images) == list(range(_COUNT))


def test_flips_mirror_about_half_of_the_images_and_differ_between_epochs(plain, flipped):
    was_flipped = []
    for image, other in zip(
        itertools.chain.from_iterable(images for images, _ in plain[1]),
        itertools.chain.from_iterable(images for images, _ in flipped[:25]),
        strict=True,
    ):
        assert (other == image).all() or (other == image[:, ::-1]).all()
        was_flipped.append(bool((other != image).any()))
    assert 0.35 < np.mean(was_flipped) < 0.65
    assert was_flipped[:_COUNT] != was_flipped[_COUNT : 2 * _COUNT]


def test_a_subset_is_the_same_images_for_every_seed_batch_and_mode(fifty, index_of):
    chosen = set()
    for seed, batch, memory in ((0, 10, 2**31), (2, 20, 0)):
        batches = _batches(
            fifty, 60 // batch, seed=seed, batch_size=batch, subset=0.4, memory_limit_bytes=memory
        )
        order = _order(batches, index_of)
        assert all(len(set(order[start : start + 20])) == 20 for start in (0, 20, 40))
        chosen.add(tuple(sorted(set(order))))
    assert len(chosen) == 1 and len(chosen.pop()) == 20 == pipeline.num_images(fifty, 0.4)


def test_a_smaller_subset_is_part_of_a_larger_one():
    small, large = pipeline.subset_indices(1000, 0.1), pipeline.subset_indices(1000, 0.2)
    assert len(small) == 100 and set(small) < set(large)
    assert small[:4].tolist() == [3, 5, 11, 15], "the choice is part of what experiments mean"


def test_iterate_images_passes_once_in_order_with_the_last_partial_batch(fifty):
    batches = list(pipeline.iterate_images(fifty, 16))
    assert [len(images) for images, _ in batches] == [16, 16, 16, 2]
    images = np.concatenate([images for images, _ in batches])
    labels = np.concatenate([labels for _, labels in batches])
    expected = [shapes_image(0, index, 8) for index in range(_COUNT)]
    np.testing.assert_array_equal(images, [image for image, _ in expected])
    np.testing.assert_array_equal(labels, [label for _, label in expected])
    assert images.dtype == np.uint8 and labels.dtype == np.int32


def test_num_images_counts_the_set(fifty):
    assert pipeline.num_images(fifty) == _COUNT


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"batch_size": 51}, "50 images, fewer than one batch; batch_size=51"),
        ({"batch_size": 0}, "batch_size=0: it must be at least 1"),
        ({"num_workers": 5}, "batch_size=12: it must be a multiple of the 5 workers x 1 replicas"),
        ({"num_workers": 2, "replicas": 4}, "multiple of the 2 workers x 4 replicas"),
        ({"num_workers": 2, "worker_index": 2}, "worker_index=2: it must be from 0 to 1"),
        ({"start_step": -1}, "start_step=-1"),
        ({"subset": 0.0}, "subset=0.0: it must be a fraction"),
        ({"subset": 1.5}, "subset=1.5: it must be a fraction"),
        ({"subset": 0.1}, "subset=0.1 of the 50 images.* is 5 images, fewer than one batch"),
    ],
)
def test_an_impossible_request_is_refused_in_one_line(fifty, arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        _batches(fifty, 1, **arguments)
    assert "\n" not in str(caught.value)


@pytest.fixture
def damaged(fifty, tmp_path):
    """A copy with one flipped byte: the size is right, the record's checksum is not."""
    folder = shutil.copytree(fifty, tmp_path / "damaged")
    shard = folder / "records-00002.tfrecord"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    return folder


def test_a_damaged_record_is_one_clear_line_when_loaded_into_memory(damaged):
    with pytest.raises(InputError, match=r"records-00002\.tfrecord: record \d+ is damaged"):
        _batches(damaged, 1)


def test_a_damaged_record_is_one_clear_line_when_streamed(damaged):
    with (
        pytest.raises(InputError, match=r"00002\.tfrecord: record \d+ is damaged") as caught,
        pipeline.damage_as_input_error(damaged),
    ):
        _batches(damaged, 5, memory_limit_bytes=0)
    assert "\n" not in str(caught.value)


def test_a_damaged_record_is_one_clear_line_when_iterated(damaged):
    with pytest.raises(InputError, match=r"00002\.tfrecord: record \d+ is damaged"):
        list(pipeline.iterate_images(damaged, 8))


def _png(side):
    return tf.io.encode_png(np.zeros((side, side, 3), np.uint8)).numpy()


WRONG = {
    "no record": b"\x00\x01",
    "no image": records.serialise(0, "a", {}),
    "no PNG": records.serialise(0, "a", {"image": b"GIF89a"}),
    "another size": records.serialise(0, "a", {"image": _png(9)}),
    "a bomb": records.serialise(0, "a", {"image": _png(8)[:16] + b"\x40" + _png(8)[17:]}),
    "cut": records.serialise(0, "a", {"image": _png(8)[:40]}),
    "a class too many": records.serialise(30, "a", {"image": _png(8)}),
    "a class too few": records.serialise(-2, "a", {"image": _png(8)}),
}


def _with_record(fifty, folder, record):
    """A copy whose first shard has right checksums and one other record, the second."""
    shutil.copytree(fifty, folder)
    shard = folder / "records-00000.tfrecord"
    content = [*tf.data.TFRecordDataset(str(shard)).as_numpy_iterator()]
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for serialised in [content[0], record, *content[2:]]:
            writer.write(serialised)
    described = json.loads((folder / "dataset.json").read_text())
    described["shards"][0]["bytes"] = shard.stat().st_size
    (folder / "dataset.json").write_text(json.dumps(described))
    return folder


@pytest.mark.parametrize("name", WRONG)
def test_a_record_of_wrong_content_is_named(fifty, tmp_path, name):
    wrong = _with_record(fifty, tmp_path / "wrong", WRONG[name])
    with pytest.raises(InputError, match=r"00000\.tfrecord: record 1 is damaged \(.+\)"):
        list(pipeline.iterate_images(wrong, 8))


@pytest.mark.parametrize(
    ("name", "mode"),
    [("no record", "memory"), ("another size", "memory"), ("no record", "streaming")],
)
def test_a_record_of_wrong_content_is_named_in_training(fifty, tmp_path, name, mode):
    wrong = _with_record(fifty, tmp_path / "wrong", WRONG[name])
    with (
        pytest.raises(InputError, match=r"00000\.tfrecord: record 1 is damaged \(.+\)"),
        pipeline.damage_as_input_error(wrong),
    ):
        _batches(wrong, 5, memory_limit_bytes=_MODES[mode])


def test_a_set_that_another_replaces_while_it_is_read_is_not_taken_for_one(fifty, tmp_path):
    folder = shutil.copytree(fifty, tmp_path / "set")
    read = pipeline.iterate_images(folder, 8)
    next(read)
    described = json.loads((folder / "dataset.json").read_text())
    (folder / "dataset.json").write_text(json.dumps(described | {"content_sha256": "0" * 64}))
    with pytest.raises(InputError, match=r"set: another set took its place while it was read; st"):
        list(read)
    before = dataclasses.replace(dataset_info.load_info(folder), content_sha256="1" * 64)
    with pytest.raises(InputError, match="took its place"), pipeline.reading(before):
        raise ValueError("of records that another set has")
    pipeline.check_stream(before, 1.0)  # it was loaded
    with pytest.raises(InputError, match="took its place"):
        pipeline.check_stream(before, 1.0, memory_limit_bytes=0)


def test_an_error_that_is_not_the_records_passes(fifty):
    ours = tf.errors.InvalidArgumentError(None, None, "a mistake in the step")
    with (
        pytest.raises(tf.errors.InvalidArgumentError, match="a mistake in the step"),
        pipeline.damage_as_input_error(fifty),
    ):
        raise ours


def test_records_that_are_missing_are_counted(fifty, tmp_path):
    folder = shutil.copytree(fifty, tmp_path / "short")
    shard = folder / "records-00000.tfrecord"
    first = next(tf.data.TFRecordDataset(str(shard)).as_numpy_iterator())
    with tf.io.TFRecordWriter(str(shard)) as writer:
        writer.write(first)
    described = json.loads((folder / "dataset.json").read_text())
    size = shard.stat().st_size
    described["shards"][0] |= {"bytes": size, "records": size // 16}
    described["count"] = sum(shard["records"] for shard in described["shards"])
    (folder / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(InputError, match=rf"00000\.tfrecord: 1 records, but .* says {size // 16}"):
        list(pipeline.iterate_images(folder, 8))
    with pytest.raises(InputError, match=rf"00000\.tfrecord: 1 records, but .* says {size // 16}"):
        _batches(folder, 5, memory_limit_bytes=_MODES["memory"])


def test_of_a_subset_in_memory_no_other_record_is_parsed(fifty, monkeypatch):
    parsed, parse = [], records.parse
    monkeypatch.setattr(
        records, "parse", lambda kept, wanted: parsed.append(len(kept)) or parse(kept, wanted)
    )
    pipeline.make_dataset(fifty, batch_size=2, seed=0, subset=0.1)
    assert sum(parsed) == 5


def test_open_dataset_returns_a_prepared_folder(fifty):
    assert pipeline.open_dataset(str(fifty), resolution=8) == fifty


def test_open_dataset_refuses_another_resolution_naming_both(fifty):
    with pytest.raises(InputError, match=r"resolution=8, but resolution=32 is asked for"):
        pipeline.open_dataset(str(fifty), resolution=32)


def test_open_dataset_names_what_it_accepts(tmp_path):
    with pytest.raises(InputError, match=r"no such folder; it must be a folder made by.*shapes"):
        pipeline.open_dataset(str(tmp_path / "cifar"), resolution=8)


def test_open_dataset_prepares_shapes_once(tmp_path, monkeypatch, capsys):
    """As many as `prepare` makes unless told: 10,000, of which five are made here."""
    assert inspect.signature(prepare).parameters["num_images"].default == 10_000
    monkeypatch.setattr(pipeline, "prepare", functools.partial(prepare, num_images=5))
    folder = pipeline.open_dataset("shapes", resolution=4, cache_dir=tmp_path)
    written = (folder / "dataset.json").stat().st_mtime_ns
    assert folder == tmp_path / "shapes-4" and pipeline.num_images(folder) == 5
    assert pipeline.open_dataset("shapes", resolution=4, cache_dir=tmp_path) == folder
    assert (folder / "dataset.json").stat().st_mtime_ns == written
    said = capsys.readouterr()
    assert "already prepared" in said.out and not said.err


def test_a_folder_that_is_called_as_a_set_is_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "shapes").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="resolution is required"):
        pipeline.open_dataset("shapes", resolution=None)
    assert "dataset=shapes is not the folder of that name here" in capsys.readouterr().err
