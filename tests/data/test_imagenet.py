"""ImageNet's identifiers in words; every other set keeps its names."""

import pathlib

import tensorflow_datasets

from ladagan_tf.data import imagenet

LABELS = pathlib.Path(tensorflow_datasets.__file__).parent / imagenet.IDENTIFIERS


def test_identifiers_in_their_order_become_words():
    words = imagenet.in_words(LABELS.read_text().split())
    assert len(set(words)) == 1000
    known = {
        0: "tench, Tinca tinca",
        207: "golden retriever",
        360: "otter",
        963: "pizza, pizza pie",
    }
    assert {number: words[number] for number in known} == known


def test_other_classes_stay_as_they_are(monkeypatch):
    identifiers = LABELS.read_text().split()
    swapped = [identifiers[0], *identifiers[:0:-1]]
    for classes in ((), ("flags", "food-drink"), identifiers[:10], swapped):
        assert imagenet.in_words(classes) == tuple(classes)
    monkeypatch.setattr(imagenet, "WORDS", ("datasets/gone.py", "NAMES"))
    assert imagenet.in_words(identifiers) == tuple(identifiers)
