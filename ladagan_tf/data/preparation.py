"""Converts a source into a prepared set, over several processes and all or nothing."""

import collections
import contextlib
import dataclasses
import functools
import hashlib
import os
import pathlib
import shutil
import sys

from ladagan_tf import files
from ladagan_tf.data import corruption, dataset_info, listing, record_making, sources, unfinished
from ladagan_tf.data.conversion import Conversion
from ladagan_tf.data.source import TFDS_PREFIX, printable
from ladagan_tf.errors import InputError
from ladagan_tf.hardware import usable_cores
from ladagan_tf.progress import progress_bar

# Below this, starting processes takes longer than converting in this one.
_SMALL = 2_000
# So many unusable images are no accident: the rest need not be waited for, nor named.
_MOST_BAD = 1_000
_MOST_WORKERS = 1_024
MOST_LISTED = 100  # of unusable images, in what is printed


@dataclasses.dataclass(frozen=True)
class Making:
    """How a set is made, whatever it is of.

    Args:
        workers: number of processes; None is one per core, or this process alone for a small
            source.
        shards: number of files; None starts a new one every 64 MiB.
        overwrite: whether another prepared set in its place, damaged or not, is replaced.
        encoding: `latents.Encoding`, to store latents of the images; None stores the images.
        part: `unfinished.Part`, to convert only that and put it beside the set; None converts all.
        merge: whether to take over the parts beside the set that were made so.

    Raises:
        InputError: for unusable numbers.
    """

    workers: int | None = None
    shards: int | None = None
    overwrite: bool = False
    encoding: object = None
    part: object = None
    merge: bool = False

    def __post_init__(self):
        for name in ("workers", "shards"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value}: it must be at least 1")
        if self.workers is not None and self.workers > _MOST_WORKERS:
            raise InputError(f"workers={self.workers}: it must be at most {_MOST_WORKERS}")


def prepare(
    source,
    out,
    *,
    resolution,
    crop="centre",
    background=(255, 255, 255),
    resize_filter=None,
    min_side=None,
    skip_bad=False,
    data_dir=None,
    seed=0,
    num_images=10_000,
    split=None,
    num_classes=None,
    corrupt=(),
    corrupt_seed=0,
    **making,
):
    """Converts `source` into the prepared set `out`, unless `out` already is exactly that.

    Everything is written into a hidden folder beside `out`, which is renamed at the end: an
    interrupted run leaves nothing that looks finished. Complete shards stay in that folder, and the
    next run of the same goes on from them. Of two processes that prepare the same folder, the
    second waits and then finds it finished.

    Args:
        source, data_dir, seed, num_images, split, num_classes: see `sources.open_source`; `seed`
            and `num_images` are for `shapes` only.
        out: path of the folder to make.
        resolution, crop, background, resize_filter, min_side: see `conversion.Conversion`.
        skip_bad: whether to leave out, and list, images that are broken or too small; otherwise
            they are listed once all others are converted, and there is no set.
        corrupt: list of str, how the images are damaged on purpose, see `corruption.parse`.
        corrupt_seed: int >= 0, of which images and how.
        **making: see `Making`.

    Returns:
        `dataset_info.DatasetInfo`; None of a part.

    Raises:
        InputError: for unusable arguments, sources or images, or if `out` holds something else or
            is a mount point, which nothing can be renamed to.
    """
    making = Making(**making)
    conversion = Conversion(resolution, crop, tuple(background), resize_filter, min_side)
    kinds = corruption.parse(corrupt)

    @functools.cache
    def open_images():
        images = sources.open_source(
            source,
            resolution=resolution,
            data_dir=data_dir,
            seed=seed,
            num_images=num_images,
            split=split,
            num_classes=num_classes,
        )
        return corruption.corrupted(images, kinds, corrupt_seed)

    drawn = source == sources.SHAPES
    named = drawn or source.startswith(TFDS_PREFIX)
    preparation = dataset_info.Preparation(
        source=source if named else printable(absolute(source)),
        crop=crop,
        resize_filter=conversion.resize_filter,
        background=conversion.background,
        min_side=conversion.min_side,
        skip_bad=skip_bad,
        seed=seed if drawn else None,
        num_images=num_images if drawn else None,
        num_classes=num_classes,
        corrupt=corruption.in_words(kinds) or None,
        corrupt_seed=corrupt_seed if kinds else None,
    )
    if not named and os.path.exists(absolute(source)):
        # Files can change, so a finished set is compared with those that are there now.
        preparation = dataclasses.replace(
            preparation, split=open_images().split, files_sha256=open_images().files_sha256()
        )
    return prepare_from(open_images, out, conversion, preparation, making)


