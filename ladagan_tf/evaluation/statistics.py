"""Mean and covariance of features, gathered batch by batch, in float64.

What is kept does not grow with the number of images, and parts gathered apart (replicas, hosts,
a resumed run) merge into what one pass would have given.
"""

import numpy as np

from ladagan_tf.errors import InputError


class Moments:
    """Count, mean and scatter matrix of the rows seen so far.

    Two parts are joined by the pairwise update of Chan, Golub & LeVeque (1979), "Updating formulae
    and a pairwise algorithm for computing sample variances", Eq. 2.1b. Every part is centred on its
    own mean, so a large common offset of the features costs no precision, and the result does not
    depend on how rows were batched (1e-12 relative).

    Args:
        dimension: int >= 1, the number of features D.

    Raises:
        InputError: if `dimension` is less than 1.
    """

    def __init__(self, dimension):
        if dimension < 1:
            raise InputError(f"dimension={dimension} must be at least 1")
        self.dimension = int(dimension)
        self.count = 0
        self.mean = np.zeros(self.dimension)  # (D,)
        self._scatter = np.zeros((self.dimension, self.dimension))  # sum of (x - mean)(x - mean)^T

    def add(self, features):
        """Adds the rows of `features` (b, D), any real dtype; b may be 0.

        Raises:
            InputError: if the shape is not (b, D) or a value is not finite; nothing is added then.
        """
        features = np.asarray(features, dtype=np.float64)
        if features.ndim != 2 or features.shape[1] != self.dimension:
            raise InputError(
                f"features have shape {features.shape}, expected (rows, {self.dimension})"
            )
        rows = len(features)
        if not rows:
            return
        mean = features.mean(axis=0)
        if not np.isfinite(mean).all():
            bad = rows - np.isfinite(features).all(axis=1).sum()
            raise InputError(f"{bad} of {rows} feature rows are not finite (NaN or infinity)")
        # The shift of the mean enters as one more row, so that one symmetric product does it all.
        shift = self._move_mean(rows, mean)
        centred = np.vstack([features - mean, shift])  # (b + 1, D)
        self._scatter += centred.T @ centred  # the same operand twice: BLAS syrk

    def merge(self, other):
        """Adds the rows that another `Moments` has seen.

        Raises:
            InputError: if the dimensions differ.
        """
        if other.dimension != self.dimension:
            raise InputError(
                f"moments of dimension {other.dimension} cannot be merged into {self.dimension}"
            )
        if other.count:
            shift = self._move_mean(other.count, other.mean)
            self._scatter += other._scatter + np.outer(shift, shift)

    def _move_mean(self, rows, mean):
        """Joins `rows` rows of this mean; returns s (D,) such that s s^T is what scatter gains."""
        difference = mean - self.mean
        total = self.count + rows
        shift = difference * np.sqrt(self.count * rows / total)
        self.mean = self.mean + difference * (rows / total)
        self.count = total
        return shift

    def covariance(self):
        """Unbiased covariance (D, D), with n - 1 in the denominator.

        Raises:
            InputError: if fewer than 2 rows were added.
        """
        if self.count < 2:
            raise InputError(f"a covariance needs at least 2 images, got {self.count}")
        return self._scatter / (self.count - 1)

    def arrays(self):
        """What `from_arrays` takes: `count` () int64, `mean` (D,), `scatter` (D, D), float64."""
        return {
            "count": np.int64(self.count),
            "mean": self.mean.copy(),
            "scatter": self._scatter.copy(),
        }

    @classmethod
    def from_arrays(cls, count, mean, scatter):
        """The inverse of `arrays`: `Moments.from_arrays(**moments.arrays())`.

        Raises:
            InputError: if the shapes do not fit together, or a value is not finite or the count
                negative.
        """
        mean, scatter = (np.array(a, dtype=np.float64) for a in (mean, scatter))
        if mean.ndim != 1 or scatter.shape != 2 * mean.shape:
            raise InputError(
                f"mean {mean.shape} and scatter {scatter.shape} do not fit: expected (D,), (D, D)"
            )
        if count < 0 or not (np.isfinite(mean).all() and np.isfinite(scatter).all()):
            raise InputError(f"stored moments are damaged: count={count}, or values not finite")
        moments = cls(len(mean))
        moments.count, moments.mean, moments._scatter = int(count), mean, scatter
        return moments
