"""Bicubic resizing as PyTorch does it, as two products with constant matrices.

PyTorch's kernel has a = -0.75, or -0.5 where it antialiases; `keras.ops.image.resize` always has
-0.5. The matrices are made in float64, and all shapes are static.
"""

import numpy as np
from keras import ops

SHARP, SMOOTH = -0.75, -0.5  # a of the kernel, without and with antialiasing


def bicubic_matrix(size, new_size, antialias=False, step=None):
    """What resizes one axis; pixels beyond the border repeat it, or, antialiased, do not count.

    Args:
        size, new_size: ints, pixels before and after.
        antialias: bool, widen the kernel where the axis shrinks.
        step: float, distance of two new pixels in old ones; None is size / new_size.

    Returns:
        float64 array (new_size, size); every row sums to 1.
    """
    step = step or size / new_size
    centres = (np.arange(new_size)[:, None] + 0.5) * step - 0.5  # (new_size, 1), in old pixels
    if antialias:
        matrix = _cubic((np.arange(size) - centres) / max(step, 1.0), SMOOTH)
        return matrix / matrix.sum(axis=1, keepdims=True)
    sources = np.floor(centres).astype(int) + np.arange(-1, 3)  # (new_size, 4)
    matrix = np.zeros((new_size, size))
    rows = np.arange(new_size)[:, None]
    np.add.at(matrix, (rows, np.clip(sources, 0, size - 1)), _cubic(sources - centres, SHARP))
    return matrix


def _cubic(distance, a):
    """Keys's (1981) convolution kernel of pieces of third degree."""
    x = np.abs(distance)
    near = ((a + 2) * x - (a + 3)) * x**2 + 1
    far = a * (((x - 5) * x + 8) * x - 4)
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def resize(images, size, antialias=False):
    """Square images of another size.

    Args:
        images: float tensor (B, S, S, C).
        size: int, the new side.
        antialias: bool, see `bicubic_matrix`.

    Returns:
        Float tensor (B, size, size, C).
    """
    if images.shape[1] == size:
        return images
    matrix = bicubic_matrix(images.shape[1], size, antialias)
    matrix = ops.convert_to_tensor(matrix.astype("float32"))
    matrix = ops.cast(matrix, images.dtype)
    rows = ops.einsum("ih,bhwc->biwc", matrix, images)
    return ops.einsum("jw,biwc->bijc", matrix, rows)


def resize_tokens(tokens, grid):
    """Tokens (B, g g, F) of a square grid, row by row, as tokens (B, grid grid, F) of another."""
    side = round(tokens.shape[1] ** 0.5)
    maps = ops.reshape(tokens, (-1, side, side, tokens.shape[2]))
    return ops.reshape(resize(maps, grid), (-1, grid * grid, tokens.shape[2]))
