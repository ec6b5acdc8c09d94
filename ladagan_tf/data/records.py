"""What a prepared set is on disk: TFRecord shards and the `dataset.json` that describes them.

The only place that knows how a record is laid out and what `dataset.json` holds.
"""

import dataclasses
import itertools
import json
import math
import pathlib
import re
import struct
import types
import typing

import tensorflow as tf

from ladagan_tf import files
from ladagan_tf.data.source import LeftOut
from ladagan_tf.errors import InputError, reason
from ladagan_tf.untrusted import read_json

FORMAT_VERSION = 1
INFO_NAME = "dataset.json"
RECORD_BYTES = 16  # of a TFRecord, beside its content

# Every field a record may have. Strings of numbers are little-endian, in C order.
_FIELDS = {
    "label": tf.io.FixedLenFeature([], tf.int64),  # -1 = none
    "name": tf.io.FixedLenFeature([], tf.string),  # UTF-8, where the image came from
    "image": tf.io.FixedLenFeature([], tf.string),  # PNG, uint8, RGB
    # Of latents only:
    "image_sha256": tf.io.FixedLenFeature([], tf.string),  # hex digest of the decoded pixels
    "moments": tf.io.FixedLenFeature([], tf.string),  # (S, S, 2C): mean, standard deviation
    "teacher_cls": tf.io.FixedLenFeature([], tf.string),  # float16 (F,)
    "teacher_patches": tf.io.FixedLenFeature([], tf.string),  # float16 (T, F)
}


def serialise(label, name, data):
    """Serialises one record.

    Args:
        label: int, -1 for none.
        name: str, where the image came from.
        data: dict, field -> bytes: `image` (an 8-bit RGB PNG) or those of latents.

    Returns:
        bytes.
    """
    feature = {
        field: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        for field, value in (data | {"name": name.encode()}).items()
    }
    feature["label"] = tf.train.Feature(int64_list=tf.train.Int64List(value=[label]))
    example = tf.train.Example(features=tf.train.Features(feature=feature))
    return example.SerializeToString(deterministic=True)


def parse(serialised, fields):
    """Parses the named fields of a string tensor (n,) of records.

    Returns:
        Dict, field -> tensor (n,): `label` int64, all others strings, still encoded.
    """
    return tf.io.parse_example(serialised, {field: _FIELDS[field] for field in fields})


def decode_image(png, resolution):
    """Decodes one PNG (a scalar string tensor) to uint8 (resolution, resolution, 3) in [0, 255]."""
    # Of any other size, it would be unpacked before anybody sees how large it is.
    start = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", resolution, resolution)
    right = tf.equal(tf.strings.substr(png, 0, len(start)), start)
    words = f"not a PNG of {resolution} x {resolution} pixels"
    with tf.control_dependencies([tf.debugging.Assert(right, [words])]):
        return tf.ensure_shape(tf.io.decode_png(png, channels=3), [resolution, resolution, 3])


def decode_moments(data, latents):
    """Decodes the moments of one record (a scalar string tensor) to float32 (S, S, 2C)."""
    return _decode_floats(data, latents.dtype, [latents.size, latents.size, 2 * latents.channels])


def decode_teacher(cls, patches, latents):
    """Decodes the teacher's features of one record to float32 (F,) and (T, F)."""
    tokens, features = latents.teacher["tokens"], latents.teacher["features"]
    return (
        _decode_floats(cls, "float16", [features]),
        _decode_floats(patches, "float16", [tokens, features]),
    )


def _decode_floats(data, dtype, shape):
    return tf.cast(tf.reshape(tf.io.decode_raw(data, tf.as_dtype(dtype)), shape), tf.float32)


