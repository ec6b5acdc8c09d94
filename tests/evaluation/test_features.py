"""Feature networks are found by name, and batches keep their rows whatever computes them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_dinov2 import FEATURES, save_preset

from ladagan_tf.data import dataset_info
from ladagan_tf.data.preparation import prepare
from ladagan_tf.devices import replicated
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import set_aside_another
from ladagan_tf.evaluation.features import chosen, classifier, open_extractor
from ladagan_tf.models.features.classifier import Classifier


def test_a_last_partial_batch_is_neither_dropped_nor_traced_again():
    traced = []

    def double(x):
        traced.append(x.shape[0])
        return 2 * x

    call = replicated(double)
    for rows in (4, 4, 3, 1, 5, 4):
        x = np.arange(rows)
        np.testing.assert_array_equal(call(x), 2 * x)
    assert traced == [4, 5]


def test_auto_is_what_the_metrics_are_defined_with():
    for metrics, expected in (
        ((), "inception"),
        (("swd",), "none"),
        (("swd", "kid"), "inception"),
        (("swd", "fcd"), "classifier"),
    ):
        assert chosen("auto", "data/photos", metrics) == expected
    assert chosen("auto", "shapes", ["swd"]) == "none"
    assert chosen("inception", "data/photos", ["swd"]) == "inception"


def test_xla_gives_the_same_features(classifier_file):
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8)
    features = classifier(classifier_file).features
    plain, compiled = (replicated(features, jit=jit)(images) for jit in (False, True))
    np.testing.assert_allclose(compiled["features"], plain["features"], atol=1e-4)


def test_the_classifier_of_a_set_is_trained_once(two_tone, tmp_path, monkeypatch, capsys):
    trained = []
    place = tmp_path / "set.classifier.keras"
    monkeypatch.setattr("ladagan_tf.evaluation.features.default_path", lambda folder: place)

    def train(folder, path):
        trained.append(folder)
        network = Classifier(8, ("a", "b"))
        network.about = {"content_sha256": dataset_info.load_info(folder).content_sha256}
        network.save(path)

    monkeypatch.setattr("ladagan_tf.evaluation.features.train_classifier", train)
    monkeypatch.setattr("ladagan_tf.evaluation.features.classifier", lambda path: path)
    for _ in range(2):
        assert open_extractor("classifier", folder=two_tone) == place
    assert trained == [two_tone]
    assert "once" in capsys.readouterr().out


def test_beside_a_set_on_a_read_only_disk_it_says_where_to_train_it(two_tone, monkeypatch):
    monkeypatch.setattr(
        "ladagan_tf.evaluation.features.default_path", lambda folder: Path("/proc/c.keras")
    )
    with pytest.raises(InputError, match=r"^features=/proc/c.keras: it cannot .*classifier:FILE"):
        open_extractor("classifier", folder=two_tone)


def test_a_classifier_of_other_images_is_not_taken_for_that_of_a_set(
    two_tone, classifier_file, tmp_path, monkeypatch, capsys
):
    place = Path(shutil.copy(classifier_file, tmp_path / "set.classifier.keras"))
    set_aside_another(place, two_tone)
    assert place.exists() and not capsys.readouterr().out
    other = prepare("shapes", tmp_path / "other", resolution=16, num_images=2).folder
    set_aside_another(place, other)
    aside = f"set.classifier-{dataset_info.load_info(two_tone).content_sha256[:8]}.keras"
    assert not place.exists() and (tmp_path / aside).exists()
    assert f"it was trained on other images, and is now {aside}" in capsys.readouterr().out
    shutil.copy(classifier_file, place)
    set_aside_another(place, other)
    assert (tmp_path / aside).exists() and (tmp_path / f"{aside[:-6]}-2.keras").exists()


def test_the_default_is_what_the_metrics_are_defined_with_else_by_the_set(monkeypatch, tmp_path):
    module = "ladagan_tf.evaluation.features"
    monkeypatch.setattr(f"{module}.inception", lambda path, cache: "inception")
    monkeypatch.setattr(f"{module}.classifier", lambda path: "classifier")
    monkeypatch.setattr(f"{module}.train_classifier", lambda *args: None)
    assert open_extractor("auto", dataset="shapes", folder=tmp_path) == "classifier"
    assert open_extractor("auto", dataset="tfds:cifar10", folder=tmp_path) == "inception"
    assert open_extractor("none") is None
    assert open_extractor("auto", dataset="shapes", metrics=["kid", "fid"]) == "inception"
    of_photos = open_extractor("auto", dataset="photos", folder=tmp_path, metrics=["fcd"])
    assert of_photos == "classifier"


def test_dinov2_gives_the_class_token_of_images_of_any_size(tmp_path):
    preset = save_preset(tmp_path / "tiny")
    found = open_extractor(f"dinov2:{preset}")
    assert (found.name, found.dimension, found.resolution) == ("dinov2", FEATURES, None)
    assert found.about["preset"] == preset and len(found.about["sha256"]) == 64
    images = np.random.default_rng(0).integers(0, 256, (2, 300, 300, 3), dtype=np.uint8)
    tokens = found.features(images)["features"]
    assert tokens.shape == (2, FEATURES)
    # Pillow's bicubic is antialiased.
    planes = [Image.fromarray(images[0, :, :, c].astype(np.float32)) for c in range(3)]
    small = [np.asarray(plane.resize((224, 224), Image.Resampling.BICUBIC)) for plane in planes]
    expected = found.features(np.stack(small, axis=2)[None])["features"]
    np.testing.assert_allclose(tokens[:1], expected, atol=1e-4)


def test_another_name_is_one_line():
    with pytest.raises(InputError, match="features=vgg: give inception, classifier"):
        open_extractor("vgg")
    with pytest.raises(InputError, match="there is no prepared set; give classifier:FILE"):
        open_extractor("classifier")
    with pytest.raises(InputError, match=r"weights=w.pth: with features=none nothing reads it; "):
        open_extractor("none", inception_path="w.pth")


def test_the_hash_of_a_classifier_is_that_of_its_weights(classifier_file, two_tone):
    first, second = classifier(classifier_file), classifier(classifier_file)
    assert first.about["sha256"] == second.about["sha256"]
    assert first.classes == ("0", "1") and first.dimension == 64 and first.resolution == 16