def prepare_from(open_images, out, conversion, preparation, making):
    """As `prepare`, of an already chosen source.

    Args:
        open_images: function of no arguments that returns a `source.Source`.
        out: see `prepare`.
        conversion: `conversion.Conversion`.
        preparation: `dataset_info.Preparation`, what is recorded of where the images are from.
        making: `Making`.

    Returns:
        As `prepare`.

    Raises:
        InputError: as `prepare`.
    """
    encoding, shards = making.encoding, making.shards
    wanted = _identity(conversion.resolution, preparation, encoding and encoding.latents)
    out = pathlib.Path(absolute(out))
    if not files.is_utf8(str(out)):
        raise InputError(f"out={printable(str(out))}: the names of folders must be UTF-8")
    if finished := _finished(out, wanted, making.overwrite, preparation.source):
        return finished
    files.refuse_mount(out)
    images = open_images()
    if images.left_out:
        print(f"source={preparation.source}: {listing.describe(images.left_out)}", flush=True)
    if shards is not None and shards > images.count:
        raise InputError(f"shards={shards}: it must be at most the {images.count} images")
    if making.workers is None:
        workers = 1 if images.count < _SMALL else usable_cores()
        making = dataclasses.replace(making, workers=workers)
    # Whether files have changed is told file by file, by their stamps.
    same = {name: wanted[name] for name in wanted if name not in ("files_sha256", "skip_bad")}
    same["shards"] = shards
    if making.part:
        _make_part(images, out, same, conversion, preparation, making)
        return None
    with unfinished.hidden_folder(out) as folder:
        if finished := _finished(out, wanted, making.overwrite, preparation.source):
            return finished
        parts = unfinished.gather(out, folder, same) if making.merge else []
        kept = unfinished.Kept(folder, same)
        writer = unfinished.ShardWriter(folder, images.count, shards)
        info = _make(images, kept, writer, conversion, preparation, making)
        with files.writing(out):  # whatever fails here, all shards stay with their lists
            kept.forget()
            dataset_info.write_info(dataclasses.replace(info, folder=folder))
            _put(folder, out, preparation.source)
        unfinished.forget_lists(out)
    for path in parts:
        shutil.rmtree(path, ignore_errors=True)
    return dataset_info.load_info(out)


def _make_part(images, out, identity, conversion, preparation, making):
    """Makes a part of a set beside `out`, unless it is there."""
    place = making.part.folder(out)
    files.refuse_mount(place)
    mine = making.part.of(images, making.encoding.batch if making.encoding else 1)
    with unfinished.hidden_folder(place) as folder:
        if unfinished.is_part(place, identity):
            print(f"{place} is already prepared: {mine.count} of {images.count} images", flush=True)
            return
        kept = unfinished.Kept(folder, identity)
        writer = unfinished.ShardWriter(folder, mine.count)
        for _ in _usable(mine, kept, writer, conversion, preparation, making, []):
            pass
        writer.close()
        with files.writing(place):
            kept.forget()
            folder.rename(place)


def _usable(images, kept, writer, conversion, preparation, making, bad):
    """Yields the usable records once they are written; lists the first of the others in `bad`.

    Raises InputError at the end if there are any and they are not skipped, or once they are many.
    """
    written = _written(images, kept, writer, conversion, preparation, making)
    with contextlib.closing(written):
        for record in written:
            if not record.problem:
                yield record
                continue
            if len(bad) < _MOST_BAD:
                bad.append(dataset_info.Skipped(record.name, record.problem))
            if len(bad) == _MOST_BAD and not preparation.skip_bad:
                break
    if bad and not preparation.skip_bad:
        writer.close()
        raise _unusable(bad, images.count, preparation.source)


def _written(images, kept, writer, conversion, preparation, making):
    """Yields every record of `images` once it is written, those taken over first."""
    adopted, items = kept.adopt(images.items(), writer, preparation.skip_bad)
    yield from adopted
    entries = record_making.entries(items, images.read, conversion, making.workers, kept)
    progress = progress_bar(images.count, "image", "preparing", initial=len(adopted))
    with progress, contextlib.closing(entries):
        for record in record_making.records_of(entries, making.encoding):
            writer.write(record)
            progress.update()
            yield record


def _make(images, kept, writer, conversion, preparation, making):
    """Writes all records; returns the set's `dataset_info.DatasetInfo`, without its folder."""
    counts, content, bad = collections.Counter(), hashlib.sha256(), []
    usable = _usable(images, kept, writer, conversion, preparation, making, bad)
    with contextlib.closing(usable):
        for record in usable:
            counts[record.label] += 1
            content.update(bytes.fromhex(record.digest))
            if making.encoding:
                making.encoding.add(record.sums)
    if not counts:
        raise InputError(
            f"source={preparation.source}: none of its {images.count} images is usable"
        )
    # It may refuse what the last shard would complete.
    latents = making.encoding and making.encoding.summary()
    count = counts.total()
    return dataset_info.DatasetInfo(
        folder=None,
        count=count,
        resolution=conversion.resolution,
        channels=3,
        classes=images.classes,
        class_counts=tuple(counts[label] for label in range(len(images.classes))),
        preparation=preparation,
        skipped=tuple(bad),
        skipped_more=images.count - count - len(bad),
        content_sha256=content.hexdigest(),
        shards=writer.close(),
        latents=latents,
        left_out=images.left_out,
    )


