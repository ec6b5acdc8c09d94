"""Latents of images as a prepared set: the moments of an autoencoder in place of the pixels.

Each record holds moments and label beside the name and the hash of the image they belong to, so
that no pairing rests on the order of files.
"""

import collections.abc
import dataclasses
import hashlib
import itertools
import pathlib

import numpy as np
import tensorflow as tf

from ladagan_tf.data import records
from ladagan_tf.data.conversion import Conversion
from ladagan_tf.data.pipeline import damage_as_input_error
from ladagan_tf.data.preparation import absolute, prepare_from
from ladagan_tf.data.source import Item, Source, open_encoded
from ladagan_tf.errors import InputError


@dataclasses.dataclass
class _Sums:
    """What is added up over the records of a set."""

    values: int = 0
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
        latents: `records.Latents`; with `images_sha256`, other images are refused.
        batch: int >= 1, images per call.
        teacher_features: None, or a function from such images to features float (batch, F) and
            (batch, T, F), which are stored as float16; `latents.teacher` may describe it.
        moments_of: None, or a function from names and images of up to `batch` images to moments
            float (b, S, S, 2C), which are taken in place of what `encode` would return.
    """

    encode: collections.abc.Callable
    latents: records.Latents
    batch: int = 16
    teacher_features: collections.abc.Callable | None = None
    moments_of: collections.abc.Callable | None = None
    _sums: _Sums = dataclasses.field(default_factory=_Sums, init=False)

    def records(self, usable):
        """Yields a label, a serialised record and a content digest for every `Converted`."""
        usable = iter(usable)
        while group := list(itertools.islice(usable, self.batch)):
            images = np.stack([tf.io.decode_png(image.png, channels=3) for image in group])
            moments = self._moments([image.name for image in group], images)
            contents = [{"moments": array.tobytes()} for array in moments]
            if self.teacher_features:
                self._add_teacher(contents, images)
            for image, pixels, content in zip(group, images, contents, strict=True):
                label = image.label.to_bytes(8, "little", signed=True)
                content["image_sha256"] = hashlib.sha256(pixels).hexdigest().encode()
                self._sums.images.update(hashlib.sha256(pixels.tobytes() + label).digest())
                if self.latents.images:
                    content["image"] = image.png
                record = records.serialise(image.label, image.name, content)
                yield image.label, record, hashlib.sha256(content["moments"] + label).digest()

    def summary(self):
        """The `records.Latents` of the set whose records were all made.

        Raises:
            InputError: if the images are not those that were announced.
        """
        sums, expected = self._sums, self.latents.images_sha256
        images_sha256 = sums.images.hexdigest()
        if expected not in (None, images_sha256):
            raise InputError(
                f"the images have sha256 {images_sha256[:12]}, but their {records.INFO_NAME} says "
                f"{expected[:12]}; prepare them again"
            )
        mean = sums.mean / sums.values
        variance = sums.second_moment / sums.values - mean**2
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
        mean, std = np.split(moments.astype(np.float64), 2, axis=-1)
        self._sums.values += mean.size
        self._sums.mean += mean.sum()
        self._sums.second_moment += (mean**2).sum() + (std**2).sum()  # of mean + std * noise
        return moments

    def _add_teacher(self, contents, images):
        cls, patches = in_full_batches(self.teacher_features, images, self.batch)
        self._sums.teacher = {"features": patches.shape[2], "tokens": patches.shape[1]}
        for content, cls_row, patch_rows in zip(contents, cls, patches, strict=True):
            content["teacher_cls"] = cls_row.astype("<f2").tobytes()
            content["teacher_patches"] = patch_rows.astype("<f2").tobytes()


def in_full_batches(function, images, batch):
    """Both results of `function` for up to `batch` images, which it sees repeated to `batch`."""
    padded = np.resize(images, (batch, *images.shape[1:]))
    first, second = function(padded)
    return np.asarray(first)[: len(images)], np.asarray(second)[: len(images)]


def is_prepared_set(source):
    """Whether a source is a set made by `preparation.prepare`, or by this module."""
    folder = pathlib.Path(source).expanduser()
    return (folder / records.INFO_NAME).is_file() and any(folder.glob("records-*.tfrecord"))


def prepare_set(source, out, encoding, workers=None, shards=None):
    """Encodes the images of a prepared set, in its order and with its names, labels and classes.

    Args:
        source: folder of the set.
        out, workers, shards: see `preparation.prepare`.
        encoding: `Encoding` for the set's resolution.

    Returns:
        `records.DatasetInfo`.

    Raises:
        InputError: if the set holds no images or others than it says, or `out` something else.
    """
    info = records.load_info(pathlib.Path(source).expanduser())
    records.require_images(info)
    images_sha256 = info.latents.images_sha256 if info.latents else info.content_sha256
    latents = dataclasses.replace(encoding.latents, images_sha256=images_sha256)

    fields_read = ("name", "label", "image")

    def items():
        dataset = tf.data.TFRecordDataset(info.shard_paths).batch(64)
        dataset = dataset.map(lambda part: records.parse(part, fields_read))
        with damage_as_input_error(info.folder):
            for part in dataset.as_numpy_iterator():
                for name, label, png in zip(*(part[field] for field in fields_read), strict=True):
                    yield Item(
                        name.decode(errors="backslashreplace"),
                        None if label < 0 else int(label),
                        png,
                    )

    images = Source(info.count, info.classes, items, open_encoded)
    return prepare_from(
        lambda: images,
        out,
        Conversion(info.resolution, min_side=1),  # of their size already, so pixels stay
        dataclasses.replace(info.preparation, source=absolute(source)),
        dataclasses.replace(encoding, latents=latents),
        workers,
        shards,
    )
