"""Multi-level noise guidance: each stage of GAT is judged under noise of its own level (spec 4).

Stages are float tensors (B, S, S, K, C), the noisiest level first.
"""

import math

import numpy as np
from keras import ops

CLEANEST = 0.01  # noise of the last level
MOST = 0.875  # what the first level has more


def noise_levels(count):
    """t_k = 1 - 0.125^(1 - k / (K - 1)) + 0.01: standard deviations, 0.885 to 0.01 for any K.

    Args:
        count: int, K >= 1; with one level it is the cleanest.

    Returns:
        float64 array (K,).
    """
    place = np.arange(count) / (count - 1) if count > 1 else np.ones(1)
    return 1.0 - (1.0 - MOST) ** (1.0 - place) + CLEANEST


def add_noise(stages, noise):
    """x_k' = (1 - t_k) x_k + n_k, with the n_k of all levels from one Markov chain.

    From the cleanest level up, n_k = d n_{k+1} + sqrt(t_k^2 - t_{k+1}^2 d^2) e_k with
    d = (1 - t_k) / (1 - t_{k+1}): for K copies of one latent each level is a further noised copy
    of the next, so that D cannot average independent noises.

    Args:
        stages, noise: float tensors (B, S, S, K, C); noise is standard normal, e_k at place k.

    Returns:
        Float tensor (B, S, S, K, C).
    """
    levels = noise_levels(stages.shape[3])
    chain, next_level, noised = 0.0, 0.0, []
    for k in reversed(range(len(levels))):
        t = float(levels[k])
        kept = (1.0 - t) / (1.0 - next_level)
        fresh = math.sqrt(t**2 - next_level**2 * kept**2)
        chain = kept * chain + fresh * noise[:, :, :, k]  # (B, S, S, C)
        noised.append((1.0 - t) * stages[:, :, :, k] + chain)
        next_level = t
    return ops.stack(noised[::-1], axis=3)
