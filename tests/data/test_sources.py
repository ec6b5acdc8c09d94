"""Sources of images: what is found in them, under which names and labels."""

import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from encoded_images import png
from PIL import Image

from ladagan_tf.data.listing import describe
from ladagan_tf.data.shapes import CLASSES, shapes_image
from ladagan_tf.data.sources import open_source
from ladagan_tf.errors import InputError


def _colour_folder(folder, names):
    for shade, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade, 0, 0)).save(path)
    return folder


def _read_all(source):
    """Name -> (label, pixels); `read` goes through pickle as it does to a worker process."""
    read = pickle.loads(pickle.dumps(source.read))
    return {i.name: (i.label, np.asarray(read(i.payload).convert("RGB"))) for i in source.items()}


# Folders, zips, npz, shapes.


def test_subfolders_are_classes_in_alphabetical_order(tmp_path):
    source = open_source(
        str(_colour_folder(tmp_path, ["dog/0.png", "cat/1.png", "cat/deep/2.png"])), resolution=8
    )
    images = _read_all(source)
    assert source.classes == ("cat", "dog") and source.count == 3
    assert {name: label for name, (label, _) in images.items()} == {
        "dog/0.png": 1,
        "cat/1.png": 0,
        "cat/deep/2.png": 0,
    }
    assert images["cat/1.png"][1][0, 0, 0] == 1


def test_a_flat_folder_has_no_classes(tmp_path):
    source = open_source(str(_colour_folder(tmp_path, ["0.png", "1.png"])), resolution=8)
    assert source.classes == () and {item.label for item in source.items()} == {None}


def test_folders_that_wrap_everything_are_not_classes(tmp_path):
    source = open_source(
        str(_colour_folder(tmp_path, ["a/b/x/0.png", "a/b/y/1.png"])), resolution=8
    )
    assert source.classes == ("x", "y")


def test_images_beside_class_folders_are_refused_by_name(tmp_path):
    folder = _colour_folder(tmp_path, ["cat/0.png", "dog/1.png", "stray.png"])
    with pytest.raises(InputError, match=r"stray\.png lies beside class folders"):
        open_source(str(folder), resolution=8)


def _left_out(source):
    return {some.reason: (some.count, *some.names) for some in source.left_out}


def test_what_is_left_out_is_counted_and_named_by_reason(tmp_path):
    folder = _colour_folder(
        tmp_path,
        [
            "a/0.png", "a/.hidden/1.png", "__MACOSX/a/._0.png", "a/@eaDir/0.png/thumb.jpg",
            "a/#recycle/9.png", "a/._2.png",
        ],
    )  # fmt: skip
    for name in ("README.md", "Thumbs.db", "a/one.txt", "a/two.TXT", "LICENSE"):
        (folder / name).write_text("no image")
    (folder / "gone.png").symlink_to("nowhere")
    (folder / "round.png").symlink_to("round.png")
    source = open_source(str(folder), resolution=8)
    assert [item.name for item in source.items()] == ["a/0.png"]
    assert _left_out(source) == {
        "hidden": (2, "a/._2.png", "a/.hidden/1.png"),
        "suffix .txt": (2, "a/one.txt", "a/two.TXT"),
        "suffix .md": (1, "README.md"),
        "suffix .db": (1, "Thumbs.db"),
        "in __MACOSX": (1, "__MACOSX/a/._0.png"),
        "in @eaDir": (1, "a/@eaDir/0.png/thumb.jpg"),
        "in #recycle": (1, "a/#recycle/9.png"),
        "no suffix and no image": (1, "LICENSE"),
        "a broken link": (2, "gone.png", "round.png"),
    }
    line = describe(source.left_out)
    assert line.startswith("left out 12 files: 2 a broken link (gone.png, ...), 2 hidden (")
    assert line.endswith("), 2 for other reasons") and len(line) < 320


