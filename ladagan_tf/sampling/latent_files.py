"""Latents as files: what `project` finds and `generate` draws."""

import os
from collections.abc import Sequence

import numpy as np

from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, writing
from ladagan_tf.untrusted import read_npz

ENDING = ".latents.npz"


def write(path: str | os.PathLike, z: np.ndarray, labels: np.ndarray | None = None) -> None:
    """Writes an .npz: `z`, and `labels` where there are any.

    Args:
        path: file to write or replace.
        z: float32 array (N, Z).
        labels: int32 array (N,), classes of a conditional model; or None.

    Raises:
        InputError: if it cannot be written.
    """
    arrays = {"z": z} | ({} if labels is None else {"labels": labels})
    with writing(path), atomic_path(path) as temporary, open(temporary, "wb") as file:
        np.savez(file, **arrays)


def read(
    paths: Sequence[str | os.PathLike], noise_dim: int, num_classes: int
) -> tuple[np.ndarray, list[int]]:
    """Latents of files, one after the other.

    Args:
        paths: sequence of .npz files with `z` (N, Z), and `labels` (N,) for a conditional model.
        noise_dim: int, Z of the model.
        num_classes: int; 0 for an unconditional model, and labels are not looked at.

    Returns:
        (float32 array (M, Z), list of M ints): the classes; empty if not every file has them.

    Raises:
        InputError: if a file cannot be read, or it has other latents or classes.
    """
    latents, labels = [], []
    for path in paths:
        found = read_npz(path, ("z", "labels"), what=f"latents={path}")
        z = found.get("z", np.zeros(0))
        if z.dtype.kind != "f" or z.ndim != 2 or not len(z) or z.shape[1] != noise_dim:
            raise InputError(
                f"latents={path}: its z is {z.dtype} of shape {z.shape}; this model takes floats "
                f"of shape (N, {noise_dim})"
            )
        if not np.isfinite(z).all():
            raise InputError(f"latents={path}: its z holds NaN or infinite values")
        latents.append(z.astype(np.float32))
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
