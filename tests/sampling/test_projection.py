"""Projection into a generator whose nearest picture is known: a linear one."""

import math
import types

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import projection, seeds
from ladagan_tf.sampling.sampler import Sampler, of_network

NOISE_DIM, SIDE = 6, 8


class Linear(keras.Model):
    """Images z A, or z A + c[label] with two classes."""

    noise_dim, resolution = NOISE_DIM, SIDE

    def __init__(self, num_classes=0):
        super().__init__()
        rng = np.random.default_rng(0)
        self.num_classes = num_classes
        self.matrix = rng.normal(0, 0.15, (NOISE_DIM, SIDE * SIDE * 3)).astype(np.float32)
        self.colours = np.float32([[-0.3], [0.3]])
        self.built = True

    def call(self, z, labels=None, training=False):
        pixels = ops.matmul(z, self.matrix)
        pixels = pixels if labels is None else pixels + ops.take(self.colours, labels, axis=0)
        return ops.reshape(pixels, (-1, SIDE, SIDE, 3))


class OfStyles(Linear):
    """Images w A, of styles w that a mapping makes of z, all of them within (-1, 1)."""

    def __init__(self):
        super().__init__(num_classes=2)
        self.generator = types.SimpleNamespace(style=self.style, width=NOISE_DIM)
        self.mean_style = np.float32([[0.1] * NOISE_DIM, [-0.1] * NOISE_DIM])

    def style(self, z, labels):
        return ops.tanh(0.5 * ops.convert_to_tensor(z)) + ops.take(self.mean_style, labels, axis=0)

    def of_style(self, style, stage=None):
        return ops.reshape(ops.matmul(style, self.matrix), (-1, SIDE, SIDE, 3))

    def call(self, z, labels, training=False):
        return self.of_style(self.style(z, labels))


def grey(pixels):
    return np.rint((np.clip(pixels, -1, 1) + 1) * 127.5).astype(np.uint8).reshape(SIDE, SIDE, 3)


def nearest(matrix, target, offset=0.0):
    """The latent of the nearest picture, by least squares in float64."""
    pixels = target.reshape(-1) / 127.5 - 1.0 - offset
    return np.linalg.lstsq(matrix.T.astype(np.float64), pixels, rcond=None)[0]


def picture(matrix, offset=0.0, spoilt=0.2):
    """A picture of a latent, and with noise that no latent makes."""
    z = seeds.latents([3], NOISE_DIM)[0]
    noise = np.random.default_rng(1).normal(0, spoilt, matrix.shape[1])
    return grey(0.5 * z @ matrix + offset + noise)


@pytest.fixture(scope="module")
def linear():
    return of_network(Linear())


def found_for(sampler, target, *rest, **others):
    return projection.project(sampler, target, *rest, steps=250, starts=2, **others)


def test_it_finds_the_latent_of_least_squares(linear):
    target = picture(linear.network.matrix)
    found = found_for(linear, target)
    np.testing.assert_allclose(found.latent, nearest(linear.network.matrix, target), atol=5e-3)


def test_a_picture_of_the_generator_is_found_again(linear):
    target = picture(linear.network.matrix, spoilt=0.0)
    found = found_for(linear, target)
    assert found.distances["pixels"] < 0.7 < 10 < found.distances["start"]  # 0.7: rounding


def test_a_conditional_generator_is_looked_into_at_the_class():
    sampler = of_network(Linear(num_classes=2))
    target = picture(sampler.network.matrix, offset=0.3)
    found = found_for(sampler, target, label=1)
    expected = nearest(sampler.network.matrix, target, offset=0.3)
    np.testing.assert_allclose(found.latent, expected, atol=5e-3)


def test_latents_keep_a_length_that_normal_ones_have(linear):
    """The length of least squares would be 8 times the bound."""
    z = seeds.latents([3], NOISE_DIM)[0]
    bound = math.sqrt(NOISE_DIM - 0.5) + 3.0 * math.sqrt(0.5)
    matrix = linear.network.matrix
    linear.network.matrix = matrix / 50.0
    found = found_for(
        of_network(linear.network), grey(z / np.linalg.norm(z) * bound * 8 @ matrix / 50)
    )
    linear.network.matrix = matrix
    assert np.linalg.norm(found.latent) == pytest.approx(bound, rel=1e-5)
    assert found.latent @ z / np.linalg.norm(z) == pytest.approx(bound, rel=0.02)


