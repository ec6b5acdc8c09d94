"""Sliced Wasserstein distance of patches: how alike two sets of images are at every scale.

Karras et al. (2018), "Progressive Growing of GANs", Sec. 5. It needs no network and no weights. The
numbers depend on how many patches are drawn (fewer patches, larger numbers), so compare only values
of the same number of images.
"""

from concurrent import futures

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ladagan_tf.errors import InputError

PATCH = 7  # pixels, side of a patch
SMALLEST = 16  # pixels, side of the coarsest level
MAX_PATCHES = 2**16  # of one level, in a whole bank; sorting them is what takes time
PATCHES_PER_IMAGE = 128  # at most

# Both steps use the binomial filter [1 4 6 4 1] / 16 with mirrored borders (Burt & Adelson, 1983),
# one axis at a time and only where its result is kept.


def _halve(x, axis):
    """Every other sample of the filtered `x`, along `axis`."""
    x = np.moveaxis(x, axis, 0)
    n = len(x)
    p = np.concatenate([x[2:0:-1], x, x[n - 2 : n - 1]])  # the far border needs one sample
    y = (p[0:n:2] + p[4 : n + 4 : 2]) / 16 + (p[1:n:2] + p[3 : n + 3 : 2]) / 4
    return np.moveaxis(y + p[2 : n + 2 : 2] * 0.375, 0, axis)


def _double(x, axis):
    """The filtered `x` with zeros between its samples, times 2, along `axis`."""
    x = np.moveaxis(x, axis, 0)
    p = np.concatenate([x[1:2], x, x[-1:]])  # what mirroring puts beside the first and last
    y = np.empty((2 * len(x), *x.shape[1:]), x.dtype)
    y[0::2] = (p[:-2] + p[2:]) / 8 + p[1:-1] * 0.75
    y[1::2] = (p[1:-1] + p[2:]) / 2
    return np.moveaxis(y, 0, axis)


def laplacian_pyramid(images):
    """Splits images into bands of detail.

    Args:
        images: (N, S, S, 3), any real dtype; S is 16 times a power of two.

    Returns:
        List of float32 arrays (N, s, s, 3), s = S, S/2, .. 16: what each level adds to the doubled
        next one; the last is the small image itself.
    """
    level = np.asarray(images, np.float32)
    pyramid = []
    while level.shape[1] > SMALLEST:
        smaller = _halve(_halve(level, 1), 2)
        pyramid.append(level - _double(_double(smaller, 1), 2))
        level = smaller
    return [*pyramid, level]


def has_pyramid(resolution):
    """Whether images of a side, in pixels, can be halved down to `SMALLEST`: bool."""
    ratio, rest = divmod(resolution, SMALLEST)
    return not rest and ratio.bit_count() == 1


