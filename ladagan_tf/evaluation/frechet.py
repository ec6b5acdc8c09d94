"""The Frechet distance of two Gaussians, as pure float64 NumPy functions of their moments."""

import numpy as np
from numpy.typing import ArrayLike

from ladagan_tf.errors import InputError

_EPS, _TINY = np.finfo(np.float64).eps, np.finfo(np.float64).tiny


def frechet_distance(
    mean_1: ArrayLike, covariance_1: ArrayLike, mean_2: ArrayLike, covariance_2: ArrayLike
) -> float:
    """Frechet distance of two Gaussians; FID if these are moments of Inception features.

    |m1 - m2|^2 + Tr(S1 + S2 - 2 (S1 S2)^(1/2)): Dowson & Landau (1982), Heusel et al. (2017).

    Args:
        mean_1, mean_2: (D,).
        covariance_1, covariance_2: (D, D), symmetric; any rank, also 0.

    Returns:
        float >= 0: rounding (about 1e-14 of the trace) that would make it negative is cut off.

    Raises:
        InputError: if dimensions differ, a value is not finite, or a matrix is no covariance.
    """
    moments = (mean_1, covariance_1, mean_2, covariance_2)
    mean_1, covariance_1, mean_2, covariance_2 = (np.asarray(a, np.float64) for a in moments)
    shapes = [np.shape(a) for a in moments]
    if mean_1.ndim != 1 or shapes != 2 * [mean_1.shape, 2 * mean_1.shape]:
        raise InputError(f"means and covariances have shapes {shapes}: expected one dimension D")
    if not all(np.isfinite(a).all() for a in moments):
        raise InputError("means or covariances are not finite (NaN or infinity)")
    for covariance in (covariance_1, covariance_2):
        check_covariance(covariance)
    squares = np.square(mean_1 - mean_2).sum() + np.trace(covariance_1) + np.trace(covariance_2)
    return max(0.0, float(squares - 2.0 * trace_of_root(covariance_1, covariance_2)))


def check_covariance(matrix: np.ndarray) -> None:
    """Raises InputError unless a finite matrix (D, D) is symmetric and positive semi-definite.

    To 1e-6 of its norm, more than what float32 rounds. Of another one a distance comes out as
    well, and looks like one.
    """
    slack = 1e-6 * np.linalg.norm(matrix)
    if np.abs(matrix - matrix.T).max() > slack:
        raise InputError("it is no covariance: not symmetric")
    try:
        np.linalg.cholesky(matrix + (slack + _TINY) * np.eye(len(matrix)))
    except np.linalg.LinAlgError:
        raise InputError("it is no covariance: it has negative eigenvalues") from None


def trace_of_root(covariance_1: np.ndarray, covariance_2: np.ndarray) -> float:
    """Tr (S1 S2)^(1/2) of two symmetric positive semi-definite matrices (D, D), float64.

    With S1 = A A^T, S1 S2 has the non-zero eigenvalues of the symmetric A^T S2 A, which cannot go
    complex. Eigenvalues that rounding cannot tell from 0 have to be cut: the root of 1e-16 is
    1e-8, and a rank-deficient covariance (fewer images than features) has many of them.
    """
    try:
        factor = np.linalg.cholesky(covariance_1)  # A, (D, D)
    except np.linalg.LinAlgError:
        factor = _factor_of_less_rank(covariance_1)
    eigenvalues = np.linalg.eigvalsh(factor.T @ covariance_2 @ factor)
    # The noise was measured as up to 0.3 eps |S1| |S2| (D up to 1024).
    noise = 4 * _EPS * np.linalg.norm(covariance_1) * np.linalg.norm(covariance_2)
    return float(np.sqrt(eigenvalues[eigenvalues > noise]).sum())


def _factor_of_less_rank(covariance):
    """A with A A^T = `covariance` (D, D), of as many columns as it has rank R: (D, R).

    Cholesky's decomposition with pivoting, which ends where what is left is rounding (Higham,
    1990): of few images a fraction of the D^3 of the eigenvectors.
    """
    left = covariance.diagonal().copy()
    rounding = len(left) * _EPS * left.max()
    columns = np.empty_like(covariance)  # a column of A in each row
    rank = 0
    while rank < len(left) and left[pivot := left.argmax()] > rounding:
        done = columns[:rank]
        columns[rank] = (covariance[pivot] - done[:, pivot] @ done) / np.sqrt(left[pivot])
        left -= np.square(columns[rank])
        rank += 1
    return columns[:rank].T
