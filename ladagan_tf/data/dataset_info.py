"""A prepared set as its `dataset.json` describes it, and what is checked before it is believed.

The only place that knows what `dataset.json` holds. It needs no TensorFlow.
"""

import contextlib
import dataclasses
import itertools
import math
import pathlib
import re
import types
import typing

from ladagan_tf import files
from ladagan_tf.data.source import LeftOut
from ladagan_tf.errors import InputError, reason
from ladagan_tf.untrusted import read_json

FORMAT_VERSION = 1
INFO_NAME = "dataset.json"
RECORD_BYTES = 16  # of a TFRecord, beside its content


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
        num_classes: as it was asked for, see `labels.numbered_classes`.
        corrupt, corrupt_seed: the damage done on purpose, see `corruption`; None if none was.
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
    corrupt: str | None = None
    corrupt_seed: int | None = None


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
    files.write_json(info.folder / INFO_NAME, content, indent=1)


def is_info(path):
    """Whether a file is the `dataset.json` of a set, of any version: others write such files, too.

    Args:
        path: the file.
    """
    with contextlib.suppress(InputError):
        return "format_version" in read_json(path)
    return False


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


def require_undamaged(info, instead):
    """Raises InputError if the images were damaged on purpose; `instead`: what to do, text."""
    if info.preparation.corrupt:
        raise InputError(
            f"{info.folder}: its images were damaged on purpose ({info.preparation.corrupt}), so "
            f"nothing is measured against them; {instead}"
        )


def require_labels(info, wanted):
    """Raises InputError if images of a set with classes have none; `wanted`: by whom, text."""
    without = info.count - sum(info.class_counts)
    if info.classes and without:
        raise InputError(
            f"{wanted}: {without:,} of the {info.count:,} images of {info.folder} have no class; "
            "give a set whose images all have one"
        )


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
