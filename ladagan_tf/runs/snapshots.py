"""Power-function averages of a run over its time, from which others are made after training.

A snapshot is an .npz archive step-*.npz with

    images        int, images trained on
    sigma_rel     (K,), the length of each average, see `sampling.posthoc`
    statistics    indices of weights that are not trained, as moving variances
    copied        those of them that are not averaged but copied, as mean styles
    average_k_i   weight number i of average number k, in the order of the network's `weights`

Trained weights are float16. In a run of 6 thousand images with ten snapshots that moved what was
made of them by 0.005 of 255 grey levels on the mean, where the profiles' own error moved it by 0.06
to 0.4; with ten times as many snapshots 0.02 are left in all, and files are half as large
(2026-11-26). What is not trained, and what float16 cannot hold, is float32.

There is one for each due checkpoint, and none is ever deleted. No run needs them to go on.
"""

import dataclasses
import pathlib
import re

import numpy as np

from ladagan_tf.errors import one_line_about
from ladagan_tf.files import atomic_path, set_aside
from ladagan_tf.untrusted import read_npz

NAME = re.compile(r"step-(\d{8,})\.npz")
LARGEST = float(np.finfo(np.float16).max)
SHORTEST, UNIFORM = 0.001, 12**-0.5  # lengths lie between them; at the second all times weigh alike


@dataclasses.dataclass(frozen=True)
class Entry:
    """What a snapshot is of.

    Attributes:
        path: pathlib.Path.
        step: int.
        images: int.
        sigma_rels: tuple of floats, of each average.
    """

    path: pathlib.Path
    step: int
    images: int
    sigma_rels: tuple


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What a snapshot holds.

    Attributes:
        averages: list of lists of arrays, the weights of each average.
        statistics: set of ints, which weights are not trained.
        copied: set of ints, which of these are not averages.
    """

    averages: list
    statistics: set
    copied: set


class Snapshots:
    """Writes them.

    Args:
        folder: pathlib.Path, made when there is something to write.
        averages: dict from sigma_rel, a float, to a list of variables.
        statistics, copied: lists of ints, see `Snapshot`.
    """

    def __init__(self, folder, averages, statistics=(), copied=()):
        self.folder = pathlib.Path(folder)
        self.averages = averages
        self.numbers = {"statistics": statistics, "copied": copied}

    def save(self, step, images):
        """Writes that of `step`, after `images` images; OSError if it cannot be written."""
        arrays = {
            f"average_{k}_{i:03d}": self._stored(i, np.asarray(variable))
            for k, variables in enumerate(self.averages.values())
            for i, variable in enumerate(variables)
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(self.folder / f"step-{step:08d}.npz") as temporary:
            np.savez(
                temporary,
                images=np.int64(images),
                sigma_rel=np.array([*self.averages], np.float64),
                **{name: np.array(numbers, np.int64) for name, numbers in self.numbers.items()},
                **arrays,
            )

    def _stored(self, number, array):
        trained = number not in self.numbers["statistics"]
        return array.astype("f2" if trained and np.abs(array).max() < LARGEST else "f4")

    def begin(self, step):
        """Drops those after `step`, which a run that continues there writes again.

        Those of a run that begins anew are set aside.
        """
        later = [path for at, path in _paths(self.folder) if at > step]
        if later and step == 0:
            set_aside(self.folder)
        else:
            for path in later:
                path.unlink()


def read_entries(folder):
    """What is in a folder of snapshots: a list of `Entry`, oldest first.

    Raises:
        InputError: naming a file that cannot be read.
    """
    return [_read_entry(step, path) for step, path in _paths(folder)]


def _paths(folder):
    found = ((NAME.fullmatch(path.name), path) for path in pathlib.Path(folder).glob("step-*.npz"))
    return sorted((int(match[1]), path) for match, path in found if match)


def _read_entry(step, path):
    arrays = read_npz(path, ("images", "sigma_rel"))
    with one_line_about(path, "stored average"):
        images, lengths = int(arrays["images"]), np.asarray(arrays["sigma_rel"], np.float64)
        inside = (lengths >= SHORTEST) & (lengths < UNIFORM)
        if images <= 0 or lengths.ndim != 1 or not lengths.size or not np.all(inside):
            raise ValueError(f"images={images}, sigma_rel={lengths}")
        return Entry(path, step, images, tuple(map(float, lengths)))


def read(entry):
    """The `Snapshot` of an `Entry`.

    Raises:
        InputError: if it cannot be read, lacks a weight or holds one that is not finite.
    """
    arrays = read_npz(entry.path)
    with one_line_about(entry.path, "stored average"):
        count, left = divmod(len(arrays) - 4, len(entry.sigma_rels))
        averages = [
            [arrays[f"average_{k}_{i:03d}"] for i in range(count)]
            for k in range(len(entry.sigma_rels))
        ]
        if left or not all(np.all(np.isfinite(array)) for part in averages for array in part):
            raise ValueError("a weight is missing or not finite")
        numbers = (set(map(int, arrays[name])) for name in ("statistics", "copied"))
        return Snapshot(averages, *numbers)