def test_many_reasons_and_names_stay_few(tmp_path):
    _colour_folder(tmp_path, ["0.png"])
    for i in range(110):
        (tmp_path / f"{i:03d}.txt").write_text("")
    for i in range(30):
        (tmp_path / f"{i:03d}.s{i}").write_text("")
    left_out = open_source(str(tmp_path), resolution=8).left_out
    assert len(left_out) == 21 and sum(some.count for some in left_out) == 140
    assert (left_out[0].count, len(left_out[0].names)) == (110, 100)
    assert (left_out[-1].reason, left_out[-1].count) == ("another suffix", 11)


@pytest.mark.parametrize(
    "suffix",
    ["jfif", "jpe", "JPG", "avif", "jp2", "tga", "pgm", "ppm", "webp", "tif", "gif", "bmp", "ico"],
)
def test_what_pillow_reads_is_read_whatever_its_suffix(tmp_path, suffix):
    mode = "L" if suffix == "pgm" else "RGB"
    Image.new(mode, (16, 16), 7 if mode == "L" else (7, 7, 7)).save(tmp_path / f"a.{suffix}")
    source = open_source(str(tmp_path), resolution=8)
    ((label, pixels),) = _read_all(source).values()
    assert label is None and np.abs(pixels.astype(int) - 7).max() <= 2 and not source.left_out


def test_an_image_without_a_suffix_is_told_by_its_content(tmp_path):
    (tmp_path / "n01440764_10026").write_bytes(png(Image.new("RGB", (8, 8))))
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.write(tmp_path / "n01440764_10026", "x/n01440764_10026")
    for path in (tmp_path / "set.zip", tmp_path):
        assert open_source(str(path), resolution=8).count == 1


def test_links_to_folders_and_files_are_followed_and_no_folder_is_read_twice(tmp_path):
    pool = _colour_folder(tmp_path / "pool", ["cats/0.png", "dogs/1.png", "2.png"])
    folder = tmp_path / "set"
    (folder / "bird").mkdir(parents=True)
    (folder / "bird" / "2.png").symlink_to(pool / "2.png")
    (folder / "cat").symlink_to(pool / "cats")
    (folder / "dog").symlink_to(pool / "dogs")
    (folder / "dog" / "up").symlink_to(folder)
    (folder / "wolf").symlink_to(pool / "dogs")
    (folder / "all").symlink_to(tmp_path.parent)
    source = open_source(str(folder), resolution=8)
    assert source.classes == ("bird", "cat", "dog")
    assert sorted(i.name for i in source.items()) == ["bird/2.png", "cat/0.png", "dog/1.png"]
    reason = "a link to a folder that is read already or lies around this one"
    assert _left_out(source) == {reason: (3, "all", "dog/up", "wolf")}


def test_names_in_a_zip_may_have_dots_backslashes_and_twins(tmp_path):
    def shade(value):
        return png(Image.new("RGB", (8, 8), (value, 0, 0)))

    link = zipfile.ZipInfo("cat/link.png")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive, pytest.warns(UserWarning):
        archive.writestr("./cat/0.png", shade(0))
        archive.writestr("dog\\1.png", shade(1))
        archive.writestr("dog\\", b"")
        archive.writestr("/cat/x/../2.png", shade(2))
        archive.writestr("cat/3.png", shade(90))
        archive.writestr("cat/3.png", shade(3))
        archive.writestr(link, "0.png")
    source = open_source(str(tmp_path / "set.zip"), resolution=8)
    found = {name: (label, int(p[0, 0, 0])) for name, (label, p) in _read_all(source).items()}
    assert source.classes == ("cat", "dog")
    assert found == {
        "cat/0.png": (0, 0), "dog/1.png": (1, 1), "cat/2.png": (0, 2), "cat/3.png": (0, 3)
    }  # fmt: skip
    assert _left_out(source) == {
        "a later file has the same name": (1, "cat/3.png"),
        "a link": (1, "cat/link.png"),
    }


_SPLITS = ["train/cat/0.png", "train/dog/1.png", "val/cat/2.png", "preview.png"]
_BELOW = ["cat/train/0.png", "dog/train/1.png", "cat/test/2.png"]


