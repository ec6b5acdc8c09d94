"""Mean and covariance of features, gathered batch by batch, in float64.

What is kept does not grow with the number of images.
"""

import numpy as np

from ladagan_tf.errors import InputError


class Moments:
    """Count, mean and scatter matrix of the rows seen so far.

    A batch is joined by the pairwise update of Chan, Golub & LeVeque (1979), "Updating formulae
    and a pairwise algorithm for computing sample variances", Eq. 2.1b. Each is centred on its own
    mean, so a large common offset of the features costs no precision, and the result does not
    depend on how rows were batched (1e-12 relative).

    Args:
        dimension: int >= 1, the number of features D.
    """

    def __init__(self, dimension):
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
        difference = mean - self.mean
        total = self.count + rows
        # The shift of the mean enters as one more row, so that one symmetric product does it all.
        shift = difference * np.sqrt(self.count * rows / total)
        self.mean = self.mean + difference * (rows / total)
        self.count = total
        centred = np.vstack([features - mean, shift])  # (b + 1, D)
        self._scatter += centred.T @ centred  # the same operand twice: BLAS syrk

    def covariance(self):
        """Unbiased covariance (D, D), with n - 1 in the denominator.

        Raises:
            InputError: if fewer than 2 rows were added.
        """
        if self.count < 2:
            raise InputError(f"a covariance needs at least 2 images, got {self.count}")
        return self._scatter / (self.count - 1)
