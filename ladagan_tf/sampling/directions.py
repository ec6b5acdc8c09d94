"""Directions in which pictures change most: of z by a LadaGAN's weights, of w by a GAT's styles."""

import keras
import numpy as np

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds

STYLES = 5000  # that a class's components are taken of


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
            "directions: only a LadaGAN or a GAT of --run_dir or a .keras file has tokens that are "
            "made of z, or styles"
        )
    left, deviations, _ = np.linalg.svd(np.asarray(layer.kernel, np.float64), full_matrices=False)
    if count > len(deviations):
        raise InputError(f"directions={count}: this model has {len(deviations)}")
    return _signed(left.T[:count]), deviations[:count]


def style_directions(network: keras.Model, label: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Principal components of the styles of one class, as GANSpace takes them of StyleGAN's w.

    Args:
        network: GatGenerator.
        label: int, the class.
        count: int >= 1.

    Returns:
        (float64 array (count, C), float64 array (count,)): orthonormal directions as of
        `principal_directions`, and the deviations of the components of `STYLES` styles.

    Raises:
        InputError: if it has fewer directions.
    """
    z = seeds.latents(range(STYLES), network.noise_dim)
    styles = np.asarray(network.style(z, np.full(STYLES, label, np.int32)), np.float64)
    centred = styles - styles.mean(axis=0)
    deviations, components = np.linalg.svd(centred, full_matrices=False)[1:]
    if count > len(deviations):
        raise InputError(f"directions={count}: this model has {len(deviations)}")
    return _signed(components[:count]), deviations[:count] / np.sqrt(STYLES - 1)


def _signed(found):
    """Rows, each with its largest value positive: which of both ways they point is no choice."""
    largest = np.take_along_axis(found, np.abs(found).argmax(axis=1)[:, None], axis=1)
    return found * np.sign(largest)


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
