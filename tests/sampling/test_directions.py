"""Directions from the weights are the principal components of the tokens of many latents."""

import types

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import directions, seeds

NOISE_DIM, TOKENS = 8, 40


@pytest.fixture(scope="module")
def network():
    """What a LadaGAN has of it: z W, with components that are told apart."""
    rng = np.random.default_rng(0)
    left = np.linalg.qr(rng.normal(size=(NOISE_DIM, NOISE_DIM)))[0]
    right = np.linalg.qr(rng.normal(size=(TOKENS, NOISE_DIM)))[0]
    kernel = left * 2.0 ** -np.arange(NOISE_DIM) @ right.T
    return types.SimpleNamespace(latent_to_tokens=types.SimpleNamespace(kernel=kernel))


def test_they_are_what_ganspace_finds_in_5000_latents(network):
    kernel = network.latent_to_tokens.kernel
    tokens = seeds.latents(range(5000), NOISE_DIM).astype(np.float64) @ kernel
    variances, components = np.linalg.eigh(np.cov(tokens.T))
    found, deviations = directions.principal_directions(network, 4)
    moved = found @ kernel  # of the tokens, by one deviation each
    strongest = components.T[::-1][:4]
    assert np.abs(np.sum(moved / deviations[:, None] * strongest, axis=1)) == pytest.approx(
        1.0, abs=5e-3
    )
    np.testing.assert_allclose(deviations, np.sqrt(variances[::-1][:4]), rtol=0.05)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), deviations)


def test_those_of_styles_are_a_class_s_own():
    """Styles that are linear in z have the components of the matrix of their class."""
    rng = np.random.default_rng(1)
    spread = 2.0 ** -np.arange(4.0)
    ways = np.linalg.qr(rng.normal(size=(2, 6, 4)))[0]  # of both classes

    def style(z, labels):
        return 5.0 + labels[:, None] + np.einsum("bk,k,bck->bc", z, spread, ways[labels])

    network = types.SimpleNamespace(noise_dim=4, style=style)
    for label in (0, 1):
        found, deviations = directions.style_directions(network, label, 3)
        np.testing.assert_allclose(deviations, spread[:3], rtol=0.05)
        assert np.abs(np.sum(found * ways[label].T[:3], axis=1)) == pytest.approx(1.0, abs=0.01)
        np.testing.assert_allclose(found @ found.T, np.eye(3), atol=1e-12)
        assert (found.max(axis=1) == np.abs(found).max(axis=1)).all()
    with pytest.raises(InputError, match="directions=7: this model has 6"):
        directions.style_directions(network, 0, 7)


def test_they_are_orthonormal_and_their_sign_is_fixed(network):
    found, _ = directions.principal_directions(network, NOISE_DIM)
    np.testing.assert_allclose(found @ found.T, np.eye(NOISE_DIM), atol=1e-12)
    assert (found.max(axis=1) == np.abs(found).max(axis=1)).all()


def test_latents_lie_on_lines_through_one():
    z = directions.along(np.ones(2), np.eye(2), np.array([-1.0, 0.0, 2.0]))
    np.testing.assert_array_equal(z, [[0, 1], [1, 1], [3, 1], [1, 0], [1, 1], [1, 3]])


def test_what_has_none_is_refused(network):
    with pytest.raises(InputError, match="directions=9: this model has 8"):
        directions.principal_directions(network, 9)
    with pytest.raises(InputError, match="directions: only a LadaGAN or a GAT"):
        directions.principal_directions(None, 1)