@dataclasses.dataclass(frozen=True)
class Record:
    """One item of a source as a record, or the problem that kept it from being one.

    Attributes:
        name, stamp: see `source.Item`.
        label: int, -1 for none.
        problem: str, why the item cannot be used; "" if it can.
        digest: hex digest of its content.
        sums: plain values that are added up over a set, of latents.
        data: bytes, as `serialise` returns them.
    """

    name: str
    stamp: str
    label: int
    problem: str = ""
    digest: str = ""
    sums: tuple = ()
    data: bytes = b""


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
        split: the folder of several splits that was taken; None without splits.
        num_classes: as it was asked for, see `sources.numbered_classes`.
        files_sha256: hex digest over names and stamps of the source's files; None where the source
            is no files.
    """

    source: str
    crop: str
    resize_filter: str
    background: tuple[int, int, int]
    min_side: int
    skip_bad: bool
    seed: int | None
    num_images: int | None
    split: str | None = None
    num_classes: int | None = None
    files_sha256: str | None = None


@dataclasses.dataclass(frozen=True)
class Latents:
    """What the records of a set of latents hold, and whose latents they are.

    Attributes:
        size: S, side of the latents in values.
        channels: C.
        dtype: `float16` or `float32`, of the stored moments.
        vae: name of the published autoencoder, or absolute path of its file.
        vae_sha256: hex digest of all of its tensors.
        encoder_sha256: that of the encoder's tensors and quant_conv's: published autoencoders that
            share them make the same latents.
        scaling_factor: latents are multiplied by it before a network sees them.
        images: whether records hold the images too.
        teacher: None, or a dict of plain values that describes the stored features of a teacher;
            `features` is their width F and `tokens` the number of patches T.
        images_sha256: the `content_sha256` that a set of these images has.
        std: standard deviation of scaled samples, over all images, positions and channels.
    """

    size: int
    channels: int
    dtype: str
    vae: str
    vae_sha256: str
    encoder_sha256: str
    scaling_factor: float
    images: bool
    teacher: dict | None = None
    images_sha256: str | None = None
    std: float | None = None

    def identity(self):
        """What tells sets of latents of the same images apart, by the names of flags if any."""
        teacher = self.teacher and {
            key: value for key, value in self.teacher.items() if key not in ("features", "tokens")
        }
        images = {"images_sha256": self.images_sha256} if self.images_sha256 else {}
        return images | {
            "vae_sha256": self.vae_sha256,
            "scaling_factor": self.scaling_factor,
            "latent_dtype": self.dtype,
            "store_images": self.images,
            "teacher": teacher,
        }


@dataclasses.dataclass(frozen=True)
class DatasetInfo:
    """A prepared set, as its `dataset.json` describes it.

    Attributes:
        folder: pathlib.Path that holds the set.
        count: number of images.
        resolution: side of the images in pixels.
        channels: 3, of the images.
        classes: tuple of class names that labels index; empty for a set without labels.
        class_counts: images per class.
        preparation: `Preparation`.
        skipped: tuple of `Skipped`, the first ones.
        skipped_more: how many were skipped beside those.
        left_out: tuple of `source.LeftOut`, the source's files that are no images of the set.
        content_sha256: hex digest over decoded pixels, or moments, and labels in record order.
        shards: tuple of `Shard`, in record order.
        latents: `Latents`; None for a set of images.
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
    latents: Latents | None = None
    left_out: tuple[LeftOut, ...] = ()
    skipped_more: int = 0

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
    if info.latents is None:
        del content["latents"]
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
    content = read_json(path)
    version = content.pop("format_version", None)
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format_version {version!r}; this code reads {FORMAT_VERSION}, prepare again"
        )
    try:
        info = _info_from(folder, content)
        _check_fields(info)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: a field is missing or malformed ({reason(error)})") from None
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
        "left_out": tuple(
            LeftOut(**entry | {"names": tuple(entry["names"])})
            for entry in content.get("left_out", ())
        ),
    }
    if "latents" in content:
        content["latents"] = Latents(**content["latents"])
    return DatasetInfo(**content)


def _check_fields(info):
    """Raises ValueError unless fields are of their declared types, and counts fit each other."""
    _check_kind("dataset", info, DatasetInfo)
    counts = {"count": info.count, "resolution": info.resolution}
    if info.latents:
        counts |= {f"latents.{name}": getattr(info.latents, name) for name in ("size", "channels")}
        teacher = info.latents.teacher or {}
        counts |= {f"teacher.{name}": teacher[name] for name in teacher and ("features", "tokens")}
        if info.latents.dtype not in ("float16", "float32"):
            raise ValueError(f"latents.dtype={info.latents.dtype}")
    for name, value in counts.items():
        if type(value) is not int or not 1 <= value < 2**31:
            raise ValueError(f"{name}={value!r}")
    if info.skipped_more < 0:
        raise ValueError(f"skipped_more={info.skipped_more}")
    if info.channels != 3:
        raise ValueError(f"channels={info.channels}")
    if len(info.class_counts) != len(info.classes):
        raise ValueError(f"{len(info.class_counts)} class_counts of {len(info.classes)} classes")
    for shard in info.shards:
        if not 0 <= shard.records <= shard.bytes // RECORD_BYTES:
            raise ValueError(f"{shard.records} records in a shard of {shard.bytes} bytes")
        if not re.fullmatch(r"records-\d{5,9}\.tfrecord", shard.name):
            raise ValueError(f"a shard is called {shard.name!r}")
    recorded = sum(shard.records for shard in info.shards)
    if recorded != info.count:
        raise ValueError(f"count={info.count}, but the shards have {recorded} records")


