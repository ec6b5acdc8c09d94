"""Where the images that are measured come from: a prepared set, files, or a generator.

All are uint8 and pass through memory batch by batch; none is written and read again on the way.
"""

import collections.abc
import dataclasses
import hashlib
import pathlib
import re
import sys

import numpy as np

from ladagan_tf import pictures
from ladagan_tf.data import dataset_info, listing, pipeline, sources
from ladagan_tf.data.conversion import to_rgb
from ladagan_tf.devices import replicated
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.sampling import seeds

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
    """

    count: int
    resolution: int
    batches: collections.abc.Callable
    about: dict
    labels: collections.abc.Callable | None = None
    classes: tuple = ()


def prepared(folder, count=None, first=0):
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
    classes = tuple(info.classes)
    return Images(count, info.resolution, batches, about, labels if classes else None, classes)


def stored(path, count=None):
    """Images of a folder, a .zip or an .npz as they are: nothing is cropped or resized.

    They are decoded twice, the first time for their content hash and to find broken files and
    different sizes before anything is measured.

    Args:
        path: see `data.sources.open_source`.
        count: int, the first so many of a fixed shuffle; None: all.

    Raises:
        InputError: if there are none or fewer, one is broken, or their sizes differ.
    """
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
        "images": str(path),
        "content_sha256": digest.hexdigest(),
        "resolution": shape[0],
        "resize": "none",
        "count": count,
        "of": source.count,
    }
    return Images(count, shape[0], batches, about)


def generated(sampler, count, seed=0, labels=None, strategy=None, jit=False, class_counts=None):
    """Images of a generator, one per seed from `seed` * `count` on.

    So different seeds give sets without a common image, and the images are those that
    `ladagan_tf.generate` makes of the same seeds.

    Args:
        sampler: Sampler.
        count: int.
        seed: int >= 0, which set of `count` images.
        labels: see `seeds.labels`; None: "balanced" for a conditional generator, none for an
            unconditional one.
        strategy, jit: see `devices.replicated`.
        class_counts: see `seeds.labels`.

    Raises:
        InputError: for labels that do not suit the generator.
    """
    if sampler.num_classes and labels is None:
        labels = "balanced"
    if labels and not sampler.num_classes:
        raise InputError(
            f"labels={labels}: {sampler.about.get('model', 'the generator')} is unconditional, it "
            "takes no labels; leave out --labels"
        )
    first = seed * count
    classes = sampler.class_names or tuple(map(str, range(sampler.num_classes)))

    def classes_of(chosen):
        return seeds.labels(chosen, sampler.num_classes, labels, class_counts)

    def batches(batch_size):
        generate = replicated(sampler.generate, strategy, jit)
        for start in range(first, first + count, batch_size):
            these = range(start, min(start + batch_size, first + count))
            given = [sampler.latents(these)]
            if labels:
                given.append(classes_of(these))
            yield pictures.to_uint8(generate(*given))

    about = {
        **sampler.about,
        "resolution": sampler.resolution,
        "rounding": ROUNDING,
        "image_seeds": [first, first + count - 1],
        "labels": labels or "none",
        "count": count,
    }
    all_labels = (lambda: classes_of(range(first, first + count))) if classes else None
    return Images(count, sampler.resolution, batches, about, all_labels, classes)


def open_images(path, count=None):
    """`prepared` for a prepared set, or a part of one as `FOLDER[100:200]`; else `stored`.

    Raises:
        InputError: see both; or if a part is asked for of something else, or is empty.
    """
    part = re.fullmatch(r"(.+)\[(\d*):(\d*)\]", str(path))
    folder = part.group(1) if part else path
    if not (pathlib.Path(folder) / dataset_info.INFO_NAME).is_file():
        return stored(path, count)
    if not part:
        return prepared(folder, count)
    first, last = (int(text) if text else None for text in part.groups()[1:])
    first = first or 0
    if last is not None:
        count = last - first if count is None else min(count, last - first)
    return prepared(folder, count, first)


def _checked_count(count, available, what):
    if count is None:
        return available
    if not 2 <= count <= available:
        raise InputError(
            f"{what}: {count} images are asked for; give 2 to {available}, what it has"
        )
    return count
