"""Averages of any length after training: power-function averages and how others follow from them.

Karras et al. 2024, "Analyzing and Improving the Training Dynamics of Diffusion Models" (EDM2, arXiv
2312.02696), Sec. 3 and Appendix C. The average at time t weighs what the weights were at tau by
p(tau) = (gamma + 1) tau^gamma / t^(gamma + 1), from 0 to t: its length grows with the training.
sigma_rel is the standard deviation of that profile as a share of t. A linear combination of stored
averages is the average of the combined profiles, so that the combination whose profile is nearest
to a wanted one, in the sense of least squares, is nearly the average of that length.
"""

import os

import numpy as np
from numpy.typing import ArrayLike

from ladagan_tf.decimals import in_kimg
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.runs import snapshots

DEFAULT_SIGMA_REL = ("0.05", "0.1")  # what is stored; Appendix C.3


def exponent(sigma_rel: float) -> float:
    """gamma of a profile whose standard deviation is `sigma_rel` times its length (Eq. 123, 126).

    Args:
        sigma_rel: float from `runs.snapshots.SHORTEST` to below `runs.snapshots.UNIFORM`.

    Returns:
        float above 0: the largest root of (gamma + 2)^2 (gamma + 3) = (gamma + 1) / sigma_rel^2.
    """
    inverse = sigma_rel**-2.0
    return float(np.roots([1.0, 7.0, 16.0 - inverse, 12.0 - inverse]).real.max())


def inner_products(
    times: ArrayLike, exponents: ArrayLike, other_times: ArrayLike, other_exponents: ArrayLike
) -> np.ndarray:
    """Integrals over tau of the product of two profiles, in closed form (Appendix C.3).

    Args:
        times, other_times: arrays, t > 0 of each profile.
        exponents, other_exponents: arrays, gamma of each; all four broadcast.

    Returns:
        float64 array.
    """
    a, b = np.asarray(exponents, np.float64), np.asarray(other_exponents, np.float64)
    until = np.minimum(times, other_times)
    shares = (until / times) ** a * (until / other_times) ** b * until / times / other_times
    return (a + 1.0) * (b + 1.0) / (a + b + 1.0) * shares


def coefficients(
    times: ArrayLike, sigma_rels: ArrayLike, time: float, sigma_rel: float
) -> tuple[np.ndarray, float]:
    """What stored averages are multiplied by to make another one.

    As Appendix C.3, but that the coefficients sum to 1, so that weights which never changed stay
    what they are: with few snapshots the nearest profile alone may sum to 0.9.

    Args:
        times: array (N,), when each stored average was taken, in any unit.
        sigma_rels: array (N,), of what length each is; no two are the same at one time.
        time: float > 0, of the average to make.
        sigma_rel: float, its length.

    Returns:
        (float64 array (N,), float): and how far the profile is from the wanted one: the L2 norm of
        the difference as a share of the wanted one's.
    """
    times, exponents = np.asarray(times, np.float64), np.array([*map(exponent, sigma_rels)])
    wanted = exponent(sigma_rel)
    products = inner_products(times[:, None], exponents[:, None], times, exponents)
    targets = inner_products(times, exponents, time, wanted)
    scales = np.sqrt(np.diag(products))  # a better condition
    solved, *_ = np.linalg.lstsq(  # of lengths that are hardly different, one does
        products / scales / scales[:, None],
        np.stack([targets / scales, 1.0 / scales], axis=1),
        rcond=1e-13,
    )
    nearest, ones = (solved / scales[:, None]).T
    mixed = nearest + (1.0 - nearest.sum()) / ones.sum() * ones
    norm = inner_products(time, wanted, time, wanted)
    squared = mixed @ products @ mixed - 2.0 * mixed @ targets + norm
    return mixed, float(np.sqrt(max(squared, 0.0) / norm))


class PosthocAverages:
    """What a run has stored to make averages of.

    Args:
        folder: that of its snapshots, see `runs.snapshots`.

    Attributes:
        last_kimg: float, of its last snapshot.

    Raises:
        InputError: if there are none, or one cannot be read.
    """

    def __init__(self, folder: str | os.PathLike):
        self.entries = snapshots.read_entries(folder)
        if not self.entries:
            raise InputError(
                f"{folder}: no stored averages in it; a run has them that was trained with "
                "--posthoc_ema"
            )
        self.last_kimg = self.entries[-1].images / 1000.0

    def reconstruct(
        self, sigma_rels: list[float], kimg: float | None = None
    ) -> tuple[list[list[np.ndarray]], list[float]]:
        """Weights averaged over other lengths.

        Args:
            sigma_rels: list of floats, lengths.
            kimg: float, thousands of images at which the averages end; None: at the last snapshot.

        Returns:
            (list of lists of float32 arrays, list of floats): for each length the weights in the
            order of the network's, and how far its profile is off, see `coefficients`.

        Raises:
            InputError: if nothing was stored around `kimg`, or a snapshot cannot be read.
        """
        if kimg is not None and not 0.001 <= kimg <= self.last_kimg:
            raise InputError(
                f"kimg={kimg}: give a number from 0.001, one image, up to the last stored average "
                f"at {in_kimg(self.entries[-1].images)}"
            )
        images = 1000.0 * (self.last_kimg if kimg is None else kimg)
        stored = [(e.images, sigma_rel) for e in self.entries for sigma_rel in e.sigma_rels]
        times, lengths = np.array(stored, np.float64).T
        found = [coefficients(times, lengths, images, sigma_rel) for sigma_rel in sigma_rels]
        nearest = min(self.entries, key=lambda entry: abs(entry.images - images))
        sums, ranges, first = None, {}, 0
        for entry in self.entries:
            snapshot = snapshots.read(entry)
            rows = slice(first, first + len(entry.sigma_rels))
            first = rows.stop
            with one_line_about(entry.path, "stored average"):  # it may not fit the others
                if sums is None:
                    sums = [[np.zeros(a.shape) for a in snapshot.averages[0]] for _ in sigma_rels]
                for made, (mixed, _) in zip(sums, found, strict=True):
                    _add(made, mixed[rows], snapshot, entry is nearest)
                for i in snapshot.statistics - snapshot.copied:
                    stored = [average[i] for average in snapshot.averages]
                    low, high = ranges.get(i, (stored[0], stored[0]))
                    low, high = (
                        np.minimum(low, np.min(stored, 0)),
                        np.maximum(high, np.max(stored, 0)),
                    )
                    ranges[i] = low, high
        for made in sums:  # coefficients may be negative, variances may not become so
            for i, limits in ranges.items():
                made[i] = np.clip(made[i], *limits)
        return [[a.astype(np.float32) for a in made] for made in sums], [off for _, off in found]


def _add(sums, shares, snapshot, is_nearest):
    """Adds a snapshot's part to `sums`; what it copied is taken from the one nearest in time."""
    for i, total in enumerate(sums):
        if i not in snapshot.copied:
            for share, average in zip(shares, snapshot.averages, strict=True):
                total += share * average[i].astype(np.float64)
        elif is_nearest:
            total += snapshot.averages[0][i]
