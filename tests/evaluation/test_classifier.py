"""The small classifier learns a labelled set, says how well, and is found again."""

import keras
import numpy as np
import pytest

from ladagan_tf.data import dataset_info, latents
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import default_path, load_classifier, train_classifier
from ladagan_tf.models.features.classifier import Classifier


def test_it_learns_and_records_what_it_was_trained_on(two_tone, classifier_file):
    about = load_classifier(classifier_file).about
    assert about["held_out_accuracy"] == 1.0
    assert about["content_sha256"] == dataset_info.load_info(two_tone).content_sha256


def test_features_and_logits_have_the_stated_shapes(classifier_file):
    network = load_classifier(classifier_file)
    out = network(np.zeros((2, 16, 16, 3), np.uint8))
    assert out["features"].shape == (2, network.dimension) and out["logits"].shape == (2, 2)


@pytest.mark.usefixtures("eagerly")
def test_a_set_of_latents_teaches_to_the_bit_what_its_images_do(two_tone, tmp_path):
    """Which also says that the same seed gives the same classifier."""
    description = dataset_info.Latents(16, 3, "float16", "none", "0", "0", 1.0, images=True)
    encoding = latents.Encoding(lambda images: (images / 255.0, images * 0.0), description)
    encoded = latents.prepare_set(two_tone, tmp_path / "latents", encoding).folder
    found, expected = (
        train_classifier(folder, tmp_path / "c.keras", kimg=0.128).get_weights()
        for folder in (encoded, two_tone)
    )
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_array_equal(a, b)


def test_it_lies_beside_its_set_by_default():
    assert str(default_path("data/shapes-32")) == "data/shapes-32.classifier.keras"


def test_what_cannot_be_learned_is_one_line(tmp_path, two_tone):
    images = np.zeros((5, 16, 16, 3), np.uint8)
    np.savez(tmp_path / "few.npz", images=images, labels=np.arange(5) % 2)
    few = prepare(str(tmp_path / "few.npz"), tmp_path / "few", resolution=16).folder
    with pytest.raises(InputError, match="5 images; give 100"):
        train_classifier(few, tmp_path / "c.keras")
    np.savez(tmp_path / "none.npz", images=images)
    unlabelled = prepare(str(tmp_path / "none.npz"), tmp_path / "none", resolution=16).folder
    with pytest.raises(InputError, match="0 classes"):
        train_classifier(unlabelled, tmp_path / "c.keras")
    with pytest.raises(InputError, match=r"must end in \.keras"):
        train_classifier(two_tone, tmp_path / "c.h5")
    for kimg in (0, 1e30):
        with pytest.raises(InputError, match=r"^kimg=.*: it must be from 0.064, one batch, to 1"):
            train_classifier(two_tone, tmp_path / "c.keras", kimg=kimg)
    with pytest.raises(InputError, match=r"^out=/dev/null/c.keras: it cannot be written"):
        train_classifier(two_tone, "/dev/null/c.keras")
    with pytest.raises(ValueError, match="resolution=24"):
        Classifier(24, ("a", "b"))


def test_what_is_no_classifier_is_one_line(tmp_path):
    with pytest.raises(InputError, match="no such file; make one with"):
        load_classifier(tmp_path / "none.keras")
    (tmp_path / "text.keras").write_text("text")
    with pytest.raises(InputError, match=r"this \.keras file cannot be read"):
        load_classifier(tmp_path / "text.keras")
    other = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    other.save(tmp_path / "other.keras")
    with pytest.raises(InputError, match="holds a Sequential"):
        load_classifier(tmp_path / "other.keras")
