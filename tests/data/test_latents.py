"""Sets of latents: what they hold, and how they are read."""

import dataclasses
import hashlib
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from latent_sets import CHANNELS, DESCRIPTION, SIZE, encode, encoding, moments_of, read_moments

from ladagan_tf.data import dataset_info, latents, pipeline, records
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError

# A streamed set's order depends on its size, but with a limit of 0 only on its shards.
_MODES = {"memory": 2**31, "streaming": 0}


@pytest.fixture(params=_MODES.values(), ids=_MODES)
def limit(request):
    return request.param


@pytest.fixture(scope="module")
def fifty_images(fifty):
    return next(pipeline.iterate_images(fifty, 50))


def _all_moments(folder):
    return read_moments(folder)[0]


def _take(folder, number, **arguments):
    dataset = pipeline.make_dataset(folder, **{"batch_size": 12, "seed": 3} | arguments)
    return list(dataset.take(number).as_numpy_iterator())


def _records(folder):
    fields = ("name", "label", "image_sha256", "image")
    dataset = tf.data.TFRecordDataset(dataset_info.load_info(folder).shard_paths)
    return {
        key: a.numpy() for key, a in records.parse(next(iter(dataset.batch(99))), fields).items()
    }


def test_float32_moments_are_stored_exactly_with_the_labels(fifty_latents, fifty_images):
    images, labels = fifty_images
    moments, stored_labels = read_moments(fifty_latents)
    np.testing.assert_array_equal(moments, moments_of(images))
    np.testing.assert_array_equal(stored_labels, labels)
    assert moments.dtype == np.float32


def test_float16_moments_are_rounded_to_nearest_and_half_as_large(fifty, fifty_images, tmp_path):
    info = latents.prepare_set(fifty, tmp_path / "out", encoding(dtype="float16", images=False))
    expected = moments_of(fifty_images[0]).astype("float16").astype("float32")
    np.testing.assert_array_equal(_all_moments(info.folder), expected)
    stored = SIZE * SIZE * 2 * CHANNELS * 2
    assert 50 * stored < info.total_bytes < 50 * (stored + 180)


def test_records_are_paired_with_their_images_by_name_and_hash(fifty, fifty_latents, fifty_images):
    found, source = (
        _records(fifty_latents),
        tf.data.TFRecordDataset(dataset_info.load_info(fifty).shard_paths),
    )
    names = records.parse(next(iter(source.batch(50))), ("name",))["name"].numpy()
    assert found["name"].tolist() == names.tolist() and len(set(names)) == 50
    hashes = [hashlib.sha256(image.tobytes()).hexdigest().encode() for image in fifty_images[0]]
    assert found["image_sha256"].tolist() == hashes


def test_the_description_names_the_autoencoder_the_images_and_the_scaled_deviation(
    fifty, fifty_latents, fifty_images
):
    info, images = dataset_info.load_info(fifty_latents), dataset_info.load_info(fifty)
    moments = moments_of(fifty_images[0]).astype("float64")
    mean, std = moments[..., :CHANNELS], moments[..., CHANNELS:]
    expected = 0.5 * np.sqrt(mean.var() + (std**2).mean())
    assert info.latents.std == pytest.approx(expected, rel=1e-12)
    assert info.latents.images_sha256 == images.content_sha256 != info.content_sha256
    assert dataclasses.replace(info.latents, std=None, images_sha256=None) == DESCRIPTION
    assert (info.resolution, info.classes, info.class_counts) == (
        images.resolution,
        images.classes,
        images.class_counts,
    )


def test_a_set_of_images_says_nothing_about_latents(fifty):
    assert "latents" not in json.loads((fifty / "dataset.json").read_text())
    assert dataset_info.load_info(fifty).latents is None


def test_images_encoded_on_the_way_make_the_same_set(fifty_latents, tmp_path):
    info = prepare("shapes", tmp_path / "out", resolution=8, num_images=50, encoding=encoding())
    other = dataset_info.load_info(fifty_latents)
    assert info.content_sha256 == other.content_sha256
    assert info.latents == other.latents


def test_latents_that_were_made_before_an_interruption_are_not_made_again(
    fifty, fifty_latents, tmp_path
):
    calls = []

    def stopped(images):
        calls.append(len(images))
        if len(calls) == 9:
            raise KeyboardInterrupt
        return encode(images)

    with pytest.raises(KeyboardInterrupt):
        latents.prepare_set(fifty, tmp_path / "out", encoding(encode=stopped), shards=4)
    info = latents.prepare_set(fifty, tmp_path / "out", encoding(encode=stopped), shards=4)
    assert len(calls) == 9 + 7  # 24 of 50 images were in complete shards
    assert dataclasses.replace(info, folder=fifty_latents) == dataset_info.load_info(fifty_latents)


