"""Damage done on purpose: what befalls which image, and that its record says so."""

import collections
import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from ladagan_tf.data import corruption, dataset_info, pipeline
from ladagan_tf.data.preparation import prepare
from ladagan_tf.data.source import Item, Source
from ladagan_tf.errors import InputError

COUNT, CLASSES = 4_000, ("a", "b", "c", "d")


@pytest.fixture(scope="module")
def clean():
    """4,000 items, half of them of the first class, the others alike of three."""
    labels = [0 if i % 2 else 1 + i // 2 % 3 for i in range(COUNT)]
    items = [Item(f"{i}.png", label, i) for i, label in enumerate(labels)]
    return Source(COUNT, CLASSES, lambda: iter(items), lambda payload: payload)


def items_of(clean, *texts, seed=0):
    return [*corruption.corrupted(clean, corruption.parse(texts), seed).items()]


def assert_share(count, share, of=COUNT):
    assert abs(count - share * of) < 4 * np.sqrt(share * (1 - share) * of) + 1


def test_nothing_asked_for_is_the_source_itself(clean):
    assert corruption.corrupted(clean, corruption.parse([]), 0) is clean


def test_the_same_seed_is_the_same_damage_and_another_is_not(clean):
    texts = ["noise:0.3", "labels:0.2", "duplicates:0.1", "dominating:0.5"]
    assert items_of(clean, *texts) == items_of(clean, *reversed(texts))
    assert items_of(clean, *texts) != items_of(clean, *texts, seed=1)


def test_one_damage_does_not_decide_about_another(clean):
    alone, both = items_of(clean, "noise:0.3"), items_of(clean, "noise:0.3", "labels:0.5", "jpeg:9")
    assert ["noise" in item.damage for item in alone] == ["noise" in item.damage for item in both]
    noisy = [a for a, b in zip(both, clean.items(), strict=True) if a.label != b.label]
    assert_share(sum("noise" in item.damage for item in noisy), 0.3, len(noisy))


def test_a_share_becomes_noise_and_says_so(clean):
    found = items_of(clean, "noise:0.3")
    noisy = [item for item in found if item.damage]
    assert_share(len(noisy), 0.3)
    assert all(item.name.endswith(".png (noise)") for item in noisy)
    pixels = corruption.damaged(np.zeros((64, 64, 3), np.uint8), noisy[0].damage)
    again = corruption.damaged(np.ones((64, 64, 3), np.uint8), noisy[0].damage)
    other = corruption.damaged(pixels, noisy[1].damage)
    np.testing.assert_array_equal(pixels, again)
    assert (other != pixels).mean() > 0.99
    counts = np.bincount(pixels.ravel(), minlength=256)  # 48 each: chi squared of 255 +- 23
    assert abs(np.sum((counts - 48) ** 2) / 48 - 255) < 5 * 23


def test_a_share_gets_any_other_class_and_says_which_it_had(clean):
    pairs = [*zip(items_of(clean, "labels:0.4"), clean.items(), strict=True)]
    changed = [(new, old) for new, old in pairs if new.label != old.label]
    assert_share(len(changed), 0.4)
    assert all(n.name == f"{o.name} (label, was {CLASSES[o.label]})" for n, o in changed)
    of_first = [new.label for new, old in changed if old.label == 0]
    for label in (1, 2, 3):
        assert_share(of_first.count(label), 1 / 3, len(of_first))


def test_a_share_is_the_image_before_which_is_no_copy_itself(clean):
    found, originals = items_of(clean, "duplicates:0.5"), [*clean.items()]
    copies = [i for i, item in enumerate(found) if " (is " in item.name]
    assert_share(len(copies), 0.5)
    assert 0 not in copies and len({item.name for item in found}) == COUNT
    for i in copies[:100]:
        source = max(j for j in range(i) if j not in copies)
        assert found[i].name == f"{originals[i].name} (is {originals[source].name})"
        assert (found[i].payload, found[i].label) == (source, originals[source].label)


def test_a_class_dominates_where_others_are_left_out(clean):
    source = corruption.corrupted(clean, corruption.parse(["dominating:0.9"]), 0)
    counts = collections.Counter(item.label for item in source.items())
    assert counts[0] == COUNT / 2 and sum(counts.values()) == source.count
    for label in (1, 2, 3):
        assert_share(counts[label], 0.1, COUNT / 6)


def test_all_images_are_what_jpeg_makes_of_them(clean):
    (item, *rest) = items_of(clean, "jpeg:10")
    assert item.name == "0.png (JPEG of quality 10)" and all(i.damage == item.damage for i in rest)
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=10)
    found = corruption.damaged(pixels, item.damage)
    np.testing.assert_array_equal(found, Image.open(file))
    assert np.abs(found.astype(int) - pixels).mean() > 10


