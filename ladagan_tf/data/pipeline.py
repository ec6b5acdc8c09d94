"""Prepared sets as batches: an endless deterministic stream for training, one pass for metrics.

The order is a function of `(seed, position)`, where position p counts images since step 0:
p = step * batch_size + row. Nothing about it is state, so a stream that starts at step k is what
an uninterrupted one would have continued with. Epoch p // N visits every image once, in an order
of its own; batches run across the border between epochs and no image is dropped.
"""

import contextlib
import hashlib
import os.path
import pathlib
import re

import numpy as np
import tensorflow as tf

from ladagan_tf.data import dataset_info, ordering, records, sources
from ladagan_tf.data.preparation import prepare
from ladagan_tf.data.source import TFDS_PREFIX
from ladagan_tf.errors import InputError, reason

MEMORY_LIMIT_BYTES = 2 * 2**30
# Which images `subset` keeps is part of an experiment's definition, so it must not vary with the
# run's seed. RandomState's stream is frozen by NumPy.
_SUBSET_SEED = 20200612
# The last where TensorFlow quotes a record that is no text in its message.
_DAMAGE = (tf.errors.DataLossError, tf.errors.InvalidArgumentError, UnicodeDecodeError)
# tf.data hands what it maps to AutoGraph, half a second of a start for functions without loops.
_as_written = tf.autograph.experimental.do_not_convert


def open_dataset(name, *, resolution, data_dir=None, cache_dir="data"):
    """Finds, or on first use prepares, the set that `--dataset=` names.

    Args:
        name: folder of a prepared set; or `shapes` (10,000 images) or `tfds:NAME[@SPLIT]`, which
            are prepared with the defaults of `preparation.prepare` into a folder of `cache_dir`
            such as `data/shapes-32`.
        resolution: int, the side in pixels that the images must have; None takes a prepared set as
            it is.
        data_dir: folder of TFDS downloads; None is TFDS's own default.
        cache_dir: folder for sets prepared here.

    Returns:
        pathlib.Path of the prepared set.

    Raises:
        InputError: if there is no such set, or its images have another size.
    """
    if sources.told_of_folder(name, "dataset"):
        if resolution is None:
            raise InputError(f"resolution is required with dataset={name}: the side in pixels")
        folder = prepared_folder(name, resolution, cache_dir)
        return prepare(name, folder, resolution=resolution, data_dir=data_dir).folder
    name = os.path.expanduser(name)
    if not pathlib.Path(name).is_dir():
        raise InputError(
            f"dataset={name}: no such folder; it must be a folder made by ladagan_tf.prepare, "
            f"{sources.SHAPES}, or {TFDS_PREFIX}NAME"
        )
    info = dataset_info.load_info(name)
    if resolution is not None and info.resolution != resolution:
        raise InputError(
            f"dataset={name}: it was prepared with resolution={info.resolution}, but "
            f"resolution={resolution} is asked for; prepare it again or change one of them"
        )
    return info.folder


def prepared_folder(name, resolution, cache_dir="data"):
    """Where the set that `--dataset=` names lies, once `open_dataset` has prepared it.

    Args:
        name, resolution, cache_dir: see `open_dataset`.

    Returns:
        pathlib.Path.
    """
    if name == sources.SHAPES or name.startswith(TFDS_PREFIX):
        name = f"{re.sub(r'[^A-Za-z0-9._]+', '-', name)}-{resolution}"
        return pathlib.Path(cache_dir) / name
    return pathlib.Path(name)