class PatchBank:
    """Random patches of a set of images, gathered batch by batch.

    Every image gives the same number of patches, at positions that are a function of
    the index of the image: the bank does not depend on how images were batched. With more
    than 2^16 images, evenly spaced ones are used. A level takes at most 39 MB.

    Args:
        resolution: int, side S of the images in pixels, 16 times a power of two.
        num_images: int >= 2, how many images will be added at most.

    Raises:
        InputError: for another resolution, or fewer than 2 images.
    """

    def __init__(self, resolution, num_images):
        if not has_pyramid(resolution):
            raise InputError(f"resolution={resolution} must be 16, 32, 64, or so on in doublings")
        if num_images < 2:
            raise InputError(f"num_images={num_images} must be at least 2")
        self.resolution, self.num_images = resolution, num_images
        self.sides = [resolution >> i for i in range((resolution // SMALLEST).bit_length())]
        self._every = -(-num_images // MAX_PATCHES)
        used = -(-num_images // self._every)
        self._per_image = min(PATCHES_PER_IMAGE, MAX_PATCHES // used)
        shape = (used * self._per_image, 3, PATCH, PATCH)
        self._patches = {side: np.empty(shape, np.float32) for side in self.sides}
        self.count = 0  # images seen
        self._filled = 0  # patches per level

    def add(self, images):
        """Adds uint8 images (N, S, S, 3).

        Raises:
            InputError: for another shape or dtype, or more images than `num_images` in all.
        """
        side, images = self.resolution, np.asarray(images)
        if images.dtype != np.uint8 or images.shape[1:] != (side, side, 3):
            raise InputError(
                f"images are {images.dtype} {images.shape}, expected uint8 (N, {side}, {side}, 3)"
            )
        if self.count + len(images) > self.num_images:
            raise InputError(f"more images than num_images={self.num_images} were added")
        indices = np.arange(self.count, self.count + len(images))
        self.count += len(images)
        chosen = indices % self._every == 0
        if not chosen.any():
            return
        corners = np.stack([self._corners(i) for i in indices[chosen]], axis=2)
        which = np.arange(len(corners[0, 0]))[:, None]
        end = self._filled + which.size * self._per_image
        for level, (y, x) in zip(laplacian_pyramid(images[chosen]), corners, strict=True):
            windows = sliding_window_view(level, (PATCH, PATCH), axis=(1, 2))
            patches = windows[which, y, x].reshape(-1, 3, PATCH, PATCH)
            self._patches[level.shape[1]][self._filled : end] = patches
        self._filled = end

    def _corners(self, index):
        """Top and left of the patches of one image: ints (levels, 2, patches)."""
        random = np.random.default_rng([0, index])
        bounds = np.array(self.sides)[:, None, None] - PATCH + 1
        return random.integers(0, bounds, (len(self.sides), 2, self._per_image))

    def descriptors(self, side):
        """Patches (P, 147) float32 of one level, each channel with mean 0 and variance 1."""
        patches = self._patches[side][: self._filled]
        mean = patches.mean(axis=(0, 2, 3), dtype=np.float64, keepdims=True)
        # The variance from float64 sums in pieces: no float64 copy of the bank.
        pieces = np.array_split(patches, 1 + len(patches) // 4096)
        squares = sum(np.square(p - mean).sum(axis=(0, 2, 3)) for p in pieces)
        deviation = np.sqrt(squares / (len(patches) * PATCH**2)).reshape(mean.shape)
        deviation[deviation == 0.0] = 1.0  # a channel without detail stays 0
        scaled = (patches - mean.astype(np.float32)) / deviation.astype(np.float32)
        return scaled.reshape(len(patches), -1)


def projected_distance(a, b, random, repeats=4, directions=128):
    """Wasserstein-1 distance of point sets along random directions, averaged.

    In one dimension it is the mean absolute difference of the sorted samples.

    Args:
        a, b: (P, D) with equal shapes.
        random: numpy Generator.
        repeats: int, how often new directions are drawn.
        directions: int, unit vectors per repeat.

    Returns:
        float >= 0.
    """
    axes = random.standard_normal((repeats, directions, a.shape[1]))
    axes = (axes / np.linalg.norm(axes, axis=2, keepdims=True)).astype(a.dtype)

    def distance(some):
        along_a, along_b = np.sort(some @ a.T, axis=1), np.sort(some @ b.T, axis=1)
        return np.abs(along_a - along_b).mean(dtype=np.float64)

    with futures.ThreadPoolExecutor(repeats) as pool:  # sorting uses one core
        return float(np.mean(list(pool.map(distance, axes))))


def sliced_wasserstein(bank_a, bank_b):
    """Sliced Wasserstein distance, times 1000, per level of the pyramid.

    If one bank has more patches, evenly spaced ones of it are compared, after it was normalised as
    a whole.

    Args:
        bank_a, bank_b: `PatchBank`s of one resolution.

    Returns:
        dict from side in pixels (int) to distance, and "mean" over the levels.

    Raises:
        InputError: for different resolutions, or fewer than 2 images in a bank.
    """
    if bank_a.resolution != bank_b.resolution:
        raise InputError(
            f"resolutions {bank_a.resolution} and {bank_b.resolution} of the banks must be equal"
        )
    if min(bank_a.count, bank_b.count) < 2:
        raise InputError(f"banks have {bank_a.count} and {bank_b.count} images: at least 2 each")
    distances = {}
    for side in bank_a.sides:
        pair = [bank.descriptors(side) for bank in (bank_a, bank_b)]
        common = min(map(len, pair))
        pair = [p if len(p) == common else p[np.arange(common) * len(p) // common] for p in pair]
        random = np.random.default_rng([0, side])
        distances[side] = 1e3 * projected_distance(*pair, random)
    return {**distances, "mean": float(np.mean(list(distances.values())))}
