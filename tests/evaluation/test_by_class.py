"""Intra-FID: what is compared are images of one class with real ones of it."""

import dataclasses

import keras
import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import by_class, images, protocol, report


def test_each_class_is_compared_with_its_own():
    rng = np.random.default_rng(0)
    real = rng.standard_normal((300, 3))
    labels = np.repeat([0, 1, 2], 100)
    # Classes 0 and 1 changed places and class 2 is what it should be: unseen by FID.
    real[labels == 1] += [4.0, 0.0, 0.0]
    ours, swapped = real.copy(), np.choose(labels, [1, 0, 2])
    found = by_class.intra_frechet("intra_fid", (ours, swapped), (real, labels), "abc")
    values = {name: row["value"] for name, row in found.details["by_class"].items()}
    # Equal covariances up to sampling: the distance is that of the means, 4 squared.
    assert values["a"] == pytest.approx(16, rel=0.2) and values["b"] == pytest.approx(values["a"])
    assert values["c"] == pytest.approx(0, abs=1e-6)
    assert found.value == pytest.approx(np.mean(list(values.values())))
    assert found.lower_is_better and "over 3 of 3 classes" in found.definition


def test_small_classes_are_left_out():
    features, labels = np.random.default_rng(0).standard_normal((109, 2)), np.repeat([0, 1], 55)
    sets = [(features, labels[:-1])] * 2
    sizes = by_class.intra_frechet("intra_fcd", *sets, "ab").details["by_class"]
    assert {name: row["real"] for name, row in sizes.items()} == {"a": 55, "b": 54}
    few = features[:60], labels[:60]
    assert list(by_class.intra_frechet("intra_fcd", few, few, "ab").details["by_class"]) == ["a"]


def test_halves_of_a_set_are_measured_by_class_after_the_whole(two_tone, means, tmp_path):
    halves = images.open_images(f"{two_tone}[:110]"), images.open_images(two_tone)
    records = protocol.evaluate(
        [halves[0]], halves[1], means, ("fcd",), by_class=True, cache_dir=tmp_path, progress=False
    )
    assert [r["name"] for r in records] == [
        "fcd_classifier_110_vs_121",
        "intra_fcd_classifier_110_vs_121",
    ]
    rows = records[1]["details"]["by_class"]
    assert set(rows) == {"0", "1"} and sum(row["real"] for row in rows.values()) == 121
    assert all(row["value"] < 1.0 for row in rows.values())
    text = report.table(records)
    assert f"({rows['0']['generated']} vs {rows['0']['real']} images)" in text
    report.write(records, tmp_path / "m.jsonl")


def test_the_classifier_says_how_many_images_are_of_the_class_that_was_asked_for(
    two_tone, means, tmp_path
):
    logits = np.eye(3)[[0, 0, 1, 2, 2]]
    found = by_class.accuracy(logits, np.array([0, 1, 1, 2, 0]), ("a", "b", "c"))
    assert found.value == 0.6 and not found.lower_is_better
    assert found.details["right"] == {"a": 0.5, "b": 0.5, "c": 1.0}

    def named(images):
        brighter = keras.ops.mean(keras.ops.cast(images, "float32"), axis=(1, 2, 3)) - 114.0
        logits = keras.ops.stack([-brighter, brighter], axis=1)
        return {**means.features(images), "logits": logits}

    classifier = dataclasses.replace(means, features=named, classes=("0", "1"))
    halves = images.open_images(f"{two_tone}[:110]"), images.open_images(two_tone)
    found = halves[1], classifier, ("fcd",)
    records = protocol.evaluate(
        [halves[0]], *found, by_class=True, cache_dir=tmp_path, progress=False
    )
    assert records[-1]["name"] == "class_accuracy_classifier_110_vs_121"
    assert records[-1]["value"] == 1.0 and records[-1]["details"]["right"] == {"0": 1.0, "1": 1.0}
    assert report.table(records).count("\n  0 ") == 2


def test_labels_are_in_the_order_of_the_images(two_tone, noise):
    found = images.open_images(f"{two_tone}[7:91]")
    bright = np.concatenate([batch.mean((1, 2, 3)) > 114 for batch in found.batches(25)])
    np.testing.assert_array_equal(found.labels(), bright.astype(int))
    conditional = dataclasses.replace(noise, num_classes=3)
    ours = images.generated(conditional, 5, seed=1)
    assert ours.classes == ("0", "1", "2") and ours.labels().tolist() == [2, 0, 1, 2, 0]
    named = dataclasses.replace(conditional, class_names=("a", "b", "c"))
    assert images.generated(named, 5).classes == ("a", "b", "c")


def test_images_without_a_class_are_counted_among_none(two_tone):
    half = dataclasses.replace(images.prepared(two_tone), labels=lambda: np.array([0, -1, 1, -1]))
    with pytest.raises(InputError, match="by_class: 2 of 4 images have no class"):
        by_class.counted(half, "by_class")


def test_sets_without_common_classes_are_refused(two_tone, noise, means):
    real = images.prepared(two_tone)
    swapped = dataclasses.replace(real, classes=("1", "0"))
    three = images.generated(dataclasses.replace(noise, num_classes=3), 4)
    for generated, reference, extractor, message in (
        (images.generated(noise, 4), real, means, "what is measured has no classes"),
        (three, images.generated(noise, 4), means, "must be a prepared set with classes"),
        (three, (None, {}), means, "must be a prepared set with classes"),
        (three, real, means, "have 2 classes, what is measured 3"),
        (swapped, real, means, "class 0 of the real images is 0, that of what is measured 1"),
        (real, real, None, "needs a feature network"),
        (images.prepared(two_tone, 60), real, means, "no class has 50 real and 50 generated"),
    ):
        with pytest.raises(InputError, match=f"by_class: .*{message}"):
            by_class.check(generated, reference, extractor)