@_as_written
def make_dataset(
    folder,
    *,
    batch_size,
    seed,
    start_step=0,
    flip=False,
    subset=1.0,
    worker_index=0,
    num_workers=1,
    replicas=1,
    memory_limit_bytes=MEMORY_LIMIT_BYTES,
    with_images=False,
    with_teacher=False,
):
    """Makes the endless stream of training batches.

    Sets whose encoded records fit `memory_limit_bytes` are loaded once; their epochs are uniform
    shuffles. Larger ones are streamed from disk: shards in shuffled order, and within them a
    shuffle of a bounded number of records; every worker then reads the whole set, and decodes its
    rows. Both are deterministic, but their orders differ: keep the limit when resuming.

    Args:
        folder: a prepared set.
        batch_size: int, images per step over all workers and replicas (global).
        seed: int, the run's seed.
        start_step: int >= 0, the step at which to (re)start.
        flip: whether each image is mirrored left to right with probability 1/2, decided by
            (seed, position). Images only: moments of a mirrored image are not mirrored moments.
        subset: float in (0, 1], the fraction of images to train on. The choice is fixed: the same
            for every seed, batch size and machine, and a smaller one is part of a larger one.
        worker_index, num_workers: this worker takes rows [w B / W, (w + 1) B / W) of each batch.
        replicas: int, replicas per worker; a step is that many consecutive elements, as
            `tf.distribute`'s `distribute_datasets_from_function` takes them.
        memory_limit_bytes: int, how much encoded data to hold in memory.
        with_images, with_teacher: whether batches of a set of latents hold the stored images and
            features of the teacher too.

    Returns:
        tf.data.Dataset of images uint8 (b, R, R, 3) in [0, 255] and labels int32 (b,), -1 for
        none; b = batch_size / (num_workers * replicas), a static shape. A set of latents has a
        dict in place of the images: `moments` float32 (b, S, S, 2C), means before standard
        deviations, and on demand `images`, `teacher_cls` float32 (b, F) and `teacher_patches`
        float32 (b, T, F).

    Raises:
        InputError: if a number is out of its range, the batch does not divide, the subset holds
            fewer images than one batch, the set does not hold what is asked for, or a record is
            damaged (when loading; a streamed set raises tf.errors.DataLossError where it is read:
            see `damage_as_input_error`).
    """
    info = dataset_info.load_info(folder)
    wanted = records.choose(info, flip, with_images, with_teacher)
    rows = _worker_rows(batch_size, worker_index, num_workers, replicas)
    if start_step < 0:
        raise InputError(f"start_step={start_step}: it must be at least 0")
    chosen = chosen_images(info, batch_size, subset)
    seed = int(seed) % 2**63  # what stateless draws take
    if _fits_memory(info, subset, memory_limit_bytes):
        columns = _load(info, wanted, chosen)
        steps = ordering.steps_from_memory(columns, batch_size, rows, seed, start_step)
    else:
        steps = ordering.steps_from_disk(
            info, wanted, chosen, batch_size, rows, seed, start_step, memory_limit_bytes
        )

    def example(record, position):
        content = records.batch_content(record, info)
        if flip:
            # Negative, so that no flip shares its seeds with a permutation.
            draw = tf.random.stateless_uniform([], [seed, -1 - position], alg="philox")
            content = tf.cond(draw < 0.5, lambda: tf.reverse(content, [1]), lambda: content)
        return content, records.checked_label(record["label"], info)

    dataset = steps.unbatch()
    dataset = dataset.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(batch_size // (num_workers * replicas), drop_remainder=True)
    options = tf.data.Options()
    options.deterministic = True
    # The stream is this worker's share already.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(tf.data.AUTOTUNE).with_options(options)


def _fits_memory(info, subset, memory_limit_bytes):
    return info.total_bytes * subset <= memory_limit_bytes


def order_of(folder, subset, memory_limit_bytes=MEMORY_LIMIT_BYTES):
    """What the order of a stream depends on beside the seed and the images: text to compare.

    Args:
        folder, subset, memory_limit_bytes: see `make_dataset`.
    """
    info = dataset_info.load_info(folder)
    if _fits_memory(info, subset, memory_limit_bytes):
        return "memory"
    on = ordering.block_size(info, memory_limit_bytes), [shard.records for shard in info.shards]
    return f"shards {hashlib.sha256(repr(on).encode()).hexdigest()}"


def chosen_images(info, batch_size, subset=1.0):
    """What a run learns of a set: int64 array of record indices, see `subset_indices`.

    Args:
        info: DatasetInfo.
        batch_size, subset: see `make_dataset`.

    Raises:
        InputError: if that is fewer images than one batch, or `subset` is not in (0, 1].
    """
    chosen = subset_indices(info.count, subset)
    if len(chosen) < batch_size:
        raise InputError(
            f"subset={subset} of the {info.count} images in {info.folder} is {len(chosen)} "
            f"images, fewer than one batch; batch_size={batch_size} must be at most that"
        )
    return chosen


def iterate_images(folder, batch_size, first=0, count=None):
    """Iterates once over a prepared set in record order, the last partial batch included.

    Args:
        folder: a prepared set of images, or of latents that holds the images too.
        batch_size: int >= 1, images per batch.
        first, count: ints, the position of the first image and how many; None: all from there.

    Yields:
        NumPy arrays: images uint8 (b, R, R, 3) in [0, 255], labels int32 (b,), -1 for none.

    Raises:
        InputError: if the set cannot be read or holds no images, or (while iterating) a record is
            damaged or the set is replaced.
    """
    info = dataset_info.load_info(folder)
    dataset_info.require_images(info)

    def content(record):
        return records.decode_image(record["image"], info.resolution)

    yield from _iterate(info, ("image", "label"), content, batch_size, first, count)


def iterate(folder, batch_size):
    """As `iterate_images`, in place of images what `make_dataset` has: of latents, moments."""
    info = dataset_info.load_info(folder)
    wanted = records.choose(info, flip=False, with_images=False, with_teacher=False)
    yield from _iterate(
        info, wanted, lambda record: records.batch_content(record, info), batch_size
    )


def _iterate(info, fields, content, batch_size, first=0, count=None):
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: it must be at least 1")

    @_as_written
    def parse(serialised):
        record = records.parse(serialised, fields)
        return content(record), records.checked_label(record["label"], info)

    dataset = tf.data.TFRecordDataset(info.shard_paths).skip(first)
    dataset = dataset.take(-1 if count is None else count)
    dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    left = info.count - first if count is None else count
    with reading(info):
        for batch in dataset.batch(batch_size).prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            yield batch
            left -= len(batch[1])
    if left > 0:
        raise InputError(f"{_damage(info.folder)}; copy the set again or prepare it")


def num_images(folder, subset=1.0):
    """Number of images in a prepared set, or in its `subset` (a fraction in (0, 1])."""
    return len(subset_indices(dataset_info.load_info(folder).count, subset))


def subset_indices(count, subset):
    """Chooses round(subset * count) of `count` records, the same ones every time.

    Returns:
        int64 array of record indices, ascending.

    Raises:
        InputError: if `subset` is not in (0, 1].
    """
    if not 0.0 < subset <= 1.0:
        raise InputError(f"subset={subset}: it must be a fraction in (0, 1]")
    order = np.random.RandomState(_SUBSET_SEED).permutation(count)
    return np.sort(order[: round(subset * count)]).astype(np.int64)


@contextlib.contextmanager
def damage_as_input_error(folder):
    """Turns TensorFlow's error for a damaged record of `folder` into one `InputError`.

    Wrap a training loop over a streamed set in it; the other readers here do so themselves. Other
    errors pass: the set is read once more, and only what fails then is its fault.
    """
    try:
        yield
    except _DAMAGE:
        if problem := _damage(folder):
            raise InputError(f"{problem}; copy the set again or prepare it") from None
        raise


@contextlib.contextmanager
def reading(info):
    """As `damage_as_input_error`, for a block that reads a set once, which is then the same set.

    Shards are opened one after another, by name: those of another set that took its place meanwhile
    would be taken for the rest of this one.

    Args:
        info: DatasetInfo, of before.

    Raises:
        InputError: if a record is damaged or the set was replaced.
    """
    try:
        with damage_as_input_error(info.folder):
            yield
    except Exception:  # of whatever the records of another set bring about
        _check_in_place(info)
        raise
    _check_in_place(info)


def check_stream(info, subset, memory_limit_bytes=MEMORY_LIMIT_BYTES):
    """Raises InputError if what is streamed is no longer of the set that it began with.

    Args:
        info: DatasetInfo, of before.
        subset, memory_limit_bytes: see `make_dataset`.
    """
    if not _fits_memory(info, subset, memory_limit_bytes):
        _check_in_place(info)


def _check_in_place(info):
    now = dataset_info.load_info(info.folder)
    if (now.content_sha256, now.shards) != (info.content_sha256, info.shards):
        raise InputError(
            f"{info.folder}: another set took its place while it was read; start again"
        )


def _damage(folder):
    """What is wrong with the records of a set, in words; None if all can be read."""
    info = dataset_info.load_info(folder)
    fields = records.all_fields(info)

    @_as_written
    def read(serialised):
        record = records.parse(serialised[None], fields)
        record = {name: column[0] for name, column in record.items()}
        return records.batch_content(record, info), records.checked_label(record["label"], info)

    for path, shard in zip(info.shard_paths, info.shards, strict=True):
        number = 0
        try:
            for _ in tf.data.TFRecordDataset(path).map(read):
                number += 1
        except _DAMAGE as error:
            why = reason(error).rpartition("}} ")[2]  # behind the name of a node
            return f"{path}: record {number} is damaged ({why})"
        if number != shard.records:
            return f"{path}: {number} records, but {dataset_info.INFO_NAME} says {shard.records}"
    return None


def _worker_rows(batch_size, worker_index, num_workers, replicas):
    """The rows (first, last + 1) of each global batch that this worker takes."""
    for name, value in (
        ("batch_size", batch_size),
        ("num_workers", num_workers),
        ("replicas", replicas),
    ):
        if value < 1:
            raise InputError(f"{name}={value}: it must be at least 1")
    if not 0 <= worker_index < num_workers:
        raise InputError(f"worker_index={worker_index}: it must be from 0 to {num_workers - 1}")
    if batch_size % (num_workers * replicas):
        raise InputError(
            f"batch_size={batch_size}: it must be a multiple of the {num_workers} workers x "
            f"{replicas} replicas"
        )
    share = batch_size // num_workers
    return worker_index * share, (worker_index + 1) * share


def _load(info, wanted, chosen):
    """Reads the chosen records: dict, field -> tensor (n,), as `records.parse` returns it.

    Others are not kept while it reads: what is chosen may be a small part of a large set.
    """
    is_chosen = np.zeros(info.count, bool)
    is_chosen[chosen] = True
    dataset = tf.data.TFRecordDataset(info.shard_paths, num_parallel_reads=1).batch(4096)
    parts, count = [], 0
    with reading(info):
        for serialised in dataset.as_numpy_iterator():
            kept = serialised[np.flatnonzero(is_chosen[count : count + len(serialised)])]
            count += len(serialised)
            parts.append({k: v.numpy() for k, v in records.parse(kept, wanted).items()})
    if count != info.count:
        raise InputError(f"{_damage(info.folder)}; copy the set again or prepare it")
    columns = {field: np.concatenate([part[field] for part in parts]) for field in wanted}
    with tf.device("CPU"):
        return {field: tf.constant(column) for field, column in columns.items()}
