"""A generator as a `tf.data.Dataset`: the images of seeds, whoever asks for them and how."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_generators import noise  # noqa: F401

from ladagan_tf import image_dataset_from_generator as dataset
from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds, walks


def images_of(found):
    return np.concatenate(list(found.as_numpy_iterator()))


@pytest.fixture
def classes(noise):  # noqa: F811
    """`Sampler` of three classes, each adds another grey."""

    def generate(z, labels):
        grey = keras.ops.cast(labels, "float32")[:, None, None, None]
        return 0.3 * noise.generate(z) + 0.5 * (grey - 1.0)

    return dataclasses.replace(noise, generate=generate, num_classes=3)


def test_seeds_give_their_images_whatever_the_batch_size(noise):  # noqa: F811
    expected = next(walks.image_batches(noise, seeds.latents([7, 2, 9, 2, 5], 3)))
    for size, sizes in ((2, [2, 2, 1]), (8, [5])):
        found = dataset(noise, [7, 2, 9, 2, 5], batch_size=size)
        assert [len(batch) for batch in found] == sizes and len(found) == len(sizes)
        np.testing.assert_array_equal(images_of(found), expected)
    whole = dataset(noise, range(5), batch_size=2, drop_remainder=True)
    assert whole.element_spec == tf.TensorSpec((2, 16, 16, 3), tf.uint8) and len(whole) == 2


def test_without_seeds_it_never_ends_and_never_repeats(noise):  # noqa: F811
    endless = dataset(noise, batch_size=4)
    assert endless.cardinality() == tf.data.INFINITE_CARDINALITY
    found = images_of(endless.take(3))
    np.testing.assert_array_equal(found, images_of(dataset(noise, range(12))))
    assert len({bytes(image) for image in found}) == 12


def test_a_range_may_reach_the_last_seed(noise):  # noqa: F811
    for some in (range(2**63 - 3, 2**63), range(8, 0, -3)):
        found, expected = dataset(noise, some), dataset(noise, [*some])
        np.testing.assert_array_equal(images_of(found), images_of(expected))
    every = dataset(noise, range(2**63), batch_size=3)
    np.testing.assert_array_equal(images_of(every.take(1)), images_of(dataset(noise, range(3))))


def test_without_classes_they_are_drawn_in_any_way(noise):  # noqa: F811
    found = images_of(dataset(noise, range(3), labels="proportional"))
    np.testing.assert_array_equal(found, images_of(dataset(noise, range(3))))


def test_shards_share_the_seeds(noise):  # noqa: F811
    shards = [images_of(dataset(noise, range(7), num_shards=2, index=i)) for i in range(2)]
    whole = images_of(dataset(noise, range(7)))
    for i, shard in enumerate(shards):
        np.testing.assert_array_equal(shard, whole[i::2])


def test_classes_come_with_their_images(classes):
    pairs = list(dataset(classes, range(7), batch_size=4).as_numpy_iterator())
    labels = np.concatenate([labels for _, labels in pairs])
    assert labels.dtype == np.int32 and labels.tolist() == [0, 1, 2, 0, 1, 2, 0]
    greys = np.concatenate([images for images, _ in pairs]).mean(axis=(1, 2, 3))
    assert all(np.ptp(greys[labels == i]) < 20 for i in range(3)) and np.ptp(greys) > 100
    found = dataset(classes, range(9), labels="proportional", class_counts=[0, 0, 5])
    assert {int(label) for _, labels in found for label in labels} == {2}


def test_a_classifier_learns_from_generated_images(classes):
    keras.utils.set_random_seed(0)
    network = keras.Sequential(
        [keras.layers.Rescaling(1 / 127.5, -1), keras.layers.Flatten(), keras.layers.Dense(3)]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    network.compile(keras.optimizers.Adam(0.02), loss, metrics=["accuracy"])
    stream = dataset(classes, batch_size=16, drop_remainder=True)
    network.fit(stream, steps_per_epoch=20, shuffle=False, verbose=0)
    assert network.evaluate(dataset(classes, range(10**6, 10**6 + 30)), verbose=0)[1] > 0.6


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"seeds": [-1]}, "seeds: -1 is out of range; give 0 to"),
        ({"seeds": range(3, -2, -1)}, "seeds: -1 is out of range"),
        ({"seeds": 1000}, r"seeds=1000: give integers, as range\(1000\)"),
        ({"seeds": [0.5]}, r"seeds=\[0.5\]: give integers"),
        ({"seeds": [0], "batch_size": 0}, "batch_size=0: give a whole number, 1 or more"),
        ({"seeds": [0], "batch_size": 2.5}, "batch_size=2.5: give a whole number"),
        ({"seeds": [0], "batch_size": None}, "batch_size=None: give a whole number"),
        ({"seeds": [0], "num_shards": 2, "index": 2}, "index=2: give 0 to 1"),
        ({"seeds": [0], "labels": "all"}, "labels=all: give one of balanced, random, proportional"),
        *(
            (
                {"seeds": [0], "labels": "proportional", "class_counts": counts},
                "needs a number of images for each of the 3 classes, 0 or more, not all of them 0",
            )
            for counts in (None, [1, 2], [0, 0, 0], [1, -1, 2], [1, float("nan"), 1], ["a"] * 3)
        ),
    ],
)
def test_what_is_out_of_range_is_one_line(classes, arguments, message):
    with pytest.raises(InputError, match=message):
        dataset(classes, **arguments)
