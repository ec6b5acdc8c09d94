"""Latents and labels of generated images, as functions of one seed per image.

Image i of a set always has the same latent, whatever the batch size and the number of devices.
"""

from collections.abc import Sequence

import numpy as np

from ladagan_tf.errors import InputError

MAX_SEED = 2**63 - 1
LEAST_TRUNCATION = 0.01  # of z: a latent then takes a thousand draws
LABELS = ("balanced", "random", "proportional")


def latents(seeds: Sequence[int], noise_dim: int, truncation: float | None = None) -> np.ndarray:
    """Standard normal latents, truncated if asked for.

    Args:
        seeds: sequence of ints in [0, 2^63).
        noise_dim: int, Z.
        truncation: float >= `LEAST_TRUNCATION`; components beyond [-truncation, truncation] are
            drawn again (BigGAN, arXiv 1809.11096, Sec. 3.1), in rounds of Z draws of the seed's
            own stream: each becomes the first of its draws that lies within. So a component is the
            same for all truncations that allow it. None for none.

    Returns:
        float32 array (len(seeds), Z).

    Raises:
        InputError: if a seed or the truncation is out of range.
    """
    check_truncation(truncation)
    drawn = [_latent(_stream(seed, 0), noise_dim, truncation) for seed in seeds]
    return np.asarray(drawn, np.float32).reshape(len(drawn), noise_dim)


def _latent(stream, noise_dim, truncation):
    z = stream.standard_normal(noise_dim)
    while truncation is not None and (beyond := np.abs(z) > truncation).any():
        z = np.where(beyond, stream.standard_normal(noise_dim), z)
    return z


def check_truncation(truncation: float | None) -> None:
    """Raises InputError unless a truncation of z is None or one that draws can meet."""
    if truncation is not None and not truncation >= LEAST_TRUNCATION:
        raise InputError(
            f"truncation_z={truncation:g}: give a number from {LEAST_TRUNCATION:g} on; of normal "
            "numbers 68 % are within 1, 95 % within 2"
        )


def more_latents(seed: int, count: int, noise_dim: int) -> np.ndarray:
    """Standard normal latents of one seed, other ones than those of pictures.

    Args:
        seed: int in [0, 2^63).
        count: int.
        noise_dim: int, Z.

    Returns:
        float32 array (count, Z).
    """
    return _stream(seed, 2).standard_normal((count, noise_dim)).astype(np.float32)


def path_ends(
    seeds: Sequence[int], noise_dim: int, truncation: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Where a path from each seed's latent leads to, and a place on it.

    Args:
        seeds: sequence of ints in [0, 2^63).
        noise_dim: int, Z.
        truncation: see `latents`.

    Returns:
        (float32 array (len(seeds), Z), float64 array (len(seeds), 1)): other standard normal
        latents than those of pictures; and shares of the way, uniform in [0, 1).
    """
    streams = [_stream(seed, 3) for seed in seeds]
    ends = [_latent(stream, noise_dim, truncation) for stream in streams]
    places = [stream.random() for stream in streams]
    return np.float32(ends).reshape(len(ends), noise_dim), np.asarray(places).reshape(-1, 1)


def labels(
    seeds: Sequence[int], num_classes: int, how: str, class_counts: Sequence[int] | None = None
) -> np.ndarray:
    """Class labels of a conditional model.

    Args:
        seeds: sequence of ints in [0, 2^63).
        num_classes: int >= 1.
        how: "balanced", classes in turn by seed; "random", uniform and independent; or
            "proportional", independent in the proportions of `class_counts`.
        class_counts: sequence of `num_classes` numbers of images, for "proportional".

    Returns:
        int32 array (len(seeds),).
    """
    if how == "balanced":
        return np.asarray([seed % num_classes for seed in seeds], np.int32)
    if how == "random":
        return np.asarray([_stream(seed, 1).integers(num_classes) for seed in seeds], np.int32)
    shares = np.asarray(class_counts, np.float64) / np.sum(class_counts)
    drawn = [_stream(seed, 1).choice(num_classes, p=shares) for seed in seeds]
    return np.asarray(drawn, np.int32)


def _stream(seed, purpose):
    """A generator of its own for each (seed, purpose): a counter far from the others'."""
    if not 0 <= seed <= MAX_SEED:
        raise InputError(f"seed={seed}: it must be an integer from 0 to 2^63 - 1")
    return np.random.Generator(np.random.Philox(key=[seed, purpose]))
