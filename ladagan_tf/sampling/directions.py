"""Directions in which a LadaGAN's pictures change most, from the weights alone."""

import keras
import numpy as np

from ladagan_tf.errors import InputError


def principal_directions(network: keras.Model, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the first tokens, as directions of z.

    GANSpace (Haerkoenen et al. 2020, arXiv 2004.02546, Sec. 2.1) takes them from the first layer of
    many latents. That layer is linear here, T = z W with z ~ N(0, I), so that the covariance of the
    tokens is W^T W: its eigenvectors are the right singular vectors of W, the left ones are what z
    has to move along, and one unit of it is one standard deviation of the component. It is what
    SeFa (Shen & Zhou 2021, arXiv 2007.06600, Eq. 5) computes.

    Args:
        network: a generator with `latent_to_tokens`.
        count: int >= 1.

    Returns:
        (float64 array (count, Z), float64 array (count,)): orthonormal directions, the strongest
        first, each with its largest value positive; and the deviations of the components.

    Raises:
        InputError: if it is no LadaGAN, or has fewer directions.
    """
    layer = getattr(network, "latent_to_tokens", None)
    if layer is None:
        raise InputError(
            "directions: only a LadaGAN of --run_dir or a .keras file has tokens that are made of z"
        )
    left, deviations, _ = np.linalg.svd(np.asarray(layer.kernel, np.float64), full_matrices=False)
    if count > len(deviations):
        raise InputError(f"directions={count}: this model has {len(deviations)}")
    found = left.T[:count]  # (count, Z)
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    return found * np.sign(largest), deviations[:count]


def along(z: np.ndarray, directions: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Latents on lines through one.

    Args:
        z: float array (Z,).
        directions: float array (K, Z).
        steps: float array (C,), how far along each.

    Returns:
        float32 array (K * C, Z), direction by direction.
    """
    moved = z + steps[None, :, None] * directions[:, None]  # (K, C, Z)
    return moved.reshape(-1, len(z)).astype(np.float32)
