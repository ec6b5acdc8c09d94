"""Where images come from: a folder, a zip, an npz, a TensorFlow dataset, or the set `shapes`.

A source lists its items cheaply in this process; its `read` opens one image and can be sent to a
worker process.
"""

import dataclasses
import functools
import os.path
import pathlib
import zipfile

import numpy as np
from PIL import Image

from ladagan_tf import extras
from ladagan_tf.data import listing
from ladagan_tf.data.conversion import UnusableImageError, image_from_array
from ladagan_tf.data.labels import LABELS_NAME, labels_of, numbered_classes, numbers_in
from ladagan_tf.data.shapes import CLASSES, shapes_image
from ladagan_tf.data.source import (
    SIGNED_FORMATS,
    TFDS_PREFIX,
    Item,
    Source,
    check_encoded,
    file_stamp,
    open_encoded,
    printable,
)
from ladagan_tf.errors import InputError, one_line_about, warn
from ladagan_tf.untrusted import read_npz

SHAPES = "shapes"
LMDB_FILE = "data.mdb"
MOST_LABELS_BYTES = 2**28  # of that file, which holds some 50 a label
# Records keep this order. It is shuffled because a folder comes sorted by class, and then any
# stretch of a set on disk is a fair sample of it; the seed is fixed so that the order, and with
# it the content hash, depends on the images only. RandomState's stream is frozen by NumPy.
_ORDER_SEED = 20240607


def told_of_folder(name, flag):
    """Whether a name is `shapes` or `tfds:...`; warns where a folder of that name is here, too.

    Args:
        name: str, a source or a set.
        flag: str, the flag that says it.
    """
    named = name == SHAPES or name.startswith(TFDS_PREFIX)
    if named and os.path.exists(name):
        warn(f"{flag}={name} is not the folder of that name here, which is ./{name}")
    return named


def open_source(
    spec,
    *,
    resolution,
    data_dir=None,
    seed=0,
    num_images=10_000,
    split=None,
    num_classes=None,
    labelled=True,
):
    """Opens the source that `--source=` names.

    Args:
        spec: a folder or a .zip of images (one subfolder per class, or no subfolders, or labels in
            a `dataset.json` as StyleGAN's tools write it), a folder of an LMDB of encoded images
            (data.mdb, as LSUN is published, without classes), an .npz with `images`
            (N, H, W[, 1|3|4]) uint8 or uint16 and optionally `labels` (N,), or with `arr_0` and
            `arr_1` in their place (the sample archives of ADM's evaluation), `tfds:NAME[@SPLIT]`
            (the split is `train` unless given), or `shapes`.
        resolution: int, the side at which `shapes` are drawn.
        data_dir: folder in which TFDS keeps its downloads; None is TFDS's own default.
        seed, num_images: which `shapes`, and how many.
        split: of a folder or zip with `train`, `val`, ... in it, see `listing.arrange`.
        num_classes: of labels that are numbers, see `numbered_classes`.
        labelled: whether such labels are read; otherwise they make no classes.

    Returns:
        `Source`.

    Raises:
        InputError: if there is no such source or it holds no images.
    """
    path = pathlib.Path(os.path.expanduser(spec))
    named = spec == SHAPES or spec.startswith(TFDS_PREFIX) or not spec
    suffix = path.suffix.lower() if path.is_file() and not named else ""
    listed = suffix == ".zip" or (path.is_dir() and not named and not (path / LMDB_FILE).is_file())
    if split is not None and not listed:
        hint = f"; write {spec}@{split}" if spec.startswith(TFDS_PREFIX) else ""
        raise InputError(f"split={split}: source={spec} is no folder and no .zip of images{hint}")
    if num_classes is not None and not (listed or suffix == ".npz"):
        raise InputError(f"num_classes={num_classes}: source={spec} has no labels that are numbers")
    if spec == SHAPES:
        return _shapes_source(resolution, seed, num_images)
    if spec.startswith(TFDS_PREFIX):
        # Here, because importing TFDS takes seconds and few sources need it.
        from ladagan_tf.data.tfds_source import tfds_source

        return tfds_source(spec, data_dir)
    if listed:
        open_listed = _zip_source if suffix else _folder_source
        return open_listed(path, split, num_classes, labelled)
    if (path / LMDB_FILE).is_file():
        return _lmdb_source(path)
    if suffix == ".npz":
        return _npz_source(path, num_classes, labelled)
    found = "another kind of file" if spec and path.exists() else "not found"
    raise InputError(
        f"source={spec}: {found}; it must be a folder or a .zip of images, an .npz, "
        f"{TFDS_PREFIX}NAME or {SHAPES}"
    )


