"""Latents in the layout of GAT's authors: `images/`, and `vae-sd/` with .npy files and labels.

Their code pairs images and latents by their positions among sorted names, so that one file too many
shifts all that follow. Here names must correspond: `00000/img00000001.png` goes with
`00000/img-mean-std-00000001.npy`, as REPA's tools name them, or with `00000/img00000001.npy`.
"""

import collections
import dataclasses
import pathlib

import numpy as np

from ladagan_tf.data import dataset_info, sources
from ladagan_tf.data.conversion import Conversion
from ladagan_tf.data.labels import LABELS_NAME, labels_of, numbered_classes, read_labels
from ladagan_tf.data.latents import in_full_batches
from ladagan_tf.data.preparation import Making, absolute, prepare_from
from ladagan_tf.data.source import file_stamp, printable
from ladagan_tf.errors import InputError
from ladagan_tf.untrusted import read_json, read_npy

IMAGES, LATENTS = "images", "vae-sd"
# Of the means of the first image, relative. Other precision or another resize filter stay far
# below; another autoencoder, crop or image does not.
_TOLERANCE = 0.1
# Standard deviations by which a sample may differ from the mean; over all values it is about 1.
_SAMPLE_TOLERANCE = 1.5


def is_official(source):
    """Whether a source has the folders of that layout."""
    folder = pathlib.Path(absolute(source))
    return all((folder / name).is_dir() for name in (IMAGES, LATENTS))


def prepare_official(source, out, encoding, resolution, num_classes=None, **making):
    """Makes a set of stored latents, labels and their images; nothing is encoded but one image.

    Args:
        source: folder of that layout. Files of 2C channels hold moments, those of C channels
            latents that are scaled already: their standard deviation becomes 0.
        out: see `preparation.prepare`.
        encoding: `latents.Encoding` of the autoencoder that made the latents.
        resolution: int, side of the images in pixels; others are cropped and resized to it.
        num_classes: see `labels.numbered_classes`.
        **making: see `preparation.Making`; there are no parts.

    Returns:
        `dataset_info.DatasetInfo`.

    Raises:
        InputError: naming the file, if an image has no latents or label, latents have no image, a
            file is unreadable or of another shape, or the first image's latents are not those of
            the autoencoder.
    """
    folder = pathlib.Path(absolute(source))
    images, paths = _paired(folder, resolution, num_classes)
    conversion = Conversion(resolution)
    preparation = dataset_info.Preparation(
        source=printable(str(folder)),
        crop=conversion.crop,
        resize_filter=conversion.resize_filter,
        background=conversion.background,
        min_side=conversion.min_side,
        skip_bad=False,
        seed=None,
        num_images=None,
        num_classes=num_classes,
        files_sha256=images.files_sha256(),
    )
    first_name = next(images.items()).name

    def stored_moments(names, pixels):
        moments = np.stack([_read_moments(paths[name], encoding.latents) for name in names])
        if names[0] == first_name:
            mean, std = in_full_batches(encoding.encode, pixels[:1], encoding.batch)
            _check_encoding(paths[first_name], moments[0], mean[0], std[0])
        return moments

    encoding = dataclasses.replace(encoding, moments_of=stored_moments)
    making = Making(encoding=encoding, **making)
    return prepare_from(lambda: images, out, conversion, preparation, making)


def _paired(folder, resolution, num_classes):
    """The images with their labels, a `source.Source`, and dict: image name -> latents' path."""
    images = sources.open_source(str(folder / IMAGES), resolution=resolution, labelled=False)
    items = list(images.items())
    files = [path.relative_to(folder / LATENTS).as_posix() for path in _npy_files(folder)]
    latents = {}
    for name in files:
        if (other := latents.setdefault(_key(printable(name)), name)) != name:
            raise InputError(f"{folder / LATENTS / name}: of the same image as {other}")
    used = collections.Counter(_key(item.name) for item in items)
    for item in items:
        path = folder / IMAGES / item.name
        if _key(item.name) not in latents:
            raise InputError(f"{path}: no .npy file of that name in {LATENTS}/")
        if used[_key(item.name)] > 1:
            raise InputError(f"{path}: another image has that name but for its suffix")
    for key, name in latents.items():
        if key not in used:
            raise InputError(f"{folder / LATENTS / name}: no image of that name in {IMAGES}/")
    path = folder / LATENTS / LABELS_NAME
    numbers = read_labels(read_json(path).get("labels"), path)
    labels = dict(zip(files, labels_of(files, numbers, path), strict=True))
    names = {item.name: latents[_key(item.name)] for item in items}
    items = [
        dataclasses.replace(
            item,
            label=labels[names[item.name]],
            stamp=f"{item.stamp} {file_stamp(folder / LATENTS, names[item.name])}",
        )
        for item in items
    ]
    classes = numbered_classes(np.array(list(labels.values())), num_classes, str(path))
    source = dataclasses.replace(images, classes=classes, items=lambda: iter(items))
    return source, {name: folder / LATENTS / path for name, path in names.items()}


def _npy_files(folder):
    return sorted((folder / LATENTS).rglob("*.npy"))


def _key(name):
    """What an image's name and its latents' have in common."""
    return pathlib.PurePosixPath(name).with_suffix("").as_posix().replace("img-mean-std-", "img")


def _read_moments(path, latents):
    """Moments float (S, S, 2C) of a file (2C, S, S) or (C, S, S), perhaps with an axis before."""
    array = read_npy(path)
    found = f"{array.dtype} {array.shape}"
    if array.ndim == 4 and len(array) == 1:
        array = array[0]
    size, channels = latents.size, latents.channels
    shapes = [(2 * channels, size, size), (channels, size, size)]
    if array.shape not in shapes or array.dtype.kind != "f":
        raise InputError(f"{path}: {found}; it must be floats of shape {shapes[0]} or {shapes[1]}")
    if len(array) == channels:
        array = np.concatenate([array / latents.scaling_factor, np.zeros_like(array)])
    return array.transpose(1, 2, 0)


def _check_encoding(path, moments, mean, std):
    """Raises InputError if stored moments (S, S, 2C) are of another autoencoder or image."""
    stored_mean, stored_std = np.split(moments, 2, axis=-1)
    accepted = _TOLERANCE * np.linalg.norm(mean)
    if not stored_std.any():  # a sample
        accepted += _SAMPLE_TOLERANCE * np.linalg.norm(std)
    difference = np.linalg.norm(stored_mean - mean)
    if not difference <= accepted:
        raise InputError(
            f"{path}: not what --vae makes of its image; relative to {np.linalg.norm(mean):.3g}, "
            f"the norm of the means, they differ by {difference:.3g} and {accepted:.3g} is "
            "accepted: give the VAE that made them, and the --resolution of the images"
        )
