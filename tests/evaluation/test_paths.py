"""Perceptual path length: closed forms of linear generators, and what has no paths."""

import dataclasses

import keras
import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import images, metrics, protocol, report
from ladagan_tf.evaluation.collection import Needs, collect
from ladagan_tf.sampling import seeds

AXES = 0.05 * np.linalg.qr(np.random.default_rng(0).standard_normal((6, 3)))[0]  # (Z, 3)


@pytest.fixture
def linear(noise):
    """`Sampler`: images of one colour, z times `AXES`."""

    def generate(z):
        colours = keras.ops.matmul(keras.ops.convert_to_tensor(z), np.float32(AXES))
        return keras.ops.broadcast_to(colours[:, None, None, :], (z.shape[0], 16, 16, 3))

    return dataclasses.replace(noise, generate=generate, noise_dim=6)


@pytest.fixture
def colours(means):
    """Extractor: the first pixel, whose grey levels no sum has rounded."""

    def features(images):
        return {"features": keras.ops.cast(images[:, 0, 0], "float32")}

    return dataclasses.replace(means, features=features)


def speeds(count):
    """|df/dt|^2 of features that are grey levels, in float64 from the derivative of slerp."""
    a = seeds.latents(range(count), 6).astype(np.float64)
    b, t = seeds.path_ends(range(count), 6)
    angle = np.arccos(
        np.sum(a * b, 1, keepdims=True)
        / (np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1))[:, None]
    )
    moved = np.cos(t * angle) * b - np.cos((1 - t) * angle) * a
    return np.square((angle / np.sin(angle) * moved) @ (127.5 * AXES)).sum(axis=1)


def test_lengths_of_a_linear_generator_have_the_closed_form(linear, colours):
    found = collect(images.generated(linear, 50), colours, Needs(path=True), batch_size=20)
    np.testing.assert_allclose(found.path, speeds(50), rtol=0.06)  # of steps of 1e-3 grey levels
    assert found.path.mean() == pytest.approx(speeds(50).mean(), rel=3e-3)
    again = collect(images.generated(linear, 50), colours, Needs(path=True), batch_size=50)
    np.testing.assert_allclose(again.path, found.path, rtol=1e-6)
    assert again.count == 50 and not collect(images.generated(linear, 5), colours, Needs()).path


def test_extremes_beyond_a_percent_are_left_out():
    lengths = np.arange(101.0)
    lengths[-1] = 1e9
    assert metrics.perceptual_path_length(lengths[::-1]) == 50.0
    assert metrics.perceptual_path_length([2.0, 4.0]) == 3.0
    ends = np.zeros((2, 3)), np.full((2, 3), 1e-4)
    np.testing.assert_allclose(metrics.path_lengths(*ends), 3.0)
    one = (end[:1] for end in ends)  # as the last of 65 pairs, 64 at a time
    np.testing.assert_allclose(metrics.path_lengths(*one), 3.0)
    with pytest.raises(InputError, match="must have one shape"):
        metrics.path_lengths(np.zeros((2, 3)), np.zeros((3, 3)))


def test_a_path_is_of_its_seed_alone_and_leads_elsewhere():
    ends, places = seeds.path_ends(range(5), 4)
    np.testing.assert_array_equal(ends[3:], seeds.path_ends([3, 4], 4)[0])
    assert places.min() >= 0 and places.max() < 1 and len(np.unique(places)) == 5
    assert not np.isin(ends, seeds.latents(range(5), 4)).any()


def test_a_generator_alone_is_enough_and_images_have_no_paths(linear, colours):
    (record,) = protocol.evaluate(
        [images.generated(linear, 40)], None, colours, ("ppl",), progress=False
    )
    assert record["name"] == "ppl_classifier_40" and record["lower_is_better"]
    assert record["value"] == metrics.perceptual_path_length(
        collect(images.generated(linear, 40), colours, Needs(path=True)).path
    )
    assert "LPIPS's place" in record["definition"] and "1e-08" not in record["definition"]
    assert record["protocol"]["features"]["network"] == "channel means"
    assert "published lengths are LPIPS's" in report.table([record])
    pixels = images.of_array(np.zeros((4, 16, 16, 3), np.uint8))
    with pytest.raises(InputError, match=r"metrics=ppl: it follows paths .* an array is images"):
        protocol.evaluate([pixels], None, colours, ("ppl",))
    half = dataclasses.replace(linear, about={"precision": "mixed_bfloat16"})
    with pytest.raises(InputError, match=r"ppl: with --precision=mixed_bfloat16 .* float32"):
        protocol.evaluate([images.generated(half, 4)], None, colours, ("ppl",))
    with pytest.raises(InputError, match="metrics=fcd: it needs real images"):
        protocol.evaluate([images.generated(linear, 4)], None, colours, ("fcd",))