@pytest.mark.parametrize(
    "texts",
    [
        ["noise"], ["noise:x"], ["noise:0"], ["noise:1.5"], ["noise:nan"], ["jpeg:0"], ["jpeg:96"],
        ["jpeg:0.5"], ["blur:0.1"], ["noise:0.1", "noise:0.2"], [""],
    ],
)  # fmt: skip
def test_what_is_no_damage_is_one_line(texts):
    with pytest.raises(
        InputError, match=r"^corrupt=.*: give each of dominating, duplicates, noise"
    ):
        corruption.parse(texts)


def test_classes_cannot_be_damaged_where_there_are_none(clean):
    for classes in ((), ("a",)):
        source = Source(1, classes, clean.items, clean.read)
        with pytest.raises(InputError, match=f"corrupt=labels: the source has {len(classes)} cl"):
            corruption.corrupted(source, {"labels": 0.5}, 0)


@pytest.mark.parametrize("kind", ["labels", "dominating"])
def test_an_image_without_a_class_among_others_is_named(kind):
    items = [Item("a.png", 0, 0), Item("b.png", None, 1)]
    source = Source(2, CLASSES, lambda: iter(items), lambda payload: payload)
    with pytest.raises(InputError, match=f"corrupt={kind}: b.png has no class"):
        list(corruption.corrupted(source, {kind: 1.0}, 0).items())


def test_a_prepared_set_says_what_was_done_to_it_and_to_each_image(tmp_path):
    given = {"resolution": 8, "num_images": 40, "workers": 1}
    clean = prepare("shapes", tmp_path / "clean", **given)
    given |= {"corrupt": ["labels:0.5", "noise:0.25"], "corrupt_seed": 3}
    info = prepare("shapes", tmp_path / "damaged", **given)
    assert (info.preparation.corrupt, info.preparation.corrupt_seed) == ("noise:0.25,labels:0.5", 3)
    assert (clean.preparation.corrupt, clean.preparation.corrupt_seed) == (None, None)
    (left, left_labels), (right, right_labels) = (
        map(np.concatenate, zip(*pipeline.iterate_images(i.folder, 40, 0, 40), strict=True))
        for i in (clean, info)
    )
    changed = [bool((a != b).any()) for a, b in zip(left, right, strict=True)]
    assert 3 < sum(changed) < 20 and 8 < (left_labels != right_labels).sum() < 32
    (shard,) = info.shard_paths
    written = pathlib.Path(shard).read_bytes()
    assert written.count(b"noise") == sum(changed)
    assert written.count(b"label, was") == (left_labels != right_labels).sum()
    again = prepare("shapes", tmp_path / "again", **given)
    assert again.content_sha256 == info.content_sha256 != clean.content_sha256
    with pytest.raises(InputError, match=r"holds a set with corrupt_seed=3, not corrupt_seed=4"):
        prepare("shapes", tmp_path / "damaged", **{**given, "corrupt_seed": 4})
    dataset_info.require_undamaged(clean, "")
    with pytest.raises(InputError, match=r"damaged on purpose \(noise:0.25,labels:0.5\).*; do x"):
        dataset_info.require_undamaged(info, "do x")