def _check_kind(name, value, kind):
    """Raises ValueError unless a value read from JSON is of an annotated type."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        kinds = itertools.repeat(inner[0]) if inner[-1] is ... else inner
        if inner[-1] is not ... and len(value) != len(inner):
            raise ValueError(f"{name}: {len(value)} values, not {len(inner)}")
        for entry, entry_kind in zip(value, kinds, strict=False):
            _check_kind(name, entry, entry_kind)
    elif dataclasses.is_dataclass(kind):
        for field in dataclasses.fields(kind):
            _check_kind(f"{name}.{field.name}", getattr(value, field.name), field.type)
    elif origin is types.UnionType:
        if value is not None:
            _check_kind(name, value, inner[0])
    elif kind is float:
        if type(value) not in (int, float) or not math.isfinite(value):
            raise ValueError(f"{name}={value!r}")
    elif not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise ValueError(f"{name}={value!r}")


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


def choose(info, flip, with_images, with_teacher):
    """The names of the fields that batches of a set are made of; see `pipeline.make_dataset`.

    Raises:
        InputError: if the set does not hold what is asked for.
    """
    if not (info.latents or with_images or with_teacher):
        return ("image", "label")
    require_latents(info)
    if flip:
        raise InputError(
            f"flip={flip}: {info.folder} holds latents, which cannot be mirrored; turn it off"
        )
    if with_images:
        require_images(info)
    if with_teacher and not info.latents.teacher:
        raise InputError(f"{info.folder}: no features of a teacher in it; prepare it with them")
    images = ("image",) if with_images else ()
    teacher = ("teacher_cls", "teacher_patches") if with_teacher else ()
    return ("moments", "label", *images, *teacher)


def require_images(info):
    """Raises InputError if the set's records hold no images."""
    if info.latents and not info.latents.images:
        raise InputError(
            f"{info.folder}: it holds latents without images; prepare it again with --store_images"
        )


def require_latents(info):
    """Raises InputError if the set's records hold no latents."""
    if not info.latents:
        raise InputError(f"{info.folder}: it holds images, not latents; prepare it with --latents")


def all_fields(info):
    """The names of the fields that the records of a set have."""
    if not info.latents:
        return ("label", "name", "image")
    image = ("image",) if info.latents.images else ()
    teacher = ("teacher_cls", "teacher_patches") if info.latents.teacher else ()
    return ("label", "name", "image_sha256", "moments", *image, *teacher)


def checked_label(label, info):
    """A record's label (a scalar tensor) as int32; reading it fails unless it is one of the set."""
    words = f"a label that is neither -1 nor one of {len(info.classes)} classes:"
    right = (label >= -1) & (label < len(info.classes))
    with tf.control_dependencies([tf.debugging.Assert(right, [words, label])]):
        return tf.cast(label, tf.int32)


def batch_content(record, info):
    """What one record, as `records.parse` returns it, gives a batch, but for its label.

    Returns:
        Image uint8 (R, R, 3) of a set of images; of a set of latents a dict of `moments` float32
        (S, S, 2C) and, if the record has them, `images`, `teacher_cls` and `teacher_patches`.
    """
    if not info.latents:
        return decode_image(record["image"], info.resolution)
    found = {"moments": decode_moments(record["moments"], info.latents)}
    if "image" in record:
        found["images"] = decode_image(record["image"], info.resolution)
    if "teacher_cls" in record:
        found["teacher_cls"], found["teacher_patches"] = decode_teacher(
            record["teacher_cls"], record["teacher_patches"], info.latents
        )
    return found