def _shapes_source(resolution, seed, num_images):
    if num_images < 1:
        raise InputError(f"num_images={num_images}: it must be at least 1")

    def items():
        for index in range(num_images):
            # One pixel costs little, and tells the label without a second copy of that rule.
            _, label = shapes_image(seed, index, 1)
            yield Item(f"shape-{index:08d}", label, index)

    return Source(num_images, CLASSES, items, functools.partial(_read_shape, seed, resolution))


def _read_shape(seed, resolution, index):
    return Image.fromarray(shapes_image(seed, index, resolution)[0])


def _folder_source(folder, *how):
    found = listing.files_below(folder)
    return _listed(*found, folder, _read_file, _open_file, file_stamp, *how)


def _read_file(folder, name):
    path = folder / name
    check_encoded(path.stat().st_size)
    return open_encoded(path.read_bytes())


def _open_file(folder, name):
    return open(folder / name, "rb")


def _lmdb_source(folder):
    with one_line_about(f"source={folder}", "LMDB"), _lmdb(folder).begin() as transaction:
        count = transaction.stat()["entries"]
    if not count:
        raise InputError(f"source={folder}: {LMDB_FILE} holds no images")

    stamp = file_stamp(folder, LMDB_FILE)

    def items():
        # LSUN's keys are digests: in their order the images are shuffled already.
        with one_line_about(f"source={folder}", "LMDB"), _lmdb(folder).begin() as transaction:
            for key in transaction.cursor().iternext(values=False):
                yield Item(key.decode(errors="backslashreplace"), None, key, stamp)

    return Source(count, (), items, functools.partial(_read_entry, folder))


@functools.lru_cache(maxsize=1)
def _lmdb(folder):
    """The open database in a folder, one per process."""
    with extras.needed(f"source={folder}", "lmdb"):
        import lmdb
    with one_line_about(f"source={folder}", "LMDB"):
        opened = lmdb.open(str(folder), readonly=True, lock=False, readahead=False)
        size = (folder / LMDB_FILE).stat().st_size
        needed = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
        if size < needed:  # reading beyond the end of what is mapped would kill the process
            opened.close()
            raise ValueError(f"{LMDB_FILE} has {size} of its {needed} bytes; copy it again")
        return opened


def _read_entry(folder, key):
    with _lmdb(folder).begin() as transaction:
        return open_encoded(transaction.get(key))


def _zip_source(path, *how):
    _zip.cache_clear()  # it may be another file than when it was opened before
    found = listing.files_in_zip(_zip(path).infolist())
    return _listed(*found, path, _read_member, _open_member, _member_stamp, *how)


@functools.lru_cache(maxsize=1)
def _zip(path):
    """The open zip at `path`, one per process: listing a large one takes seconds."""
    with one_line_about(f"source={path}", "zip"):
        return zipfile.ZipFile(path)


def _read_member(path, name):
    check_encoded(_zip(path).getinfo(name).file_size)
    return open_encoded(_zip(path).read(name))


def _open_member(path, name):
    return _zip(path).open(name)


def _member_stamp(path, name):
    entry = _zip(path).getinfo(name)
    return f"{entry.file_size} {entry.CRC:08x}"