@pytest.mark.parametrize(
    ("names", "split", "taken", "classes"),
    [
        (_SPLITS, None, ["train/cat/0.png", "train/dog/1.png"], ("cat", "dog")),
        (_SPLITS, "val", ["val/cat/2.png"], ()),
        (_SPLITS[:3], "none", _SPLITS[:3], ("train", "val")),
        (_BELOW, None, _BELOW[:2], ("cat", "dog")),
        (_BELOW, "test", _BELOW[2:], ()),
        (["train2017/0.png", "val2017/1.png"], None, ["train2017/0.png"], ()),
        (["trainval/0.png", "extra/1.png"], None, ["trainval/0.png"], ()),
        (["train/0.png", "plane/1.png"], None, ["plane/1.png", "train/0.png"], ("plane", "train")),
        (["set/train/a/0.png", "set/train/b/1.png"], None, None, ("a", "b")),
    ],
)
def test_of_several_splits_one_is_taken(tmp_path, names, split, taken, classes):
    source = open_source(str(_colour_folder(tmp_path, names)), resolution=8, split=split)
    assert sorted(item.name for item in source.items()) == sorted(taken or names)
    assert source.classes == classes
    assert sum(some.count for some in source.left_out) == len(names) - source.count
    assert all(f"not in the split {source.split}" in some.reason for some in source.left_out)


@pytest.mark.parametrize(
    ("names", "split", "message"),
    [
        (["train/0.png", "val/1.png", "more/2.png"], None, "more, train, val seem to be splits"),
        (["trainA/0.png", "trainB/1.png", "testA/2.png"], None, "name one by split=train"),
        (_SPLITS, "valid", "split=valid: source=.* no such folder; it has cat, dog, train, val"),
    ],
)
def test_an_unclear_split_is_refused(tmp_path, names, split, message):
    with pytest.raises(InputError, match=message):
        open_source(str(_colour_folder(tmp_path, names)), resolution=8, split=split)


@pytest.mark.parametrize(
    ("labels", "expected", "classes"),
    [
        ([["00000/a.png", 1], ["00001/b.png", 0]], [1, 0], ("0", "1")),
        (None, [None, None], ()),
    ],
)
def test_labels_of_stylegans_tools_count_more_than_folders(tmp_path, labels, expected, classes):
    folder = _colour_folder(tmp_path / "set", ["00000/a.png", "00001/b.png"])
    (folder / "dataset.json").write_text(json.dumps({"labels": labels}))
    shutil.make_archive(str(tmp_path / "set"), "zip", folder)
    for path in (folder, tmp_path / "set.zip"):
        source = open_source(str(path), resolution=8)
        found = {item.name: item.label for item in source.items()}
        assert [found["00000/a.png"], found["00001/b.png"]] == expected
        assert source.classes == classes and not source.left_out
    shutil.make_archive(str(tmp_path / "wrapped"), "zip", tmp_path, "set")  # as `zip -r` makes it
    source = open_source(str(tmp_path / "wrapped.zip"), resolution=8)
    found = {item.name: item.label for item in source.items()}
    assert found == dict(zip(("set/00000/a.png", "set/00001/b.png"), expected, strict=True))
    assert source.classes == classes and not source.left_out


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"labels": [["a.png", 0]]}', r"json: the label of b\.png is None; it must be an integer"),
        ('{"labels": [["a.png", 0], ["b.png", 2]]}', "2 is the highest, but none is 1"),
        ('{"labels": [0]}', r'json: it must hold \{"labels": \[\[file, class\], \.\.\.\]\}'),
        ('{"labels": [["a.png", 0], ["b.png", 0], ["a.png", 1]]}', "a.png has two labels, 0 and 1"),
        ("{", r"dataset\.json: it must hold"),
        ("[" * 100_000, r"dataset\.json: it must hold"),
    ],
)
def test_labels_that_cannot_be_used_are_refused(tmp_path, text, message):
    folder = _colour_folder(tmp_path, ["a.png", "b.png"])
    (folder / "dataset.json").write_text(text)
    with pytest.raises(InputError, match=message):
        open_source(str(folder), resolution=8)
    (folder / "dataset.json").write_text('{"other": 1}')
    assert open_source(str(folder), resolution=8).left_out[0].reason == "suffix .json"


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [("flags", 1, "encrypted"), ("method", 99, "That compression method is not supported")],
)
def test_labels_that_a_zip_does_not_give_are_one_line(tmp_path, field, value, message):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        archive.writestr("dataset.json", "{}")
    data = bytearray((tmp_path / "set.zip").read_bytes())
    offset = {"flags": 6, "method": 8}[field]
    data[offset] = data[data.rindex(b"PK\x01\x02") + offset + 2] = value
    (tmp_path / "set.zip").write_bytes(data)
    with pytest.raises(InputError, match=rf"set\.zip: dataset\.json: .* be read \(.*{message}"):
        open_source(str(tmp_path / "set.zip"), resolution=8)


