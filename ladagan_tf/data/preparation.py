"""Converts a source into a prepared set, over several processes and all or nothing."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import fcntl
import hashlib
import itertools
import multiprocessing
import os
import pathlib
import shutil
import sys
import types

import tensorflow as tf
import tqdm

from ladagan_tf.data import listing, records, sources
from ladagan_tf.data.conversion import Conversion, convert_items, end_with_parent
from ladagan_tf.data.records import Shard
from ladagan_tf.data.source import TFDS_PREFIX, printable
from ladagan_tf.errors import InputError
from ladagan_tf.hardware import usable_cores

_ITEMS_PER_TASK = 32
# Below this, starting processes takes longer than converting in this one.
_SMALL = 2_000


def prepare(
    source,
    out,
    *,
    resolution,
    crop="centre",
    background=(255, 255, 255),
    resize_filter="lanczos",
    min_side=None,
    skip_bad=False,
    workers=None,
    shards=None,
    data_dir=None,
    seed=0,
    num_images=10_000,
    split=None,
    encoding=None,
):
    """Converts `source` into the prepared set `out`, unless `out` already is exactly that.

    Everything is written into a hidden folder beside `out`, which is renamed at the end: an
    interrupted run leaves nothing that looks finished, and the next one clears what it left. Of
    two processes that prepare the same folder, the second waits and then finds it finished.

    Args:
        source, data_dir, seed, num_images, split: see `sources.open_source`; `seed` and
            `num_images` are for `shapes` only.
        out: path of the folder to make.
        resolution, crop, background, resize_filter, min_side: see `conversion.Conversion`.
        skip_bad: whether to leave out, and list, images that are broken or too small; otherwise
            the first one stops the run.
        workers: number of processes; None is one per core, or this process alone for a small
            source.
        shards: number of files; None starts a new one every 64 MiB.
        encoding: `latents.Encoding`, to store latents of the images; None stores the images.

    Returns:
        `records.DatasetInfo`.

    Raises:
        InputError: for unusable arguments, sources or images, or if `out` holds something else.
    """
    conversion = Conversion(resolution, crop, tuple(background), resize_filter, min_side)

    def open_images():
        return sources.open_source(
            source,
            resolution=resolution,
            data_dir=data_dir,
            seed=seed,
            num_images=num_images,
            split=split,
        )

    drawn = source == sources.SHAPES
    preparation = records.Preparation(
        source=source,
        crop=crop,
        resize_filter=resize_filter,
        background=conversion.background,
        min_side=conversion.min_side,
        skip_bad=skip_bad,
        seed=seed if drawn else None,
        num_images=num_images if drawn else None,
    )
    if not (drawn or source.startswith(TFDS_PREFIX)):
        images = open_images()
        preparation = dataclasses.replace(
            preparation, source=printable(absolute(source)), split=images.split
        )
        return prepare_from(lambda: images, out, conversion, preparation, encoding, workers, shards)
    return prepare_from(open_images, out, conversion, preparation, encoding, workers, shards)


def prepare_from(open_images, out, conversion, preparation, encoding, workers=None, shards=None):
    """As `prepare`, of an already chosen source.

    Args:
        open_images: function of no arguments that returns a `source.Source`.
        out, encoding, workers, shards: see `prepare`.
        conversion: `conversion.Conversion`.
        preparation: `records.Preparation`, what is recorded of where the images are from.

    Returns:
        `records.DatasetInfo`.

    Raises:
        InputError: as `prepare`.
    """
    for name, value in (("workers", workers), ("shards", shards)):
        if value is not None and value < 1:
            raise InputError(f"{name}={value}: it must be at least 1")
    resolution, latents = conversion.resolution, encoding and encoding.latents
    out = pathlib.Path(absolute(out))
    if finished := _finished(out, resolution, preparation, latents):
        return finished
    out.parent.mkdir(parents=True, exist_ok=True)
    with _hidden_folder(out) as folder:
        if finished := _finished(out, resolution, preparation, latents):
            return finished
        images = open_images()
        if images.left_out:
            print(f"source={preparation.source}: {listing.describe(images.left_out)}", flush=True)
        if shards is not None and shards > images.count:
            raise InputError(f"shards={shards}: it must be at most the {images.count} images")
        if workers is None:
            workers = 1 if images.count < _SMALL else usable_cores()
        writer, skipped = ShardWriter(folder, images.count, shards), []
        with contextlib.closing(_converted(images, conversion, workers)) as converted:
            usable = _usable(converted, images.count, preparation.skip_bad, skipped)
            labelled = encoding.records(usable) if encoding else _image_records(usable)
            counts, digest = _write(labelled, writer)
        if not counts:
            raise InputError(
                f"source={preparation.source}: none of its {images.count} images is usable"
            )
        info = records.DatasetInfo(
            folder=folder,
            count=sum(counts.values()),
            resolution=resolution,
            channels=3,
            classes=images.classes,
            class_counts=tuple(counts[label] for label in range(len(images.classes))),
            preparation=preparation,
            skipped=tuple(skipped),
            content_sha256=digest,
            shards=writer.close(),
            latents=encoding and encoding.summary(),
            left_out=images.left_out,
        )
        records.write_info(info)
        os.rename(folder, out)
    return records.load_info(out)


def absolute(path):
    """A path as it is recorded: str, absolute and without links."""
    return str(pathlib.Path(path).expanduser().resolve())


def _finished(out, resolution, preparation, latents):
    """The finished set at `out`; None if there is nothing; InputError if it is another set."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / records.INFO_NAME).is_file():
        raise InputError(f"out={out}: it exists and is not a prepared set; choose another folder")
    info = records.load_info(out)
    wanted = _identity(resolution, preparation, latents)
    found = _identity(info.resolution, info.preparation, info.latents)
    for name, value in wanted.items():
        if found.get(name) != value:
            raise InputError(
                f"out={out}: it holds a set with {name}={found[name]}, not {name}={value}; "
                "choose another folder or remove it"
            )
    print(f"{out} is already prepared: {info.count} images", flush=True)
    return info


