"""The pyramid is a pyramid, the banks are reproducible, the distance has known values."""

import math

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import sliced
from ladagan_tf.evaluation.sliced import PatchBank, laplacian_pyramid, sliced_wasserstein


def pictures(count, side=32, seed=0):
    """Smooth random images: sums of a few waves with random phases."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] / side
    phase = random.uniform(0, 2 * np.pi, (count, 3, 3))[..., None, None]
    waves = sum(np.sin(2 * np.pi * (f * x + y) + phase[:, f - 1]) for f in (1, 2, 3))
    return np.clip(128 + 35 * np.moveaxis(waves, 1, -1), 0, 255).astype(np.uint8)


def bank_of(images, count=None, batch=None):
    bank = PatchBank(images.shape[1], count or len(images))
    batch = batch or len(images)
    for i in range(0, len(images), batch):
        bank.add(images[i : i + batch])
    return bank


def filtered(x, axis):
    """[1 4 6 4 1] / 16 with mirrored borders, tap by tap."""
    padded = np.pad(x, [(2, 2) if a == axis else (0, 0) for a in range(x.ndim)], "reflect")
    taps = zip((1, 4, 6, 4, 1), range(5), strict=True)
    return sum(w * np.take(padded, np.arange(k, k + x.shape[axis]), axis) for w, k in taps) / 16


def test_pyramid_is_that_of_the_binomial_filter():
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3)).astype(float)
    small = filtered(filtered(images, 1), 2)[:, ::2, ::2]
    spread = np.zeros_like(images)
    spread[:, ::2, ::2] = small
    large = 4 * filtered(filtered(spread, 1), 2)
    detail, rest = laplacian_pyramid(images)
    np.testing.assert_allclose(rest, small, rtol=1e-5)
    np.testing.assert_allclose(detail, images - large, atol=1e-4)


def test_flat_images_have_no_detail():
    *details, rest = laplacian_pyramid(np.full((1, 128, 128, 3), 77, np.uint8))
    assert [level.shape[1] for level in details] == [128, 64, 32]
    assert not any(level.any() for level in details)
    assert (rest == 77).all()


def test_a_bank_does_not_depend_on_batches():
    images = pictures(23)
    whole, pieces = bank_of(images), bank_of(images, batch=5)
    for side in (32, 16):
        np.testing.assert_array_equal(whole.descriptors(side), pieces.descriptors(side))


def test_patches_are_pieces_of_their_image_normalised_per_channel():
    images = pictures(4)
    bank = bank_of(images)
    descriptors = bank.descriptors(16).reshape(4, 128, 3, 49)
    np.testing.assert_allclose(descriptors.mean(axis=(0, 1, 3)), 0, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(descriptors.std(axis=(0, 1, 3)), 1, rtol=1e-5, atol=1e-5)
    level = laplacian_pyramid(images)[-1]
    drawn = bank._patches[16].reshape(4, 128, 3, 7, 7)
    windows = np.lib.stride_tricks.sliding_window_view(level[2], (7, 7), axis=(0, 1))
    for patch in drawn[2, :5]:
        assert (windows == patch).all(axis=(2, 3, 4)).any()


@pytest.mark.parametrize(("count", "kept"), [(3, 384), (512, 65536), (600, 65400), (10**6, 62500)])
def test_the_number_of_patches_is_bounded(count, kept):
    assert len(PatchBank(16, count)._patches[16]) == kept <= sliced.MAX_PATCHES


def test_with_too_many_images_evenly_spaced_ones_are_used(monkeypatch):
    monkeypatch.setattr(sliced, "MAX_PATCHES", 4)
    images = pictures(9)
    bank, thirds = bank_of(images, batch=2), bank_of(images[::3])
    assert bank.count == 9 and bank._filled == thirds._filled == 3
    assert bank._patches[32].shape == thirds._patches[32].shape


def test_a_set_has_distance_zero_to_itself_and_little_to_a_shuffled_copy():
    images = pictures(12)
    bank = bank_of(images)
    assert sliced_wasserstein(bank, bank_of(images, batch=8)) == {32: 0.0, 16: 0.0, "mean": 0.0}
    shuffled = sliced_wasserstein(bank, bank_of(images[::-1]))
    again = sliced_wasserstein(bank, bank_of(pictures(12, seed=9)))
    noise = np.random.default_rng(0).integers(0, 256, images.shape, dtype=np.uint8)
    different = sliced_wasserstein(bank, bank_of(noise))
    for level in (32, 16, "mean"):
        assert 0 < shuffled[level] < again[level] < different[level]
    assert different["mean"] == pytest.approx((different[32] + different[16]) / 2)


def test_sets_of_different_size_are_compared_on_the_common_number():
    images = pictures(30)
    distance = sliced_wasserstein(bank_of(images), bank_of(images[::2]))
    assert 0 < distance["mean"] < 100  # white noise against these images: 150
    partly = bank_of(images[:20], count=30)
    assert sliced_wasserstein(partly, partly)["mean"] == 0.0


@pytest.mark.parametrize("dimension", [1, 2, 147])
def test_a_shift_moves_projections_by_its_component(dimension):
    random = np.random.default_rng(0)
    points = random.standard_normal((500, dimension))
    shift = random.standard_normal(dimension)
    found = sliced.projected_distance(points, points[::-1] + shift, random, 16, 128)
    # E|u . s| over unit vectors u is |s| gamma(d / 2) / (sqrt(pi) gamma((d + 1) / 2)).
    ratio = math.exp(math.lgamma(dimension / 2) - math.lgamma((dimension + 1) / 2))
    expected = np.linalg.norm(shift) * ratio / math.sqrt(math.pi)
    assert found == pytest.approx(expected, rel=1e-9 if dimension == 1 else 0.05)


def test_gaussians_of_one_dimension_have_the_known_distance():
    random = np.random.default_rng(0)
    a, b = random.standard_normal((2, 200_000, 1))
    found = sliced.projected_distance(a, 3.0 * b, random, 1, 1)
    assert found == pytest.approx(2.0 * math.sqrt(2 / math.pi), rel=0.01)  # (3 - 1) E|z|


@pytest.mark.filterwarnings("error")
def test_flat_sets_have_distance_zero_and_no_warning():
    flat = np.full((3, 32, 32, 3), 9, np.uint8)
    assert sliced_wasserstein(bank_of(flat), bank_of(flat + 100))["mean"] == 0.0


def test_what_cannot_be_used_is_refused():
    for resolution in (0, 8, 48, 100):
        with pytest.raises(InputError, match=f"resolution={resolution}"):
            PatchBank(resolution, 10)
    with pytest.raises(InputError, match="num_images=1"):
        PatchBank(32, 1)
    bank = PatchBank(32, 3)
    for images in (pictures(2, 16), pictures(2).astype(np.float32), pictures(2)[0]):
        with pytest.raises(InputError, match="expected uint8"):
            bank.add(images)
    with pytest.raises(InputError, match="num_images=3"):
        bank.add(pictures(4))
    bank.add(pictures(1))
    with pytest.raises(InputError, match="1 and 2 images: at least 2"):
        sliced_wasserstein(bank, bank_of(pictures(2)))
    with pytest.raises(InputError, match="resolutions 32 and 16"):
        sliced_wasserstein(bank, bank_of(pictures(2, 16)))
