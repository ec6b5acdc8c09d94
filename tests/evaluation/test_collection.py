"""One pass gathers every image; a cached reference is used only for exactly what it is of."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import images, protocol
from ladagan_tf.evaluation.collection import (
    ALL,
    Needs,
    cache_key,
    collect,
    given_moments,
    open_real,
    reference,
    sampled_rows,
)

BANKS = Needs(features=ALL, logits=True)


def test_every_image_counts_whatever_the_batch_size(two_tone, means):
    real = images.prepared(two_tone)
    pixels = np.concatenate(list(real.batches(121))).astype(np.float64).mean((1, 2))
    for batch_size in (7, 50, 121):
        found = collect(real, means, BANKS, batch_size=batch_size)
        np.testing.assert_allclose(found.mean, pixels.mean(0), rtol=1e-6)
        np.testing.assert_allclose(found.covariance, np.cov(pixels.T), rtol=1e-4)
        assert found.count == len(found.features) == len(found.logits) == 121
        assert found.class_counts.tolist() == [61, 60]


def test_a_dropped_last_batch_would_be_noticed(two_tone, means):
    real = images.prepared(two_tone)
    whole = collect(real, means, Needs(), batch_size=50)
    dropped = dataclasses.replace(
        real, batches=lambda n: (b for b in real.batches(n) if len(b) == n)
    )
    assert collect(dropped, means, Needs(), batch_size=50).class_counts.sum() == 100
    assert whole.class_counts.sum() == 121


def test_banks_are_kept_only_if_needed(two_tone, means):
    found = collect(images.prepared(two_tone), means, Needs())
    assert found.features is None and found.logits is None and found.patches is None


def test_sets_that_are_measured_in_turn_are_one_trace(two_tone, means):
    for count in (100, 121, 100):  # last batches of 36, 57 and 36
        real = images.prepared(two_tone, count)
        assert collect(real, means, Needs(), batch_size=64).class_counts.sum() == count
    assert means.features.calls == 1


def test_a_reference_is_computed_once(two_tone, means, tmp_path):
    real = images.prepared(two_tone)
    first, cached = reference(real, means, BANKS, cache_dir=tmp_path)
    calls = means.features.calls
    second, cached_again = reference(real, means, BANKS, cache_dir=tmp_path)
    assert (cached, cached_again) == (False, True) and means.features.calls == calls
    for name in ("count", "mean", "covariance", "class_counts", "features", "logits"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_where_the_images_lie_changes_nothing(two_tone, means):
    real = images.prepared(two_tone)
    moved = dataclasses.replace(real, about={**real.about, "images": "elsewhere"})
    assert cache_key(real, means) == cache_key(moved, means)


@pytest.mark.parametrize("what", ["content_sha256", "resolution", "resize", "count"])
def test_other_images_are_another_reference(two_tone, means, tmp_path, what):
    real = images.prepared(two_tone)
    reference(real, means, Needs(), cache_dir=tmp_path)
    other = dataclasses.replace(real, about={**real.about, what: "other"})
    assert not reference(other, means, Needs(), cache_dir=tmp_path)[1]


@pytest.mark.parametrize("what", ["network", "sha256", "resize"])
def test_another_network_is_another_reference(two_tone, means, tmp_path, what):
    real = images.prepared(two_tone)
    reference(real, means, Needs(), cache_dir=tmp_path)
    other = dataclasses.replace(means, about={**means.about, what: "other"})
    assert not reference(real, other, Needs(), cache_dir=tmp_path)[1]


def test_a_cached_reference_without_the_bank_or_damaged_is_computed_anew(two_tone, means, tmp_path):
    real = images.prepared(two_tone)
    reference(real, means, Needs(), cache_dir=tmp_path)
    assert not reference(real, means, BANKS, cache_dir=tmp_path)[1]
    assert reference(real, means, Needs(), cache_dir=tmp_path)[1]
    (file,) = (tmp_path / "references").iterdir()
    for length in (-300, 0):
        file.write_bytes(file.read_bytes()[:length])
        assert not reference(real, means, Needs(), cache_dir=tmp_path)[1]


def test_a_part_of_the_features_is_kept_and_is_the_same_part_of_a_whole(two_tone, means, tmp_path):
    real, few = images.prepared(two_tone), Needs(features=50)
    part, _ = reference(real, means, few, cache_dir=tmp_path)
    assert reference(real, means, few, cache_dir=tmp_path)[1]
    whole, cached = reference(real, means, BANKS, cache_dir=tmp_path)
    assert not cached, "a part is not taken for the whole"
    np.testing.assert_array_equal(part.features, whole.features[sampled_rows(121, 50)])
    assert reference(real, means, few, cache_dir=tmp_path)[1], "the whole has every part"
    for name in ("count", "mean", "covariance"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name))


def test_a_drawn_part_is_fixed_and_all_of_what_is_no_more():
    rows = sampled_rows(1000, 100)
    assert len(set(rows)) == 100 and (np.diff(rows) > 0).all() and rows[-1] > 900
    np.testing.assert_array_equal(rows, sampled_rows(1000, 100))
    for most in (1000, 1001, ALL):
        np.testing.assert_array_equal(sampled_rows(1000, most), np.arange(1000))


def test_a_stale_file_under_the_right_name_is_not_believed(two_tone, means, tmp_path):
    real = images.prepared(two_tone)
    reference(real, means, Needs(), cache_dir=tmp_path)
    (file,) = (tmp_path / "references").iterdir()
    with np.load(file) as arrays:
        stale = {**arrays, "key": "another protocol", "mean": arrays["mean"] + 1}
    np.savez(file, **stale)
    found, cached = reference(real, means, Needs(), cache_dir=tmp_path)
    assert not cached and not np.array_equal(found.mean, stale["mean"])


def test_a_network_of_another_size_and_a_single_image_are_one_line(two_tone, means):
    real = images.prepared(two_tone)
    with pytest.raises(InputError, match="takes images of 32 px, not of 16 px"):
        collect(real, dataclasses.replace(means, resolution=32), Needs())
    with pytest.raises(InputError, match="1 images: statistics need at least 2"):
        collect(dataclasses.replace(real, count=1), means, Needs())


def test_given_moments_are_read_and_checked(tmp_path):
    np.savez(tmp_path / "VIRTUAL.npz", mu=np.zeros(3), sigma=np.eye(3), mu_s=0, sigma_s=0)
    found = given_moments(tmp_path / "VIRTUAL.npz")
    np.testing.assert_array_equal(found.covariance, np.eye(3))
    assert found.count is None and len(found.about["file_sha256"]) == 64
    assert found.spatial_mean is None, "they do not fit"
    with pytest.raises(InputError, match=r"^num_real=7: dataset=\S+ gives mean and covariance"):
        open_real(tmp_path / "VIRTUAL.npz", 7)
    spatial = {"mu_s": np.ones(2), "sigma_s": np.eye(2)}
    np.savez(tmp_path / "both.npz", mu=np.zeros(3), sigma=np.eye(3), **spatial)
    both = given_moments(tmp_path / "both.npz")
    np.testing.assert_array_equal(both.spatial_mean, spatial["mu_s"])
    np.testing.assert_array_equal(both.spatial_covariance, spatial["sigma_s"])
    np.savez(tmp_path / "images.npz", arr_0=np.zeros((2, 8, 8, 3), np.uint8))
    assert given_moments(tmp_path / "images.npz") is None
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=np.eye(4))
    with pytest.raises(InputError, match=r"mu \(3,\) and sigma \(4, 4\) do not fit"):
        given_moments(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=np.eye(3) * 1j)
    with pytest.raises(InputError, match="mu or sigma is complex"):
        given_moments(tmp_path / "bad.npz")
    np.savez(tmp_path / "bad.npz", mu=np.zeros(3), sigma=-np.eye(3))
    with pytest.raises(InputError, match="sigma: it is no covariance: it has negative eigenvalues"):
        given_moments(tmp_path / "bad.npz")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(InputError, match="this npz archive cannot be read"):
        given_moments(tmp_path / "text.npz")


@pytest.fixture
def spatial(means):
    """`means` with the corner pixels as spatial features."""

    def features(images):
        corners = tf.cast(tf.reshape(images[:, :2, :2], (-1, 12)), tf.float32)
        return {**means.features(images), "spatial": corners}

    return dataclasses.replace(means, name="inception", features=features)


def test_spatial_moments_are_numpys_in_float64_and_are_cached(two_tone, means, spatial, tmp_path):
    real, wanted = images.prepared(two_tone), Needs(spatial=True)
    reference(real, means, Needs(), cache_dir=tmp_path)
    found, cached = reference(real, spatial, wanted, cache_dir=tmp_path, batch_size=50)
    assert not cached, "a reference without them is not taken"
    pixels = np.concatenate(list(real.batches(121)))[:, :2, :2].reshape(121, 12).astype(np.float64)
    np.testing.assert_allclose(found.spatial_mean, pixels.mean(0), rtol=1e-12)
    np.testing.assert_allclose(found.spatial_covariance, np.cov(pixels.T), rtol=1e-10)
    again, cached = reference(real, spatial, wanted, cache_dir=tmp_path)
    assert cached
    np.testing.assert_array_equal(again.spatial_covariance, found.spatial_covariance)


def test_sfid_is_the_distance_of_spatial_moments(two_tone, spatial, noise, tmp_path):
    pair = images.generated(noise, 40), images.prepared(two_tone)
    (record,) = protocol.evaluate(
        [pair[0]], pair[1], spatial, ("sfid",), cache_dir=tmp_path, progress=False
    )
    pixels = [
        np.concatenate(list(s.batches(64)))[:, :2, :2].reshape(-1, 12).astype(np.float64)
        for s in pair
    ]
    means, covariances = zip(*((x.mean(0), np.cov(x.T)) for x in pixels), strict=True)
    root = np.sqrt(np.linalg.eigvals(covariances[0] @ covariances[1]).astype(complex)).real.sum()
    right = np.square(means[0] - means[1]).sum() + sum(map(np.trace, covariances)) - 2 * root
    assert record["name"] == "sfid_inception_40_vs_121"
    assert record["value"] == pytest.approx(right, rel=1e-9)


def test_features_are_computed_without_tf32_and_the_setting_comes_back(two_tone, means):
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    seen = []

    def features(images):
        seen.append(enabled())
        return means.features(images)

    before = enabled()
    collect(images.prepared(two_tone), dataclasses.replace(means, features=features), Needs())
    assert seen == [False] and enabled() is before is True