def test_a_zip_that_was_replaced_is_read_anew(tmp_path):
    for count in (1, 2):
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for i in range(count):
                archive.writestr(f"{i}.png", png(Image.new("RGB", (8, 8))))
        assert open_source(str(tmp_path / "set.zip"), resolution=8).count == count


def test_a_split_is_of_folders_and_zips_only():
    with pytest.raises(InputError, match=r"no \.zip of images; write tfds:cifar10@test"):
        open_source("tfds:cifar10", resolution=8, split="test")
    with pytest.raises(InputError, match=r"source=shapes is no folder and no \.zip of images$"):
        open_source("shapes", resolution=8, split="test")


def test_names_that_are_not_utf8_or_printable_are_escaped(tmp_path):
    folder = os.fsencode(tmp_path / "set")
    for name in (b"caf\xe9/0.png", b"a\nb/1.png"):
        os.makedirs(os.path.join(folder, os.path.dirname(name)))
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(png(Image.new("RGB", (8, 8))))
    source = open_source(str(tmp_path / "set"), resolution=8)
    assert source.classes == ("a\\nb", "caf\\xe9")
    assert sorted(_read_all(source)) == ["a\\nb/1.png", "caf\\xe9/0.png"]
    labels = [["caf\udce9/0.png", 0], ["a\nb/1.png", 1]]
    (tmp_path / "set" / "dataset.json").write_text(json.dumps({"labels": labels}))
    source = open_source(str(tmp_path / "set"), resolution=8)
    assert {i.name: i.label for i in source.items()} == {"a\\nb/1.png": 1, "caf\\xe9/0.png": 0}


def test_a_folder_and_a_zip_of_it_are_the_same_source(tmp_path):
    folder = _colour_folder(tmp_path / "set", [f"{c}/{i}.png" for c in "ab" for i in range(5)])
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for path in folder.rglob("*.png"):
            archive.write(path, path.relative_to(tmp_path))
    from_folder = open_source(str(folder), resolution=8)
    from_zip = open_source(str(tmp_path / "set.zip"), resolution=8)
    assert from_folder.classes == from_zip.classes == ("a", "b")
    pairs = zip(_read_all(from_folder).items(), _read_all(from_zip).items(), strict=True)
    for (name, (label, pixels)), (zip_name, (zip_label, zip_pixels)) in pairs:
        assert zip_name == f"set/{name}" and label == zip_label
        np.testing.assert_array_equal(pixels, zip_pixels)


def test_items_come_in_a_fixed_shuffled_order(tmp_path):
    folder = _colour_folder(tmp_path, [f"{i:02d}.png" for i in range(20)])
    first, second = (
        [i.name for i in open_source(str(folder), resolution=8).items()] for _ in range(2)
    )
    assert first == second and first != sorted(first) and sorted(first)[0] == "00.png"


@pytest.mark.parametrize("shape", [(6, 5, 5), (6, 5, 5, 1), (6, 5, 5, 3), (6, 5, 5, 4)])
def test_an_npz_of_grey_rgb_or_rgba_arrays_is_a_source(tmp_path, shape):
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    np.savez(tmp_path / "set.npz", images=images, labels=np.array([2, 0, 1, 1, 0, 2]))
    source = open_source(str(tmp_path / "set.npz"), resolution=5)
    found = _read_all(source)
    assert source.classes == ("0", "1", "2") and len(found) == 6
    assert found["00000000"][0] == 2 and found["00000001"][0] == 0
    if shape[-1] == 3:
        np.testing.assert_array_equal(found["00000003"][1], images[3])


