"""The records of a prepared set, of its TFRecord shards: how one is laid out, only here."""

import dataclasses
import struct

import tensorflow as tf

from ladagan_tf.data.dataset_info import require_images, require_latents
from ladagan_tf.errors import InputError

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
