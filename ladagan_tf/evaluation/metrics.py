"""The numbers one may publish, as pure float64 NumPy functions of features, logits or counts.

Features are banks (N, D) of any real dtype. What is quadratic in N is computed in blocks of
`block` x `block` pairs, each converted to float64, so memory beyond the banks stays bounded.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ladagan_tf.errors import InputError

PATH_STEP = 1e-4  # of the way between two latents (Karras et al. 2019)
# Squared distances below this fraction of |x|^2 + |y|^2 are what remains of rounding in the Gram
# matrix, so the points coincide. The next one decides when two squared distances are equal.
_COINCIDENT = 1e-12
_TIE = 1e-9
_MOST = 1e150  # of values whose squares are summed


def _checked_bank(features, what, fewest=2):
    """`features` as an array, which must be (N >= `fewest`, D) and finite."""
    features = np.asarray(features)
    if features.ndim != 2 or len(features) < fewest or not features.shape[1]:
        raise InputError(
            f"{what} has shape {features.shape}, expected ({fewest} or more rows, features)"
        )
    low, high = float(features.min()), float(features.max())  # NaN if any is
    if not np.isfinite([low, high]).all():
        raise InputError(f"{what} has values that are not finite (NaN or infinity)")
    if max(-low, high) > _MOST:
        raise InputError(f"{what} has values beyond {_MOST:g}, whose squares are not finite")
    return features


def _checked_pair(real, fake):
    real, fake = _checked_bank(real, "real"), _checked_bank(fake, "fake")
    if real.shape[1] != fake.shape[1]:
        raise InputError(
            f"real {real.shape} and fake {fake.shape} differ in the number of features"
        )
    return real, fake


def _blocks(features, block):
    """Yields (first row, float64 rows) of at most `block` rows each."""
    if block < 1:
        raise InputError(f"block={block}: give 1 row or more")
    for start in range(0, len(features), block):
        yield start, np.asarray(features[start : start + block], dtype=np.float64)


def _kernel_sum(x, y, block):
    """Sum over all pairs of k(x_i, y_j) = (x_i . y_j / D + 1)^3; half the work if y is x."""
    total = 0.0
    for i, rows in _blocks(x, block):
        start = i if y is x else 0
        for j, columns in _blocks(y[start:], block):
            kernel = rows @ columns.T / x.shape[1] + 1.0
            twice = 2.0 if y is x and j > 0 else 1.0
            total += twice * float((kernel * kernel * kernel).sum())
    return total


def _mean_of_distinct_pairs(x, block):
    """Mean of k(x_i, x_j) over i != j, the unbiased estimate."""
    diagonal = 0.0
    for _, rows in _blocks(x, block):
        diagonal += float(((np.square(rows).sum(axis=1) / x.shape[1] + 1.0) ** 3).sum())
    return (_kernel_sum(x, x, block) - diagonal) / (len(x) * (len(x) - 1))


def kernel_distance(real: ArrayLike, fake: ArrayLike, block: int = 2048) -> float:
    """KID: unbiased squared maximum mean discrepancy over the full sets, cubic kernel.

    Binkowski et al. (2018), Sec. 4; Gretton et al. (2012), Eq. 3. Sizes may differ. Unbiased means
    that sets of one distribution give 0 on average, so a small negative value is right.

    Args:
        real, fake: (M, D) and (N, D) features.
        block: int, rows of a block; memory is about 3 * 8 * block * (block + D) bytes.

    Raises:
        InputError: for fewer than 2 rows, different D, or values that are not finite.
    """
    real, fake = _checked_pair(real, fake)
    crossed = _kernel_sum(real, fake, block) / (len(real) * len(fake))
    within = _mean_of_distinct_pairs(real, block) + _mean_of_distinct_pairs(fake, block)
    return within - 2.0 * crossed


def kernel_distance_subsets(
    real: ArrayLike, fake: ArrayLike, subsets: int = 100, subset_size: int = 1000
) -> tuple[float, float]:
    """KID as torch-fidelity publishes it: mean and spread over random subsets.

    Its draws, exactly: one `RandomState` of 2020, rows of real first, then of fake, none twice.

    Returns:
        mean, std (ddof 0) over the subsets, as floats.

    Raises:
        InputError: as `kernel_distance`, or if `subset_size` is below 2 or exceeds a set.
    """
    real, fake = _checked_pair(real, fake)
    if subsets < 1 or not 2 <= subset_size <= min(len(real), len(fake)):
        raise InputError(
            f"subsets={subsets} must be at least 1, and subset_size={subset_size} between 2 and "
            f"the number of images (real: {len(real)}, fake: {len(fake)})"
        )
    random = np.random.RandomState(2020)
    values = []
    for _ in range(subsets):
        rows = [random.choice(len(bank), subset_size, replace=False) for bank in (real, fake)]
        values.append(kernel_distance(real[rows[0]], fake[rows[1]]))
    return float(np.mean(values)), float(np.std(values))


def inception_score(
    logits: ArrayLike, splits: int = 10, shuffle_seed: int | None = 2020
) -> tuple[float, float]:
    """Inception Score: exp of the mean KL(p(y|x) || p(y)), per split.

    Salimans et al. (2016), Sec. 4. Split i of S is rows i N // S to (i + 1) N // S, shuffled.

    Args:
        logits: (N, classes). For published numbers: the 1008 of Inception, without bias.
        splits: int, 1 <= splits <= N.
        shuffle_seed: int, or None to keep the order.

    Returns:
        mean, std (ddof 0) over the splits, as floats.

    Raises:
        InputError: for fewer than 2 rows, N < splits, or values that are not finite.
    """
    logits = _checked_bank(logits, "logits")
    count = len(logits)
    if not 1 <= splits <= count:
        raise InputError(f"splits={splits} must be between 1 and the number of images, {count}")
    order = np.arange(count)
    if shuffle_seed is not None:
        order = np.random.RandomState(shuffle_seed).permutation(count)
    rows = np.split(order, [i * count // splits for i in range(1, splits)])
    scores = [_score_of_split(logits[some]) for some in rows]
    return float(np.mean(scores)), float(np.std(scores))


def _score_of_split(logits):
    logits = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    log_p = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    p = np.exp(log_p)
    q = p.mean(axis=0)
    # A class that is never predicted adds 0 log 0 = 0, not NaN.
    log_q = np.log(q, where=q > 0, out=np.zeros_like(q))
    return np.exp((p * (log_p - log_q)).sum(axis=1).mean())


def _squared_distances(x, y):
    """Squared Euclidean distances (n, m) of float64 rows, from the Gram matrix."""
    norms = np.square(x).sum(axis=1)[:, None] + np.square(y).sum(axis=1)
    squared = norms - 2.0 * (x @ y.T)
    squared[squared <= _COINCIDENT * norms] = 0.0
    return squared


def nearest_squared(features: np.ndarray, k: int, block: int = 2048) -> np.ndarray:
    """Squared distances (N, k) of each row of (N, D) to its k nearest other rows, nearest first.

    Args:
        features: float array (N, D).
        k: int.
        block: int; memory beyond the result is that of `kernel_distance`.

    Raises:
        InputError: unless 1 <= k < N; N = k + 1 is allowed.
    """
    if not 1 <= k < len(features):
        raise InputError(f"k={k} must be from 1 to N - 1, one below N={len(features)} images")
    nearest = np.full((len(features), k), np.inf)

    def merge(start, others):
        here = slice(start, start + len(others))
        both = np.hstack([nearest[here], others])
        nearest[here] = np.partition(both, k - 1, axis=1)[:, :k]

    for i, rows in _blocks(features, block):
        for j, columns in _blocks(features[i:], block):
            others = _squared_distances(rows, columns)
            if j == 0:
                np.fill_diagonal(others, np.inf)  # by index: a duplicate is another point
            else:
                merge(i + j, others.T)
            merge(i, others)
    return np.sort(nearest, axis=1)


def squared_radii(features: np.ndarray, k: int, block: int = 2048) -> np.ndarray:
    """Squared distance (N,) of each row of (N, D) to the k-th nearest other row.

    Arguments and errors as `nearest_squared`.
    """
    return nearest_squared(features, k, block)[:, k - 1]


def _memberships(centres, radii, points, strict, block):
    """Points within the ball of each centre (N,), and balls around each point (M,).

    Distances that rounding cannot tell from the radius lie on the sphere: in, unless `strict`.
    """
    reach = radii * (1.0 - _TIE if strict else 1.0 + _TIE)
    compare = np.less if strict else np.less_equal
    per_ball, per_point = np.zeros(len(centres), int), np.zeros(len(points), int)
    for i, rows in _blocks(centres, block):
        here = slice(i, i + len(rows))
        for j, columns in _blocks(points, block):
            inside = compare(_squared_distances(rows, columns), reach[here, None])
            per_ball[here] += inside.sum(axis=1)
            per_point[j : j + len(columns)] += inside.sum(axis=0)
    return per_ball, per_point


def precision_recall(
    real: ArrayLike,
    fake: ArrayLike,
    k: int = 3,
    strict: bool = False,
    block: int = 2048,
    radii: np.ndarray | None = None,
) -> tuple[float, float]:
    """Improved precision and recall: Kynkaanniemi et al. (2019), Eq. 1 and 2.

    Precision is the share of fake inside the k-NN ball of some real point, recall the share of
    real inside the ball of some fake point.

    Args:
        real, fake: (M, D) and (N, D) features.
        k: int, which nearest other point of the same set gives the radius.
        strict: False as in the paper: a point on the sphere is inside (<=). True: outside (<).
        block: int, rows of a block of distances.
        radii: (M,), `squared_radii` of `real` if they are known.

    Returns:
        precision, recall, floats in [0, 1].

    Raises:
        InputError: for fewer than k + 1 or 2 rows, different D, or values that are not finite.
    """
    real, fake = _checked_pair(real, fake)
    radii = squared_radii(real, k, block) if radii is None else radii
    balls_of_fake = _memberships(real, radii, fake, strict, block)[1]
    balls_of_real = _memberships(fake, squared_radii(fake, k, block), real, strict, block)[1]
    return float((balls_of_fake > 0).mean()), float((balls_of_real > 0).mean())


def density_coverage(
    real: ArrayLike,
    fake: ArrayLike,
    k: int = 5,
    strict: bool = False,
    block: int = 2048,
    radii: np.ndarray | None = None,
) -> tuple[float, float]:
    """Density and coverage: Naeem et al. (2020), Sec. 3. Arguments as `precision_recall`.

    Only real points have balls. The authors' package compares with `<`: `strict=True`.

    Returns:
        density (mean number of real balls around a fake point, over k; may exceed 1) and coverage
        (share of real balls that contain a fake point), floats.
    """
    real, fake = _checked_pair(real, fake)
    radii = squared_radii(real, k, block) if radii is None else radii
    fakes_in_ball, balls_of_fake = _memberships(real, radii, fake, strict, block)
    return float(balls_of_fake.mean() / k), float((fakes_in_ball > 0).mean())


def authenticity(real: ArrayLike, fake: ArrayLike, block: int = 2048) -> float:
    """Share of fake that is no copy: authenticity of Alaa et al. (arXiv 2102.08921).

    A fake point copies its nearest real one if it is no farther from it than the nearest other
    real point is: noise around a training image would be as near.

    Args:
        real, fake: (M, D) and (N, D) features; `real` of all training images, for copies of one
            that is missing are not found.
        block: int, rows of a block of distances.

    Returns:
        float in [0, 1]. What is drawn as the real points were has 1/3 on a line of even density (a
        fake and a real point are each other's nearest with probability 2/3) and 1/2 in many
        dimensions; uneven density gives more.

    Raises:
        InputError: for fewer than 2 rows, different D, or values that are not finite.
    """
    real, fake = _checked_pair(real, fake)
    nearest, which = _nearest(fake, real, block)
    near, of_fake = np.unique(which, return_inverse=True)  # only their balls are asked for
    reach, _ = _nearest(real[near], real, block, without=near)
    return float((nearest > reach[of_fake] * (1.0 + _TIE)).mean())


def _nearest(points, others, block, without=None):
    """Squared distance of each point to the nearest of `others`, and which that is.

    `without` names one of `others` for each point, itself, that does not count.
    """
    nearest, which = np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    for i, rows in _blocks(points, block):
        here = np.arange(len(rows))
        for j, columns in _blocks(others, block):
            squared = _squared_distances(rows, columns)
            if without is not None:
                own = without[i + here] - j
                inside = (own >= 0) & (own < len(columns))
                squared[here[inside], own[inside]] = np.inf
            found = squared.argmin(axis=1)
            closer = squared[here, found] < nearest[i + here]
            nearest[i + here[closer]] = squared[here, found][closer]
            which[i + here[closer]] = j + found[closer]
    return nearest, which


def path_lengths(first: ArrayLike, second: ArrayLike, step: float = PATH_STEP) -> np.ndarray:
    """How fast features move along paths: squared distances over the squared step.

    Karras et al., "A Style-Based Generator Architecture" (arXiv 1812.04948), Sec. 4.1, with the
    squared Euclidean distance of features as the perceptual distance d.

    Args:
        first, second: (N, D) features of the images of latents at t and at t + `step`.
        step: float > 0, epsilon.

    Returns:
        float64 array (N,).

    Raises:
        InputError: for different shapes or values that are not finite.
    """
    # A batch of them: the last one may have one row.
    first, second = _checked_bank(first, "first", 1), _checked_bank(second, "second", 1)
    if first.shape != second.shape:
        raise InputError(f"first {first.shape} and second {second.shape} must have one shape")
    return np.square(first.astype(np.float64) - second).sum(axis=1) / step**2


def perceptual_path_length(lengths: ArrayLike, percent: float = 1.0) -> float:
    """The mean of `path_lengths` without the extremes, as the code of StyleGAN rejects them.

    Args:
        lengths: (N,) non-negative numbers, N >= 1.
        percent: float in [0, 50), what is left out at either end: values below the lower of the
            two next to that percentile, and above the higher of the two next to its counterpart.

    Returns:
        float.
    """
    lengths = np.asarray(lengths, np.float64)
    low = np.percentile(lengths, percent, method="lower")
    high = np.percentile(lengths, 100.0 - percent, method="higher")
    return float(lengths[(low <= lengths) & (lengths <= high)].mean())


class ModeCoverage(NamedTuple):
    """How generated images spread over the classes of a classifier."""

    classes: int  # that occur in the real set
    hit: int  # of those, with at least one generated image
    total_variation: float  # in [0, 1], half the L1 distance of the normalised histograms


def mode_coverage(real_counts: ArrayLike, fake_counts: ArrayLike) -> ModeCoverage:
    """Compares class histograms: how many modes are hit, and how evenly; a `ModeCoverage`.

    Args:
        real_counts, fake_counts: (classes,) non-negative numbers of images per class.

    Raises:
        InputError: for different lengths, negative numbers, or fewer than 2 images in a set.
    """
    real, fake = (np.asarray(c, dtype=np.float64) for c in (real_counts, fake_counts))
    if real.ndim != 1 or real.shape != fake.shape:
        raise InputError(f"class counts have shapes {real.shape} and {fake.shape}: expected equal")
    if not ((real >= 0) & (fake >= 0)).all() or min(real.sum(), fake.sum()) < 2:
        raise InputError(f"class counts are {real} and {fake}: expected 2 or more images in each")
    variation = np.abs(real / real.sum() - fake / fake.sum()).sum() / 2.0
    hit = (real > 0) & (fake > 0)
    return ModeCoverage(int((real > 0).sum()), int(hit.sum()), float(variation))