def test_in_w_it_finds_the_style_of_least_squares_which_no_z_has():
    sampler = of_network(OfStyles())
    matrix, style = sampler.network.matrix, np.linspace(-2.0, 2.0, NOISE_DIM)  # tanh ends at 1
    noise = np.random.default_rng(1).normal(0, 0.1, matrix.shape[1])
    target = grey(style @ matrix / 2.0 + noise)
    in_z, in_w = (found_for(sampler, target, label=1, space=space) for space in "zw")
    expected = nearest(matrix, target)
    assert (
        np.abs(expected).max() > 0.95 > np.abs(sampler.network.style(in_z.latent[None], [1])).max()
    )
    np.testing.assert_allclose(in_w.latent, expected, atol=5e-3)
    assert in_w.distances["pixels"] < in_z.distances["pixels"]
    # Of the same random latent, in two programs.
    assert in_w.distances["start"] == pytest.approx(in_z.distances["start"], rel=1e-3)
    np.testing.assert_array_equal(in_w.path[-1], in_w.latent)


@pytest.mark.usefixtures("eagerly")
def test_images_of_styles_are_those_of_their_latents_also_truncated(tiny_gat):
    z, labels = seeds.latents([0, 1], 8), np.int32([2, 1])
    source = of_network(tiny_gat)
    styles = tiny_gat.generator.style(z, labels)
    styled = source.at(0.5).styled()
    assert styled.noise_dim == tiny_gat.generator.width
    images = styled.generate(styles, labels)
    np.testing.assert_allclose(images, tiny_gat(z, labels, psi=0.5), rtol=1e-5, atol=2e-6)
    guided = of_network(tiny_gat, guidance=2.0)
    with pytest.raises(InputError, match=r"guidance=2: .* of given styles only guidance=1"):
        guided.styled()


def test_only_a_gat_has_styles_that_are_all_its_images_are_made_of(linear):
    with pytest.raises(InputError, match=r"only a GAT .* makes its images of styles alone"):
        found_for(linear, picture(linear.network.matrix), space="w")


def test_features_count_by_their_weight_and_are_measured(linear):
    """Of features that are the mean of each colour, least squares has solutions with none left."""

    def features(images):
        return {"features": ops.mean(ops.cast(images, "float32"), axis=(1, 2)) - 100.0}

    target = picture(linear.network.matrix)
    blind, seeing = (found_for(linear, target, features, feature_weight=w) for w in (0.0, 300.0))
    assert seeing.distances["features"] < 0.2 * blind.distances["features"]
    assert seeing.distances["pixels"] >= blind.distances["pixels"]
    image = grey(blind.latent.astype(np.float64) @ linear.network.matrix)
    seen, wanted = (x.astype(np.float64).mean(axis=(0, 1)) - 100.0 for x in (image, target))
    share = np.linalg.norm(seen - wanted) / np.linalg.norm(wanted)
    assert blind.distances["features"] == pytest.approx(share, rel=1e-3, abs=1e-6)


def test_a_seed_gives_one_path_and_it_leads_to_what_was_found(linear):
    target = picture(linear.network.matrix)
    first, again, other = (
        projection.project(linear, target, steps=90, starts=2, seed=seed) for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.path, again.path)
    np.testing.assert_array_equal(first.path[-1], first.latent)
    assert not np.array_equal(first.path, other.path)
    assert len(first.path) <= projection.MOST_FRAMES


def test_the_rate_is_that_of_stylegan2():
    done = np.linspace(0.0, 1.0, 101)
    ramp = np.minimum(1.0, (1.0 - done) / 0.25)
    expected = (0.5 - 0.5 * np.cos(ramp * np.pi)) * np.minimum(1.0, done / 0.05)
    np.testing.assert_allclose([projection.rate(x) for x in done], expected, atol=1e-12)


def test_starts_are_no_pictures_of_seeds():
    """Or a picture of a seed would be found without looking for it."""
    starts = seeds.more_latents(0, 64, 4)
    assert not np.intersect1d(starts, seeds.latents(range(64), 4)).size
    assert abs(starts.mean()) < 0.2 and abs(starts.std() - 1.0) < 0.1


def test_a_saved_model_is_refused():
    sampler = Sampler(None, NOISE_DIM, SIDE, 0, None, {"model": "folder"})
    with pytest.raises(InputError, match="model=folder: pictures cannot be projected into a Saved"):
        projection.project(sampler, np.zeros((SIDE, SIDE, 3), np.uint8))
