"""Latents of images as a prepared set: the moments of an autoencoder in place of the pixels.

Each record holds moments and label beside the name and the hash of the image they belong to, so
that no pairing rests on the order of files.
"""

import collections.abc
import dataclasses
import hashlib
import pathlib
import zlib

import numpy as np
import tensorflow as tf

from ladagan_tf.data import dataset_info, records
from ladagan_tf.data.conversion import Conversion
from ladagan_tf.data.pipeline import reading
from ladagan_tf.data.preparation import Making, absolute, prepare_from
from ladagan_tf.data.source import Item, Source, open_encoded, printable
from ladagan_tf.errors import InputError


@dataclasses.dataclass
class _Sums:
    """What is added up over the records of a set."""

    records: int = 0
    mean: float = 0.0
    second_moment: float = 0.0
    images: object = dataclasses.field(default_factory=hashlib.sha256)
    teacher: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Encoding:
    """How the images of one set become records of latents.

    Args:
        encode: function from images uint8 (batch, R, R, 3) in [0, 255] to the mean and the
            standard deviation of their latents, unscaled, float32 (batch, S, S, C) each. It is
            called with full batches only.
        latents: `dataset_info.Latents`; with `images_sha256`, other images are refused.
        batch: int >= 1, images per call.
        teacher_features: None, or a function from such images to features float (batch, F) and
            (batch, T, F), which are stored as float16; `latents.teacher` may describe it.
        moments_of: None, or a function from names and images of up to `batch` images to moments
            float (b, S, S, 2C), which are taken in place of what `encode` would return.
    """

    encode: collections.abc.Callable
    latents: dataset_info.Latents
    batch: int = 16
    teacher_features: collections.abc.Callable | None = None
    moments_of: collections.abc.Callable | None = None
    _sums: _Sums = dataclasses.field(default_factory=_Sums, init=False)

    def records(self, group):
        """The `records.Record`s of up to `batch` images, a list of `Converted`."""
        images = np.stack([tf.io.decode_png(image.png, channels=3) for image in group])
        moments = self._moments([image.name for image in group], images)
        contents = [{"moments": array.tobytes()} for array in moments]
        teacher = self._add_teacher(contents, images) if self.teacher_features else {}
        found = []
        for image, pixels, array, content in zip(group, images, moments, contents, strict=True):
            label = image.label.to_bytes(8, "little", signed=True)
            content["image_sha256"] = hashlib.sha256(pixels).hexdigest().encode()
            digest = hashlib.sha256(content["moments"] + label).hexdigest()
            if self.latents.images:
                content["image"] = image.png
            data = records.serialise(image.label, image.name, content)
            mean, std = np.split(array.astype(np.float64), 2, axis=-1)
            sums = (
                float(mean.sum()),
                float((mean**2).sum() + (std**2).sum()),  # of mean + std * noise
                hashlib.sha256(pixels.tobytes() + label).hexdigest(),
                teacher,
            )
            found.append(
                records.Record(image.name, image.stamp, image.label, "", digest, sums, data)
            )
        return found

    def add(self, sums):
        """Counts a record towards the `summary` by its `sums`."""
        mean, second_moment, image_sha256, teacher = sums
        self._sums.records += 1
        self._sums.mean += mean
        self._sums.second_moment += second_moment
        self._sums.images.update(bytes.fromhex(image_sha256))
        self._sums.teacher = teacher

    def summary(self):
        """The `dataset_info.Latents` of the set whose records were all added.

        Raises:
            InputError: if the images are not those that were announced.
        """
        sums, expected = self._sums, self.latents.images_sha256
        images_sha256 = sums.images.hexdigest()
        if expected not in (None, images_sha256):
            raise InputError(
                f"the images have sha256 {images_sha256[:12]}, but their {dataset_info.INFO_NAME} "
                f"says {expected[:12]}; prepare them again"
            )
        values = sums.records * self.latents.size**2 * self.latents.channels
        mean = sums.mean / values
        variance = sums.second_moment / values - mean**2
        return dataclasses.replace(
            self.latents,
            teacher=(self.latents.teacher or {}) | sums.teacher or None,
            images_sha256=images_sha256,
            std=float(np.sqrt(variance) * self.latents.scaling_factor),
        )

    def _moments(self, names, images):
        """Moments as they are stored, (b, S, S, 2C)."""
        if self.moments_of:
            moments = self.moments_of(names, images)
        else:
            moments = np.concatenate(in_full_batches(self.encode, images, self.batch), axis=-1)
        with np.errstate(over="ignore"):  # refused below
            moments = moments.astype(np.dtype(self.latents.dtype).newbyteorder("<"))
        for name, array in zip(names, moments, strict=True):
            if not np.isfinite(array).all():
                raise InputError(f"{name}: its latents are not finite in {self.latents.dtype}")
        return moments

    def _add_teacher(self, contents, images):
        """Adds the features to the contents of records, and returns their sizes."""
        cls, patches = in_full_batches(self.teacher_features, images, self.batch)
        for content, cls_row, patch_rows in zip(contents, cls, patches, strict=True):
            content["teacher_cls"] = cls_row.astype("<f2").tobytes()
            content["teacher_patches"] = patch_rows.astype("<f2").tobytes()
        return {"features": patches.shape[2], "tokens": patches.shape[1]}


def in_full_batches(function, images, batch):
    """Both results of `function` for up to `batch` images, which it sees repeated to `batch`."""
    padded = np.resize(images, (batch, *images.shape[1:]))
    first, second = function(padded)
    return np.asarray(first)[: len(images)], np.asarray(second)[: len(images)]


def is_prepared_set(source):
    """Whether a source is a set made by `preparation.prepare`, or by this module."""
    folder = pathlib.Path(absolute(source))
    return (folder / dataset_info.INFO_NAME).is_file() and any(folder.glob("records-*.tfrecord"))


def prepare_set(source, out, encoding, **making):
    """Encodes the images of a prepared set, in its order and with its names, labels and classes.

    Args:
        source: folder of the set.
        out: see `preparation.prepare`.
        encoding: `Encoding` for the set's resolution.
        **making: see `preparation.Making`.

    Returns:
        As `preparation.prepare`.

    Raises:
        InputError: if the set holds no images or others than it says, or `out` something else.
    """
    info = dataset_info.load_info(absolute(source))
    dataset_info.require_images(info)
    images_sha256 = info.latents.images_sha256 if info.latents else info.content_sha256
    latents = dataclasses.replace(encoding.latents, images_sha256=images_sha256)

    fields_read = ("name", "label", "image")

    def items():
        dataset = tf.data.TFRecordDataset(info.shard_paths).batch(64)
        dataset = dataset.map(lambda part: records.parse(part, fields_read))
        with reading(info):
            for part in dataset.as_numpy_iterator():
                for name, label, png in zip(*(part[field] for field in fields_read), strict=True):
                    label = None if label < 0 else int(label)
                    name = name.decode(errors="backslashreplace")
                    yield Item(name, label, png, f"{zlib.crc32(png):08x}")

    images = Source(info.count, info.classes, items, open_encoded)
    return prepare_from(
        lambda: images,
        out,
        Conversion(info.resolution, min_side=1),  # of their size already, so pixels stay
        # Which images they are of is told by their hash.
        dataclasses.replace(
            info.preparation, source=printable(absolute(source)), files_sha256=None
        ),
        Making(encoding=dataclasses.replace(encoding, latents=latents), **making),
    )
