"""Where images come from: a folder, a zip, an npz, a TensorFlow dataset, or the set `shapes`.

A source lists its items cheaply in this process; its `read` opens one image and can be sent to a
worker process.
"""

import functools
import os.path
import pathlib
import zipfile

import numpy as np
from PIL import Image

from ladagan_tf.data.conversion import UnusableImageError, image_from_array
from ladagan_tf.data.shapes import CLASSES, shapes_image
from ladagan_tf.data.source import TFDS_PREFIX, Item, Source, check_encoded, open_encoded
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.untrusted import read_npz

SHAPES = "shapes"
LMDB_FILE = "data.mdb"
_IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
# Records keep this order. It is shuffled because a folder comes sorted by class, and then any
# stretch of a set on disk is a fair sample of it; the seed is fixed so that the order, and with
# it the content hash, depends on the images only. RandomState's stream is frozen by NumPy.
_ORDER_SEED = 20240607


def open_source(spec, *, resolution, data_dir=None, seed=0, num_images=10_000):
    """Opens the source that `--source=` names.

    Args:
        spec: a folder or a .zip of images (one subfolder per class, or no subfolders), a folder of
            an LMDB of encoded images (data.mdb, as LSUN is published, without classes), an .npz
            with `images` (N, H, W[, 1|3|4]) uint8 or uint16 and optionally `labels` (N,), or with
            `arr_0` and `arr_1` in their place (the sample archives of ADM's evaluation),
            `tfds:NAME[@SPLIT]` (the split is `train` unless given), or `shapes`.
        resolution: int, the side at which `shapes` are drawn.
        data_dir: folder in which TFDS keeps its downloads; None is TFDS's own default.
        seed, num_images: which `shapes`, and how many.

    Returns:
        `Source`.

    Raises:
        InputError: if there is no such source or it holds no images.
    """
    path = pathlib.Path(os.path.expanduser(spec))
    if spec == SHAPES:
        return _shapes_source(resolution, seed, num_images)
    if spec.startswith(TFDS_PREFIX):
        # Here, because importing TFDS takes seconds and few sources need it.
        from ladagan_tf.data.tfds_source import tfds_source

        return tfds_source(spec, data_dir)
    if (path / LMDB_FILE).is_file():
        return _lmdb_source(path)
    if path.is_dir():
        return _folder_source(path)
    if path.is_file() and path.suffix.lower() == ".zip":
        return _zip_source(path)
    if path.is_file() and path.suffix.lower() == ".npz":
        return _npz_source(path)
    found = "another kind of file" if path.exists() else "not found"
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


def _folder_source(folder):
    names = sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
    return _named_files(names, str(folder), functools.partial(_read_file, folder))


def _read_file(folder, name):
    path = folder / name
    check_encoded(path.stat().st_size)
    return open_encoded(path.read_bytes())


def _lmdb_source(folder):
    with one_line_about(f"source={folder}", "LMDB"), _lmdb(folder).begin() as transaction:
        count = transaction.stat()["entries"]
    if not count:
        raise InputError(f"source={folder}: {LMDB_FILE} holds no images")

    def items():
        # LSUN's keys are digests: in their order the images are shuffled already.
        with _lmdb(folder).begin() as transaction:
            for key in transaction.cursor().iternext(values=False):
                yield Item(key.decode(errors="backslashreplace"), None, key)

    return Source(count, (), items, functools.partial(_read_entry, folder))


@functools.lru_cache(maxsize=1)
def _lmdb(folder):
    """The open database in a folder, one per process."""
    try:
        import lmdb
    except ImportError:
        raise InputError(f"source={folder}: an LMDB needs a package: pip install lmdb") from None
    with one_line_about(f"source={folder}", "LMDB"):
        return lmdb.open(str(folder), readonly=True, lock=False, readahead=False)


def _read_entry(folder, key):
    with _lmdb(folder).begin() as transaction:
        return open_encoded(transaction.get(key))


def _zip_source(path):
    names = sorted(entry.filename for entry in _zip(path).infolist() if not entry.is_dir())
    return _named_files(names, str(path), functools.partial(_read_member, path))


@functools.lru_cache(maxsize=1)
def _zip(path):
    """The open zip at `path`, one per process: listing a large one takes seconds."""
    with one_line_about(f"source={path}", "zip"):
        return zipfile.ZipFile(path)


def _read_member(path, name):
    check_encoded(_zip(path).getinfo(name).file_size)
    return open_encoded(_zip(path).read(name))


def _named_files(names, spec, read):
    """Items for slash-separated file names: a first folder, where files differ in it, is a class.

    Other files and hidden ones are left out, and so are folders that merely wrap everything.
    """
    names = [name for name in names if _is_image_name(name)]
    if not names:
        raise InputError(
            f"source={spec}: no image files in it; they must end in {' '.join(_IMAGE_SUFFIXES)}"
        )
    inner = [name.split("/") for name in names]
    while all(len(parts) > 1 and parts[0] == inner[0][0] for parts in inner):
        inner = [parts[1:] for parts in inner]
    in_folders = [len(parts) > 1 for parts in inner]
    if any(in_folders) and not all(in_folders):
        raise InputError(
            f"source={spec}: {names[in_folders.index(False)]} lies beside class folders; put "
            "every image in one subfolder per class, or none"
        )
    classes = tuple(sorted({parts[0] for parts in inner})) if all(in_folders) else ()
    index = {name: label for label, name in enumerate(classes)}
    items = [
        Item(_text(name), index.get(parts[0]), name)
        for name, parts in zip(names, inner, strict=True)
    ]
    classes = tuple(map(_text, classes))
    return Source(len(items), classes, lambda: (items[i] for i in _shuffled(len(items))), read)


def _text(name):
    """A file name that can be recorded: bytes of it that are no UTF-8 become \\xNN."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _is_image_name(name):
    *folders, last = name.split("/")
    hidden = any(part.startswith((".", "__MACOSX")) for part in (*folders, last))
    return not hidden and pathlib.PurePosixPath(last).suffix.lower() in _IMAGE_SUFFIXES


def _npz_source(path):
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
    if labels is not None:
        labels = _checked_labels(labels, len(images), path)
        classes = tuple(str(label) for label in range(int(labels.max()) + 1))

    def items():
        for i in _shuffled(len(images)):
            yield Item(f"{i:08d}", None if labels is None else int(labels[i]), images[i])

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
