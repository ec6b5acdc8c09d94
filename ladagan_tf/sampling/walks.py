"""Seeds as users write them, images of latents, and walks between latents: pure functions."""

import difflib
import re
import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ladagan_tf import pictures
from ladagan_tf.devices import padded
from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds
from ladagan_tf.sampling.sampler import Sampler

MOST_SEEDS = 10_000_000  # above, a typing error is likelier than a wish


def parse_seeds(text: str) -> list[int]:
    """Seeds from lists and ranges, e.g. "0-63,70", in the order and as often as they are given.

    Returns:
        List of ints.

    Raises:
        InputError: if it is written otherwise, a range runs backwards, or there are too many.
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,19})\s*(?:-\s*(\d{1,19})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first or last > seeds.MAX_SEED:
            raise InputError(f"seeds={text}: {part!r} is no seed or range; write 0-63,70")
        if len(found) + last - first >= MOST_SEEDS:
            raise InputError(f"seeds={text}: at most {MOST_SEEDS:,} at a time")
        found.extend(range(first, last + 1))
    return found


def parse_classes(
    entries: list[str] | None, num_classes: int, class_names: Sequence[str] = ()
) -> list[int]:
    """Class numbers of a conditional model; all of them if `entries` is None.

    An entry is a number; or a name, or one of a name's words between commas, in any case of
    letters. Digits are a number even where a class is called so.

    Args:
        entries: list of texts, or None.
        num_classes: int, 0 for an unconditional model.
        class_names: sequence of `num_classes` texts; empty where classes have no names.

    Returns:
        List of ints; empty for an unconditional model.

    Raises:
        InputError: for classes that the model does not have.
    """
    if entries is None:
        return list(range(num_classes))
    text = ",".join(entries)
    if not num_classes:
        raise InputError(f"classes={text}: this model is unconditional, it has no classes")
    accepted = f"give numbers from 0 to {num_classes - 1}"
    if class_names:
        accepted += f", or names such as {', '.join(class_names[:3])}"
    if not entries:
        raise InputError(f"classes={text}: {accepted}")
    return [_class_number(entry, num_classes, class_names, accepted) for entry in entries]


def _class_number(entry, num_classes, class_names, accepted):
    """The number of the class that an entry of --classes means."""
    if entry.isdecimal():
        number = int(entry[:10])
        found = [number] if number < num_classes else []
    else:
        found = _named(entry, class_names)
    if len(found) == 1:
        return found[0]
    if found:
        raise InputError(
            f"classes={entry}: {len(found)} classes are called so, give a number of {found}"
        )
    words = {word for name in class_names for word in (name, *_words(name))}
    similar = difflib.get_close_matches(entry, words, 1)
    hint = f"did you mean {similar[0]}? " if similar else ""
    raise InputError(f"classes={entry}: {hint}{accepted}")


def _named(entry, class_names):
    """Numbers of the classes of a name: as it is, or else in any case, or as one of its words."""
    wanted = _folded(entry.strip())
    for same in (
        lambda name: name == entry,
        lambda name: _folded(name) == wanted,
        lambda name: wanted in map(_folded, _words(name)),
    ):
        if found := [number for number, name in enumerate(class_names) if same(name)]:
            return found
    return []


def _folded(name):
    """Without case, and of one form: folders of macOS spell an accent as a letter of its own."""
    return unicodedata.normalize("NFC", name.casefold())


def _words(name):
    return [word.strip() for word in name.split(",")]


def parse_grid(text: str) -> tuple[int, int]:
    """(rows, columns) from e.g. "4x8"."""
    match = re.fullmatch(r"([1-9]\d{0,18})x([1-9]\d{0,18})", text)
    if not match:
        raise InputError(f"grid={text}: give rows and columns, as 8x8")
    rows, columns = int(match[1]), int(match[2])
    if rows * columns > MOST_SEEDS:
        raise InputError(f"grid={text}: at most {MOST_SEEDS:,} images at a time")
    return rows, columns


def labels_in_turn(numbers: Sequence[int], classes: Sequence[int]) -> np.ndarray:
    """int32 labels (N,): a seed's place among the classes is the seed modulo their number."""
    return np.asarray([classes[number % len(classes)] for number in numbers], np.int32)


def image_batches(
    sampler: Sampler, z: np.ndarray, labels: np.ndarray | None = None, batch_size: int = 32
) -> Iterator[np.ndarray]:
    """Computes images, batch by batch.

    Args:
        sampler: Sampler.
        z: float32 array (N, Z). An image depends on its latent only; the batch size changes no
            more than float rounding, by at most one of 255 grey levels.
        labels: int32 array (N,) for a conditional model, else None.
        batch_size: int.

    Yields:
        uint8 arrays (b, S, S, 3); the last one may be smaller.

    Raises:
        InputError: for images that are not finite.
    """
    inputs = [z] if labels is None else [z, labels]
    batch_size = min(batch_size, len(z))
    for start in range(0, len(z), batch_size):
        parts = [x[start : start + batch_size] for x in inputs]
        count = len(parts[0])
        # A last, smaller batch would be compiled anew.
        full = [padded(x, batch_size) for x in parts]
        yield pictures.to_uint8(sampler.generate(*full)[:count])


def walk(z: ArrayLike, frames: int, how: str = "spherical") -> np.ndarray:
    """Latents along a closed path through all of `z`, back from the last to the first.

    Args:
        z: float32 array (K, Z), K >= 2.
        frames: int, latents per pair, the first of the pair included. What would follow the last
            one is the very first: played in a loop, no frame is repeated.
        how: "linear", or "spherical": along a great circle (Shoemake 1985), which keeps the length
            that normal latents have, where the chord passes nearer to 0.

    Returns:
        float32 array (K * frames, Z).
    """
    z = np.asarray(z, np.float64)
    t = np.arange(frames)[:, None] / frames  # (frames, 1)
    between = spherical if how == "spherical" else _linear
    pairs = zip(z, np.roll(z, -1, axis=0), strict=True)
    return np.concatenate([between(a, b, t) for a, b in pairs]).astype(np.float32)


def _linear(a, b, t):
    return (1.0 - t) * a + t * b


def spherical(a: ArrayLike, b: ArrayLike, t: ArrayLike) -> np.ndarray:
    """Points on great circles, which pass through the lengths of both ends (Shoemake 1985).

    Args:
        a, b: float arrays (..., Z), the ends.
        t: float array (..., 1), shares of the way.

    Returns:
        float64 array (..., Z); on the chord where the ends have the same direction, or opposite
        ones, so that there is no single great circle.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    lengths = np.linalg.norm(a, axis=-1, keepdims=True) * np.linalg.norm(b, axis=-1, keepdims=True)
    cosine = np.sum(a * b, axis=-1, keepdims=True) / np.maximum(lengths, np.finfo(float).tiny)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    none = np.sin(angle) < 1e-6
    sine = np.where(none, 1.0, np.sin(angle))
    circle = (np.sin((1.0 - t) * angle) * a + np.sin(t * angle) * b) / sine
    return np.where(none, _linear(a, b, t), circle)