def _unusable(bad, count, source):
    """The error about images that cannot be used, after a line about each."""
    for image in bad[:MOST_LISTED]:
        print(f"unusable {image.name}: {image.reason}", file=sys.stderr)
    if len(bad) > MOST_LISTED:
        print(f"unusable: {len(bad) - MOST_LISTED} more", file=sys.stderr)
    first = f"{bad[0].name}: {bad[0].reason}"
    stopped = " (stopped there)" if len(bad) == _MOST_BAD else ""
    return InputError(
        f"source={source}: {len(bad)} of {count} images are unusable{stopped}, as {first}; mend or "
        "remove them and run the same again, which keeps the others, or add --skip_bad"
    )


def absolute(path):
    """A path as it is recorded: str, absolute and without links."""
    return os.path.realpath(os.path.expanduser(path))


def _finished(out, wanted, overwrite, source):
    """The finished set at `out`; None if it is to be made; InputError if another one is there."""
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    if not (out / dataset_info.INFO_NAME).is_file():
        raise InputError(f"out={out}: it exists and is not a prepared set; choose another folder")
    try:
        info = dataset_info.load_info(out)
        _check_same(out, info, wanted)
    except InputError:
        if not overwrite:
            raise
        _check_replaceable(out, source)
        return None
    print(f"{out} is already prepared: {info.count} images", flush=True)
    return info


def _check_replaceable(out, source):
    """Raises InputError unless all that is in `out` is of a set, whole or not, and not of `source`.

    What replaces a set deletes the folder: another program's has a `dataset.json`, too.
    """
    if os.path.isabs(source) and os.path.commonpath([source, out]) == str(out):
        raise InputError(
            f"out={out}: source={source} lies there, so it is not replaced; choose another folder"
        )
    if other := unfinished.foreign(out):
        raise InputError(
            f"out={out}: {other} in it is of no prepared set, so it is not replaced; choose "
            "another folder"
        )
    if not any(out.glob("records-*")) and not dataset_info.is_info(out / dataset_info.INFO_NAME):
        raise InputError(
            f"out={out}: its {dataset_info.INFO_NAME} is another program's, so it is not replaced; "
            "choose another folder"
        )


def _check_same(out, info, wanted):
    """Raises InputError if a finished set is not of the wanted `_identity`."""
    found = _identity(info.resolution, info.preparation, info.latents)
    if "images_sha256" in wanted:  # where they came from does not matter
        ignored = {"source", "files_sha256", "split"}
    else:
        known = found["files_sha256"] and wanted["files_sha256"]
        ignored = {"source"} if known else {"files_sha256", "split"}
    if not info.skipped:
        ignored.add("skip_bad")
    for name in wanted:
        if name not in {*ignored, "files_sha256"} and found.get(name) != wanted[name]:
            raise InputError(
                f"out={out}: it holds a set with {name}={found.get(name)}, not {name}="
                f"{wanted[name]}; choose another folder, or add --overwrite to replace it"
            )
    if "files_sha256" not in ignored and found["files_sha256"] != wanted["files_sha256"]:
        raise InputError(
            f"out={out}: its {info.count} images were made of other files than source="
            f"{wanted['source']} holds now; choose another folder, or add --overwrite to replace it"
        )


def _identity(resolution, preparation, latents):
    """What two sets must have in common to be the same, by the names of flags where there are."""
    common = {"latents": latents is not None, "resolution": resolution} | vars(preparation)
    return common | (latents.identity() if latents else {})


def _put(folder, out, source):
    """Renames a finished folder to `out`; a set that is there goes, but not before."""
    replaced = out.with_name(f".{out.name}.replaced")
    occupied = out.is_dir() and any(out.iterdir())
    if occupied:
        _check_replaceable(out, source)  # again: converting takes long
        _delete_set(replaced, source)
    try:
        if occupied:
            out.rename(replaced)
        folder.rename(out)
    except BaseException:
        if replaced.exists() and not out.exists():
            replaced.rename(out)
        raise
    # That of a start that was killed between the two as well, if it is one.
    with contextlib.suppress(OSError, InputError):
        _delete_set(replaced, source)


def _delete_set(folder, source):
    """Deletes a folder, if it is there and `_check_replaceable` has nothing against it."""
    if folder.exists():
        _check_replaceable(folder, source)
        shutil.rmtree(folder)