def _identity(resolution, preparation, latents):
    """What two sets must have in common to be the same, by the names of flags where there are."""
    common = {"latents": latents is not None, "resolution": resolution} | vars(preparation)
    return common | (latents.identity() if latents else {})


@contextlib.contextmanager
def _hidden_folder(out):
    """Yields an empty folder beside `out` that only this process uses; removes it on failure.

    The lock is on the folder itself and ends with the process, however it ends, so what a killed
    run left behind is told apart from a run still going on, which is waited for.
    """
    folder = out.parent / f".{out.name}.preparing"
    handle = None
    while handle is None:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
        handle = _locked(folder)
    try:
        for entry in folder.iterdir():
            entry.unlink()
        yield folder
    finally:
        if _is_at(handle, folder):  # not renamed
            shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _locked(folder):
    """Waits for the lock on `folder`: an open descriptor, or None if the folder went meanwhile."""
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    fcntl.flock(handle, fcntl.LOCK_EX)
    if _is_at(handle, folder):
        return handle
    os.close(handle)  # another process finished it or gave it up
    return None


def _is_at(handle, folder):
    """Whether the folder open as `handle` is still the one at the path `folder`."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(folder))
    except FileNotFoundError:
        return False


def _usable(converted, count, skip_bad, skipped):
    """Yields the usable ones; the others are appended to `skipped` or raise InputError."""
    # `disable=None`: no bar where stderr is a log file.
    progress = tqdm.tqdm(converted, total=count, unit="image", desc="preparing", disable=None)
    for image in progress:
        if not image.problem:
            yield image
        elif skip_bad:
            skipped.append(records.Skipped(image.name, image.problem))
        else:
            progress.close()
            raise InputError(f"{image.name}: {image.problem}; skip_bad leaves such images out")


def _image_records(usable):
    """Yields a label, a serialised record and a digest of its content for every `Converted`."""
    for image in usable:
        record = records.serialise(image.label, image.name, {"image": image.png})
        yield image.label, record, image.digest


def _write(labelled, writer):
    """Writes records; returns the count per label and the content digest."""
    counts, content = collections.Counter(), hashlib.sha256()
    for label, record, digest in labelled:
        writer.write(record)
        content.update(digest)
        counts[label] += 1
    return counts, content.hexdigest()


def _converted(images, conversion, workers):
    """Yields a `Converted` for every item, in order."""
    tasks = _batched(images.items(), _ITEMS_PER_TASK)
    if workers == 1:
        for task in tasks:
            yield from convert_items(images.read, conversion, task)
        return
    # Spawned, because TensorFlow's threads in this process do not survive a fork.
    pool = concurrent.futures.ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=end_with_parent
    )
    try:
        # Only a few tasks ahead: a task may carry encoded images.
        pending = collections.deque()
        for task in tasks:
            with _no_main_module():
                pending.append(pool.submit(convert_items, images.read, conversion, task))
            if len(pending) > 4 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
    except concurrent.futures.process.BrokenProcessPool:
        raise InputError(
            f"workers={workers}: a worker process died, perhaps out of memory; try fewer"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _no_main_module():
    """Processes that are spawned within it do not import this process's main module.

    They need nothing from it, and a command's imports TensorFlow: 3 s of each worker's time.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _batched(items, size):
    items = iter(items)
    while batch := list(itertools.islice(items, size)):
        yield batch


# Large enough for fast sequential reads, small enough that a set too large for memory has many
# shards to interleave.
_AUTO_SHARD_BYTES = 64 * 2**20


class ShardWriter:
    """Writes records to consecutive shards `records-00000.tfrecord`, ... of a folder.

    The shards are complete once `close` has returned; `records.write_info` comes after that, so a
    folder with a `dataset.json` is a finished one.

    Args:
        folder: existing pathlib.Path.
        count: int, number of records expected.
        shards: number of shards, at most `count`, of equal record counts (the last ones have fewer
            if fewer records come); None starts a new shard every 64 MiB.
    """

    def __init__(self, folder, count, shards=None):
        self._folder = folder
        self._count = count
        self._num_shards = shards
        self._total = 0  # records, over all shards
        self._shards = []
        self._writer = None  # of the shard being written, with its path, payload bytes and records
        self._path = None
        self._bytes = 0
        self._records = 0

    def write(self, record):
        """Appends one serialised record, bytes."""
        if self._writer is None:
            name = f"records-{len(self._shards):05d}.tfrecord"
            self._path = self._folder / name
            self._writer = tf.io.TFRecordWriter(str(self._path))
        self._writer.write(record)
        self._total += 1
        self._records += 1
        self._bytes += len(record)
        if self._num_shards is None:
            full = self._bytes >= _AUTO_SHARD_BYTES
        else:
            full = self._total >= (len(self._shards) + 1) * self._count // self._num_shards
        if full:
            self._finish_shard()

    def close(self):
        """Finishes the last shard.

        Returns:
            Tuple of `Shard`.
        """
        if self._writer is not None:
            self._finish_shard()
        return tuple(self._shards)

    def _finish_shard(self):
        self._writer.close()
        size = self._path.stat().st_size
        self._shards.append(Shard(self._path.name, size, self._records))
        self._writer, self._bytes, self._records = None, 0, 0