def test_an_npz_without_labels_has_no_classes(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((2, 4, 4, 3), np.uint8))
    source = open_source(str(tmp_path / "set.npz"), resolution=4)
    assert source.classes == () and {item.label for item in source.items()} == {None}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": np.zeros((2, 4, 4, 3), np.uint8)}, "must hold a non-empty array `images`"),
        ({"images": np.zeros((2, 4, 4, 3), np.float32)}, "dtype float32"),
        ({"images": np.zeros((2, 4, 4, 7), np.uint8)}, r"shape \(4, 4, 7\)"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.zeros(3, int)}, "one per image"),
        ({"images": np.zeros((2, 4, 4), np.uint8), "labels": np.array([0, -1])}, ">= 0"),
    ],
)
def test_an_unusable_npz_is_refused_with_the_reason(tmp_path, arrays, message):
    np.savez(tmp_path / "set.npz", **arrays)
    with pytest.raises(InputError, match=message):
        open_source(str(tmp_path / "set.npz"), resolution=4)


@pytest.mark.parametrize(
    "labels",
    [
        np.array([0, 1, 10**8]),
        np.array([0, 2, 2], np.uint8),
        np.array([1, 2, 3]),
        np.array([0, 1, 2**32 - 1], np.uint32),
        np.array([0, 1, 2**64 - 1], np.uint64),
        np.array([0, 255, 1], np.uint8),
    ],
)
def test_labels_with_gaps_are_refused_unless_the_number_of_classes_is_given(tmp_path, labels):
    path = tmp_path / "set.npz"
    np.savez(path, images=np.zeros((3, 4, 4), np.uint8), labels=labels)
    highest = int(labels.max())
    with pytest.raises(InputError, match=rf"`labels`: {highest} is the highest, but none is \d\."):
        open_source(str(path), resolution=4)
    if highest < 1000:
        source = open_source(str(path), resolution=4, num_classes=highest + 5)
        assert source.classes == tuple(str(label) for label in range(highest + 5))
        assert sorted(item.label for item in source.items()) == sorted(labels)
    with pytest.raises(InputError, match=rf"{highest} is the highest, with num_classes=2"):
        open_source(str(path), resolution=4, num_classes=2)
    assert open_source(str(path), resolution=4, labelled=False).classes == ()


def test_a_number_of_classes_is_for_numbered_labels_only(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((3, 4, 4), np.uint8))
    for spec in (str(tmp_path / "set.npz"), "shapes"):
        with pytest.raises(InputError, match=r"num_classes=7: source=.* has no "):
            open_source(spec, resolution=4, num_classes=7)


def test_shapes_are_a_labelled_source(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _colour_folder(tmp_path / "shapes", ["0.png"])  # the name means what it always does
    source = open_source("shapes", resolution=16, seed=4, num_images=3)
    images = _read_all(source)
    assert source.classes == CLASSES and len(images) == source.count == 3
    pixels, label = shapes_image(4, 2, 16)
    assert images["shape-00000002"][0] == label
    np.testing.assert_array_equal(images["shape-00000002"][1], pixels)


@pytest.mark.parametrize("content", [None, b"not a zip"])
def test_a_source_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "set.zip"
    if content:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"source=.*set\.zip: (not|this zip cannot)"):
        open_source(str(path), resolution=8)


def test_an_empty_folder_is_told(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "a" / "1.png")
    found = open_source(str(tmp_path), resolution=8)
    assert found.count == 1 and "an empty folder (b)" in describe(found.left_out)


def test_no_source_is_not_the_working_folder():
    with pytest.raises(InputError, match="source=: not found"):
        open_source("", resolution=8)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image files"):
        open_source(str(tmp_path), resolution=8)