def test_latents_of_a_set_of_latents_are_those_of_its_images(fifty_latents, tmp_path):
    info = latents.prepare_set(fifty_latents, tmp_path / "out", encoding())
    assert info.content_sha256 == dataset_info.load_info(fifty_latents).content_sha256
    assert info.latents == dataset_info.load_info(fifty_latents).latents


def test_batches_have_the_order_of_the_images_set(fifty, fifty_latents, limit):
    arguments = {"start_step": 3, "subset": 0.8, "memory_limit_bytes": limit}
    plain = _take(fifty, 8, **arguments)
    for (images, labels), (found, found_labels) in zip(
        plain, _take(fifty_latents, 8, with_images=True, **arguments), strict=True
    ):
        np.testing.assert_array_equal(found["images"], images)
        np.testing.assert_array_equal(found["moments"], moments_of(images))
        np.testing.assert_array_equal(found_labels, labels)


def test_workers_and_replicas_share_batches_that_hold_moments_alone(fifty_latents):
    whole = _take(fifty_latents, 3)
    share = {"num_workers": 2, "replicas": 2}
    first, second = (_take(fifty_latents, 6, worker_index=w, **share) for w in range(2))
    for step, (content, _) in enumerate(whole):
        assert content.keys() == {"moments"}
        parts = [part["moments"] for w in (first, second) for part, _ in w[2 * step : 2 * step + 2]]
        np.testing.assert_array_equal(np.concatenate(parts), content["moments"])


def test_elements_have_static_shapes(fifty_latents):
    dataset = pipeline.make_dataset(fifty_latents, batch_size=12, seed=0, with_images=True)
    assert dataset.element_spec == (
        {
            "moments": tf.TensorSpec((12, SIZE, SIZE, 2 * CHANNELS), tf.float32),
            "images": tf.TensorSpec((12, 8, 8, 3), tf.uint8),
        },
        tf.TensorSpec((12,), tf.int32),
    )


def test_stored_images_are_those_of_the_source(fifty_latents, fifty_images):
    images, labels = next(pipeline.iterate_images(fifty_latents, 50))
    np.testing.assert_array_equal(images, fifty_images[0])
    np.testing.assert_array_equal(labels, fifty_images[1])


def test_features_of_a_teacher_are_stored_in_half_precision(fifty, fifty_images, tmp_path):
    def features(images):
        rows = images.mean(axis=(2, 3))  # (b, 8)
        return rows[:, 5:], rows[:, :6].reshape(-1, 2, 3)

    def rounded(images):
        return [array.astype("float16").astype("float32") for array in features(images)]

    made = latents.prepare_set(
        fifty, tmp_path / "out", encoding(teacher={"name": "rows"}, teacher_features=features)
    )
    assert made.latents.teacher == {"name": "rows", "features": 3, "tokens": 2}
    for content, _ in _take(made.folder, 3, with_images=True, with_teacher=True):
        cls, patches = rounded(content["images"])
        np.testing.assert_array_equal(content["teacher_cls"], cls)
        np.testing.assert_array_equal(content["teacher_patches"], patches)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"flip": True}, "flip=True: .* holds latents, which cannot be mirrored"),
        ({"with_images": True}, "latents without images; prepare it again with --store_images"),
        ({"with_teacher": True}, "no features of a teacher in it"),
    ],
)
def test_batches_of_what_is_not_stored_are_refused(fifty, tmp_path, arguments, message):
    folder = latents.prepare_set(fifty, tmp_path / "out", encoding(images=False)).folder
    with pytest.raises(InputError, match=message):
        _take(folder, 1, **arguments)
    with pytest.raises(InputError, match="latents without images"):
        next(pipeline.iterate_images(folder, 5))


def test_a_set_of_images_has_no_moments(fifty):
    with pytest.raises(InputError, match="it holds images, not latents; prepare it with --latents"):
        _take(fifty, 1, with_images=True)


def test_a_damaged_record_of_latents_is_one_clear_line(fifty_latents, tmp_path):
    folder = shutil.copytree(fifty_latents, tmp_path / "damaged")
    shard = folder / "records-00002.tfrecord"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(InputError, match=r"records-00002\.tfrecord: record \d+ is damaged"):
        _take(folder, 1)
