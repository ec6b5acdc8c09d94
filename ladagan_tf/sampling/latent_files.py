"""Latents as files: what `project` finds and `generate` draws."""

import os
from collections.abc import Sequence

import numpy as np

from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, writing
from ladagan_tf.untrusted import read_npz

ENDING = ".latents.npz"
SPACES = ("z", "w")  # what the generator takes; the style that its mapping makes of it


def write(
    path: str | os.PathLike,
    latents: np.ndarray,
    labels: np.ndarray | None = None,
    space: str = "z",
) -> None:
    """Writes an .npz: `z` or `w`, and `labels` where there are any.

    Args:
        path: file to write or replace.
        latents: float32 array (N, Z), or (N, C).
        labels: int32 array (N,), classes of a conditional model; or None.
        space: one of `SPACES`, which they are of.

    Raises:
        InputError: if it cannot be written.
    """
    arrays = {space: latents} | ({} if labels is None else {"labels": labels})
    with writing(path), atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def space_of(paths: Sequence[str | os.PathLike]) -> str:
    """Which of `SPACES` the latents of files are of.

    Raises:
        InputError: if a file cannot be read, holds none or both, or the files differ.
    """
    spaces = []
    for path in paths:
        found = read_npz(path, SPACES, what=f"latents={path}")
        if len(found) != 1:
            raise InputError(f"latents={path}: it has {len(found)} of z and w; it must have one")
        spaces += found
    if len(set(spaces)) > 1:
        raise InputError(
            f"latents={','.join(map(str, paths))}: they are {', '.join(spaces)}; give files of one"
        )
    return spaces[0]


def read(
    paths: Sequence[str | os.PathLike], size: int, num_classes: int, space: str = "z"
) -> tuple[np.ndarray, list[int]]:
    """Latents of files, one after the other.

    Args:
        paths: sequence of .npz files with `z` (N, Z) or `w` (N, C), and `labels` (N,) for a
            conditional model.
        size: int, Z or C of the model.
        num_classes: int; 0 for an unconditional model, and labels are not looked at.
        space: one of `SPACES`.

    Returns:
        (float32 array (M, size), list of M ints): the classes; empty if not every file has them.

    Raises:
        InputError: if a file cannot be read, or it has other latents or classes.
    """
    latents, labels = [], []
    for path in paths:
        found = read_npz(path, (space, "labels"), what=f"latents={path}")
        z = found.get(space, np.zeros(0))
        if z.dtype.kind != "f" or z.ndim != 2 or not len(z) or z.shape[1] != size:
            raise InputError(
                f"latents={path}: its {space} is {z.dtype} of shape {z.shape}; this model takes "
                f"floats of shape (N, {size})"
            )
        with np.errstate(over="ignore"):  # of float64, what float32 does not hold
            z = z.astype(np.float32)
        if not np.isfinite(z).all():
            raise InputError(f"latents={path}: its {space} holds NaN or infinite values")
        latents.append(z)
        if num_classes and "labels" in found:
            labels.append(_checked(found["labels"], len(z), num_classes, path))
    complete = len(labels) == len(latents)
    return np.concatenate(latents), [int(x) for some in labels for x in some] if complete else []


def _checked(labels, count, num_classes, path):
    """Labels if they are classes, one per latent; else InputError."""
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise InputError(
            f"latents={path}: its labels are {labels.dtype} of shape {labels.shape}; give integers "
            f"of shape ({count},)"
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise InputError(f"latents={path}: its labels are not all from 0 to {num_classes - 1}")
    return labels
