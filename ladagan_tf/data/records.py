"""What a prepared set is on disk: TFRecord shards and the `dataset.json` that describes them.

The only place that knows how a record is laid out and what `dataset.json` holds.
"""

import dataclasses
import json
import pathlib

import tensorflow as tf

from ladagan_tf import files
from ladagan_tf.errors import InputError

FORMAT_VERSION = 1
INFO_NAME = "dataset.json"
# Large enough for fast sequential reads, small enough that a set too large for memory has many
# shards to interleave.
_AUTO_SHARD_BYTES = 64 * 2**20

_IMAGE_FEATURES = {
    "image": tf.io.FixedLenFeature([], tf.string),  # PNG, uint8, RGB
    "label": tf.io.FixedLenFeature([], tf.int64),  # -1 = none
    "name": tf.io.FixedLenFeature([], tf.string),  # UTF-8, where the image came from
}


def serialise_image(png, label, name):
    """Serialises one image record.

    Args:
        png: bytes of an 8-bit RGB PNG.
        label: int, -1 for none.
        name: str, where the image came from.

    Returns:
        bytes.
    """
    feature = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[png])),
        "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
        "name": tf.train.Feature(bytes_list=tf.train.BytesList(value=[name.encode()])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def parse_images(serialised):
    """Parses a string tensor (n,) of image records.

    Returns:
        Dict of `image` (n,) string, still PNG; `label` (n,) int64; `name` (n,) string.
    """
    return tf.io.parse_example(serialised, _IMAGE_FEATURES)


def decode_image(png, resolution):
    """Decodes one PNG (a scalar string tensor) to uint8 (resolution, resolution, 3) in [0, 255]."""
    return tf.ensure_shape(tf.io.decode_png(png, channels=3), [resolution, resolution, 3])


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name within the set's folder, size in bytes, and record count."""

    name: str
    bytes: int
    records: int


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A source image left out, and why."""

    name: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Preparation:
    """What a set was made of and how; two sets with equal preparations are the same set.

    Attributes:
        source: as `sources.open_source` takes it; paths are absolute.
        crop, resize_filter, background, min_side: see `conversion.Conversion`.
        skip_bad: whether unusable images were left out rather than refused.
        seed, num_images: of `shapes`; None for every other source.
    """

    source: str
    crop: str
    resize_filter: str
    background: tuple[int, int, int]
    min_side: int
    skip_bad: bool
    seed: int | None
    num_images: int | None


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A prepared set, as its `dataset.json` describes it.

    Attributes:
        folder: pathlib.Path that holds the set.
        count: number of images.
        resolution: side in pixels.
        channels: 3.
        classes: tuple of class names that labels index; empty for a set without labels.
        class_counts: images per class.
        preparation: `Preparation`.
        skipped: tuple of `Skipped`.
        content_sha256: hex digest over decoded pixels and labels in record order.
        shards: tuple of `Shard`, in record order.
    """

    folder: pathlib.Path
    count: int
    resolution: int
    channels: int
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    preparation: Preparation
    skipped: tuple[Skipped, ...]
    content_sha256: str
    shards: tuple[Shard, ...]

    @property
    def shard_paths(self):
        """List of str, the shards' paths in record order."""
        return [str(self.folder / shard.name) for shard in self.shards]

    @property
    def total_bytes(self):
        """Size of all encoded records in bytes."""
        return sum(shard.bytes for shard in self.shards)


def write_info(info):
    """Writes `info` to the `dataset.json` of its folder, atomically."""
    content = {"format_version": FORMAT_VERSION, **dataclasses.asdict(info)}
    del content["folder"]  # a prepared set may be moved
    files.write_text(info.folder / INFO_NAME, json.dumps(content, indent=1) + "\n")


def load_info(folder):
    """Reads and checks the description of a prepared set.

    Args:
        folder: path of the prepared set.

    Returns:
        `DatasetInfo`, whose shards exist and have the recorded sizes.

    Raises:
        InputError: if the folder is missing, empty or not a prepared set; if its `dataset.json`
            is unreadable or of another version; or if a shard is missing or of another size.
    """
    folder = pathlib.Path(folder)
    path = folder / INFO_NAME
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; expected a set made by ladagan_tf.prepare")
    if not path.is_file():
        held = "has no" if any(folder.iterdir()) else "is empty, so it has no"
        raise InputError(
            f"{folder}: the folder {held} {INFO_NAME}; expected a set made by ladagan_tf.prepare"
        )
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        version = content.pop("format_version")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: not a readable {INFO_NAME} ({error})") from None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format_version {version!r}; this code reads {FORMAT_VERSION}, prepare again"
        )
    try:
        info = _info_from(folder, content)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: a field is missing or malformed ({error})") from None
    _check_shards(info)
    return info


def _info_from(folder, content):
    preparation = dict(content["preparation"])
    preparation["background"] = tuple(preparation["background"])
    content = content | {
        "folder": folder,
        "classes": tuple(content["classes"]),
        "class_counts": tuple(content["class_counts"]),
        "preparation": Preparation(**preparation),
        "skipped": tuple(Skipped(**entry) for entry in content["skipped"]),
        "shards": tuple(Shard(**entry) for entry in content["shards"]),
    }
    return DatasetInfo(**content)


def _check_shards(info):
    for shard in info.shards:
        path = info.folder / shard.name
        if not path.is_file():
            raise InputError(f"{path}: this shard is missing; copy the set again or prepare it")
        size = path.stat().st_size
        if size != shard.bytes:
            raise InputError(
                f"{path}: {size} bytes, but {INFO_NAME} says {shard.bytes}; the shard is "
                "truncated or replaced: copy the set again or prepare it"
            )


class ShardWriter:
    """Writes records to consecutive shards `records-00000.tfrecord`, ... of a folder.

    The shards are complete once `close` has returned; `write_info` comes after that, so a folder
    with a `dataset.json` is a finished one.

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
