"""Where the images that are measured come from: a prepared set, files, or a generator.

All are uint8 and pass through memory batch by batch; none is written and read again on the way.
"""

import collections.abc
import dataclasses
import hashlib
import os
import pathlib
import re
import sys
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import ArrayLike

from ladagan_tf import pictures
from ladagan_tf.data import dataset_info, listing, pipeline, sources
from ladagan_tf.data.conversion import to_rgb
from ladagan_tf.data.source import TFDS_PREFIX, printable
from ladagan_tf.devices import replicated
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.evaluation import metrics
from ladagan_tf.sampling import seeds, walks
from ladagan_tf.sampling.sampler import Sampler

ROUNDING = "(x + 1) * 127.5, clipped to [0, 255], rounded to nearest"


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one size.

    Attributes:
        count: int.
        resolution: int, their side in pixels.
        batches: function from a batch size to an iterator of uint8 arrays (b, S, S, 3), the last
            partial batch included.
        about: dict of plain values that identify the images in a protocol.
        labels: function without arguments to their classes, int array (count,) in the order of the
            batches; None where they have none.
        classes: tuple of the classes' names.
        steps: function from a batch size to an iterator of pairs of float32 arrays (b, S, S, 3) in
            [0, 255], clipped and not rounded: images of latents `metrics.PATH_STEP` apart on great
            circles, one pair per image; None where no generator makes them.
    """

    count: int
    resolution: int
    batches: collections.abc.Callable
    about: dict
    labels: collections.abc.Callable | None = None
    classes: tuple = ()
    steps: collections.abc.Callable | None = None


def prepared(folder: str | os.PathLike, count: int | None = None, first: int = 0) -> Images:
    """Images of a prepared set, whose order is a fixed shuffle.

    Args:
        folder: a prepared set.
        count: int, how many images; None: all from `first` on.
        first: int, the position of the first one.

    Raises:
        InputError: if it is no prepared set or has fewer images.
    """
    info = dataset_info.load_info(folder)
    count = _checked_count(count, info.count - first, f"dataset={folder}")

    def batches(batch_size):
        for images, _ in pipeline.iterate_images(folder, batch_size, first, count):
            yield images

    def labels():
        read = pipeline.iterate_images(folder, 256, first, count)
        return np.concatenate([labels for _, labels in read])

    about = {
        "images": str(folder),
        "content_sha256": info.content_sha256,
        "resolution": info.resolution,
        "resize": f"{info.preparation.resize_filter}, crop {info.preparation.crop}",
        "count": count,
        "first": first,
        "of": info.count,
    }
    if info.preparation.corrupt:
        about["damaged on purpose"] = info.preparation.corrupt
    classes = tuple(info.classes)
    return Images(count, info.resolution, batches, about, labels if classes else None, classes)


def stored(path: str | os.PathLike, count: int | None = None) -> Images:
    """Images of a folder, a .zip or an .npz as they are: nothing is cropped or resized.

    They are decoded twice, the first time for their content hash and to find broken files and
    different sizes before anything is measured.

    Args:
        path: see `data.sources.open_source`.
        count: int, the first so many of a fixed shuffle; None: all.

    Raises:
        InputError: if there are none or fewer, one is broken, or their sizes differ.
    """
    named = str(path).startswith(TFDS_PREFIX)
    if str(path) == sources.SHAPES or not (named or pathlib.Path(path).exists()):
        raise InputError(
            f"{path}: not found; give a prepared set, a folder or .zip of images, an .npz, or "
            f"{TFDS_PREFIX}NAME"
        )
    source = sources.open_source(str(path), resolution=None, labelled=False)
    if source.left_out:
        print(f"images={path}: {listing.describe(source.left_out)}", file=sys.stderr)
    count = _checked_count(count, source.count, f"images={path}")

    def each():
        for _, item in zip(range(count), source.items(), strict=False):
            with one_line_about(f"{path}: {item.name}", "image"):
                image = np.asarray(to_rgb(source.read(item.payload)))
            yield item.name, image

    digest, shape = hashlib.sha256(), None
    for name, image in each():
        shape = shape or image.shape
        if image.shape != shape or shape[0] != shape[1]:
            raise InputError(
                f"images={path}: {name} has {image.shape[1]} x {image.shape[0]} pixels, but all "
                f"must be square and of one size, as the first with {shape[1]} x {shape[0]}"
            )
        digest.update(image.tobytes())

    def batches(batch_size):
        batch = []
        for _, image in each():
            batch.append(image)
            if len(batch) == batch_size:
                yield np.stack(batch)
                batch = []
        if batch:
            yield np.stack(batch)

    about = {
        "images": printable(str(path)),
        "content_sha256": digest.hexdigest(),
        "resolution": shape[0],
        "resize": "none",
        "count": count,
        "of": source.count,
    }
    return Images(count, shape[0], batches, about)


def of_array(array: ArrayLike) -> Images:
    """Images in memory.

    Args:
        array: uint8 array (N, S, S, 3).

    Raises:
        InputError: for another type or shape.
    """
    array = np.asarray(array)
    side = array.shape[1] if array.ndim == 4 else 0
    if array.dtype != np.uint8 or not side or array.shape[1:] != (side, side, 3):
        raise InputError(
            f"images=an array: {array.dtype} of shape {array.shape}; give uint8 of shape "
            "(N, S, S, 3); of floats in [-1, 1] ladagan_tf.pictures.to_uint8 makes them"
        )
    count = len(array)

    def batches(batch_size):
        return (array[i : i + batch_size] for i in range(0, count, batch_size))

    about = {
        "images": "an array",
        "content_sha256": hashlib.sha256(np.ascontiguousarray(array)).hexdigest(),
        "resolution": side,
        "resize": "none",
        "count": count,
        "of": count,
    }
    return Images(count, side, batches, about)


def generated(
    sampler: Sampler,
    count: int,
    seed: int = 0,
    labels: str | None = None,
    strategy: tf.distribute.Strategy | None = None,
    jit: bool = False,
    class_counts: Sequence[int] | None = None,
) -> Images:
    """Images of a generator, one per seed from `seed` * `count` on.

    So different seeds give sets without a common image, and the images are those that
    `ladagan_tf.generate` makes of the same seeds.

    Args:
        sampler: Sampler.
        count: int.
        seed: int >= 0, which set of `count` images.
        labels: see `seeds.labels`; None: "balanced" for a conditional generator, none for an
            unconditional one, which may be asked for "proportional" with others.
        strategy, jit: see `devices.replicated`.
        class_counts: see `seeds.labels`.

    Raises:
        InputError: for labels that do not suit the generator, or seeds beyond `seeds.MAX_SEED`.
    """
    if sampler.num_classes and labels is None:
        labels = "balanced"
    if labels == "proportional" and not sampler.num_classes:
        labels = None  # the proportions are its own matter
    if labels and not sampler.num_classes:
        raise InputError(
            f"labels={labels}: {sampler.about.get('model', 'the generator')} is unconditional, it "
            "takes no labels; leave out --labels"
        )
    first = seed * count
    if count > seeds.MAX_SEED + 1:
        raise InputError(f"--num_samples={count}: there are {seeds.MAX_SEED + 1} seeds of images")
    if first + count - 1 > seeds.MAX_SEED:
        raise InputError(
            f"--seed={seed}: with --num_samples={count} the images have seeds from {first} on; "
            f"give at most {(seeds.MAX_SEED + 1) // count - 1}"
        )
    classes = sampler.class_names or tuple(map(str, range(sampler.num_classes)))

    def classes_of(chosen):
        return seeds.labels(chosen, sampler.num_classes, labels, class_counts)

    def parts(batch_size):
        for start in range(first, first + count, batch_size):
            these = range(start, min(start + batch_size, first + count))
            z = sampler.latents(these)
            yield these, z, [classes_of(these)] if labels else []

    def batches(batch_size):
        generate = replicated(sampler.generate, strategy, jit)
        for _, z, given in parts(batch_size):
            yield pictures.to_uint8(generate(z, *given))

    def steps(batch_size):
        generate = replicated(sampler.generate, strategy, jit)
        for these, z, given in parts(batch_size):
            ends, places = seeds.path_ends(these, sampler.noise_dim, sampler.truncation_z)
            path = (walks.spherical(z, ends, places + d) for d in (0.0, metrics.PATH_STEP))
            yield tuple(pictures.to_levels(generate(np.float32(z), *given)) for z in path)

    about = {
        **sampler.about,
        "resolution": sampler.resolution,
        "rounding": ROUNDING,
        "image_seeds": [first, first + count - 1],
        "labels": labels or "none",
        "count": count,
    }
    all_labels = (lambda: classes_of(range(first, first + count))) if classes else None
    return Images(count, sampler.resolution, batches, about, all_labels, classes, steps)


def open_images(path: str | os.PathLike, count: int | None = None) -> Images:
    """`prepared` for a prepared set, or a part of one as `FOLDER[100:200]`; else `stored`.

    Raises:
        InputError: see both; or if a part is asked for of something else, or is empty.
    """
    folder, first, last = split_part(path)
    if not (pathlib.Path(folder) / dataset_info.INFO_NAME).is_file():
        return stored(path, count)
    if last is not None:
        count = last - first if count is None else min(count, last - first)
    return prepared(folder, count, first)


def split_part(path: str | os.PathLike) -> tuple[str | os.PathLike, int, int | None]:
    """("data/set", 100, 200) of "data/set[100:200]"; 0 and None where a border is not given.

    What is there under the whole name is no part.
    """
    part = re.fullmatch(r"(.+)\[(\d{0,19}):(\d{0,19})\]", str(path))
    if not part or os.path.exists(path):
        return path, 0, None
    return part[1], int(part[2] or 0), int(part[3]) if part[3] else None


def _checked_count(count, available, what):
    if available < 1:
        raise InputError(f"{what}: there are no images in that part")
    if count is None:
        return available
    if not 2 <= count <= available:
        accepted = f"give 2 to {available}, what it has"
        if available == 1:
            accepted = "it has one, and two is the least"
        raise InputError(f"{what}: {count} images are asked for; {accepted}")
    return count
