"""Pseudo-random weights by the numerical oracle's rule, from a tensor's name and shape alone."""

import math
import zlib

import numpy as np


def rule_tensor(name, shape, one_dimensional, gain):
    """The oracle's tensor of this PyTorch name.

    Args:
        name: str. Its checksum is the seed.
        shape: tuple of ints in PyTorch's layout (OIHW, OI).
        one_dimensional: container of the names of all 1-D tensors, which tells norms from layers.
        gain: float, 2 for Inception and 1 for the VAE.
    """
    draws = np.random.Generator(np.random.PCG64(zlib.crc32(name.encode())))
    z = draws.standard_normal(shape)
    if z.ndim >= 2:
        return z.astype("float32") * np.float32(math.sqrt(gain / math.prod(shape[1:])))
    stem, _, part = name.rpartition(".")
    if part == "running_var":
        z = 1 + 0.2 * np.abs(z)
    elif part == "weight":
        z = 1 + 0.1 * z
    else:
        z = (0.1 if part == "running_mean" or f"{stem}.weight" in one_dimensional else 0.05) * z
    return z.astype("float32")


def rule_weights(shapes, gain):
    """Dict: name -> tensor, for a dict name -> shape."""
    one_dimensional = {name for name, shape in shapes.items() if len(shape) == 1}
    return {name: rule_tensor(name, s, one_dimensional, gain) for name, s in shapes.items()}


def crc32(tensor):
    """The checksum of a tensor's bytes as the oracle's names.json writes it."""
    return f"{zlib.crc32(tensor.tobytes()):08x}"