def _listed(files, left_out, path, read, open_, stamp, split, num_classes, labelled):
    """The source of some files, see `listing`.

    `read`, `open_`, `stamp`: functions from `path` and what stands for a file to an image, to an
    open file, and to the stamp of an `Item`.
    """
    numbers, name = None, _labels_name(files) if labelled else None
    if name:
        what = f"source={path}: {name}"
        with one_line_about(what, "file"), open_(path, files[name]) as data:
            text = data.read(MOST_LABELS_BYTES)
        numbers = numbers_in(text, what)
    if numbers is not None:
        del files[name]
        place = name.removesuffix(LABELS_NAME)
        numbers = {printable(f"{place}{file}"): label for file, label in numbers.items()}

    def is_image(file):
        try:
            with open_(path, file) as data, Image.open(data, formats=SIGNED_FORMATS):
                return True
        except Exception:  # no image makes Pillow raise nearly anything
            return False

    found = listing.arrange(files, left_out, str(path), split, is_image)
    if numbers is not None:
        found = _relabelled(found, numbers, num_classes, f"source={path}: {name}")
    elif num_classes is not None:
        raise InputError(f"num_classes={num_classes}: source={path} has no labels that are numbers")
    count = len(found.files)

    def items():
        for i in _shuffled(count):
            file = found.files[i]
            yield Item(found.names[i], found.labels[i], file, stamp(path, file))

    read = functools.partial(read, path)
    return Source(count, found.classes, items, read, found.left_out, found.split)


def _labels_name(files):
    """The name of the `dataset.json` of all files: at the top, or in what wraps all; else None."""
    names = [name for name in files if name.rpartition("/")[2] == LABELS_NAME]
    name = min(names, key=lambda name: name.count("/"), default="")
    place = name.removesuffix(LABELS_NAME)
    inside = all(file.startswith(place) for file in files if not listing.why_hidden(file))
    return name if inside and not listing.why_hidden(name) else None


def _relabelled(found, numbers, num_classes, what):
    """A `Listing` with the labels of `numbers_in` in place of its folders, which mean nothing."""
    if not numbers:
        return dataclasses.replace(found, labels=(None,) * len(found.files), classes=())
    labels = labels_of(found.names, numbers, what)
    classes = numbered_classes(np.array(labels), num_classes, what)
    return dataclasses.replace(found, labels=labels, classes=classes)


def _npz_source(path, num_classes, labelled):
    arrays = read_npz(path, ("images", "labels", "arr_0", "arr_1"), f"source={path}")
    keys = ("images", "labels") if "images" in arrays else ("arr_0", "arr_1")
    contents = {
        name: arrays[key]
        for name, key in zip(("images", "labels"), keys, strict=True)
        if key in arrays
    }
    if "images" not in contents or not contents["images"].size:
        raise InputError(f"source={path}: it must hold a non-empty array `images` (N, H, W, C)")
    images, labels = contents["images"], contents.get("labels")
    try:
        image_from_array(images[0])
    except (UnusableImageError, IndexError) as error:
        raise InputError(f"source={path}: `images` has {error}") from None
    classes = ()
    if labels is not None and labelled:
        labels = _checked_labels(labels, len(images), path)
        classes = numbered_classes(labels, num_classes, f"source={path}: `labels`")
    elif num_classes is not None:
        raise InputError(f"num_classes={num_classes}: source={path} has no `labels`")

    stamp = file_stamp(path.parent, path.name)

    def items():
        for i in _shuffled(len(images)):
            label = int(labels[i]) if classes else None
            yield Item(f"{i:08d}", label, images[i], stamp)

    return Source(len(images), classes, items, image_from_array)


def _checked_labels(labels, count, path):
    if labels.shape == (count, 1):
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iu" or labels.min() < 0:
        raise InputError(
            f"source={path}: `labels` is {labels.dtype} {labels.shape}; it must be integers >= 0 "
            f"of shape ({count},), one per image"
        )
    return labels


def _shuffled(count):
    return np.random.RandomState(_ORDER_SEED).permutation(count).tolist()
