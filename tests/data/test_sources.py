"""Sources of images, and their conversion."""

import io
import json
import os
import pickle
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffTags

from ladagan_tf.data.conversion import (
    Conversion,
    UnusableImageError,
    convert_image,
    convert_items,
    image_from_array,
    parse_background,
    to_rgb,
)
from ladagan_tf.data.listing import describe
from ladagan_tf.data.shapes import CLASSES, shapes_image
from ladagan_tf.data.source import Item, open_encoded
from ladagan_tf.data.sources import open_source
from ladagan_tf.errors import InputError

_RAMP = np.arange(24 * 16 * 3, dtype=np.uint8).reshape(16, 24, 3)


def _png(image):
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


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
        "a broken link": (1, "gone.png"),
    }
    line = describe(source.left_out)
    assert line.startswith("left out 11 files: 2 hidden (a/._2.png, ...), 2 suffix .txt (")
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
    (tmp_path / "n01440764_10026").write_bytes(_png(Image.new("RGB", (8, 8))))
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
        return _png(Image.new("RGB", (8, 8), (value, 0, 0)))

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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"labels": [["a.png", 0]]}', r"json: the label of b\.png is None; it must be an integer"),
        ('{"labels": [["a.png", 0], ["b.png", 2]]}', "2 is the highest, but none is 1"),
        ('{"labels": [0]}', r'json: it must hold \{"labels": \[\[file, class\], \.\.\.\]\}'),
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


def test_a_zip_that_was_replaced_is_read_anew(tmp_path):
    for count in (1, 2):
        with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
            for i in range(count):
                archive.writestr(f"{i}.png", _png(Image.new("RGB", (8, 8))))
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
        Path(os.fsdecode(os.path.join(folder, name))).write_bytes(_png(Image.new("RGB", (8, 8))))
    source = open_source(str(tmp_path / "set"), resolution=8)
    assert source.classes == ("a\\nb", "caf\\xe9")
    assert sorted(_read_all(source)) == ["a\\nb/1.png", "caf\\xe9/0.png"]


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


def test_no_source_is_not_the_working_folder():
    with pytest.raises(InputError, match="source=: not found"):
        open_source("", resolution=8)


def test_a_folder_without_images_is_refused(tmp_path):
    with pytest.raises(InputError, match="no image files"):
        open_source(str(tmp_path), resolution=8)


# Conversion.


def test_centre_crop_keeps_the_largest_centred_square():
    result = convert_image(Image.fromarray(_RAMP), Conversion(16, crop="centre"))
    np.testing.assert_array_equal(result, _RAMP[:, 4:20])


def _bicubic(x):
    """Keys' cubic with a = -1/2."""
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x < 1, near, np.where(x < 2, far, 0.0))


def _box(x):
    return ((x > -0.5) & (x <= 0.5)).astype(np.float64)


def _resampling(old, new, kernel):
    """Matrix (new, old): samples of `kernel`, widened where it reduces, around each new centre."""
    ratio = old / new
    centres = (np.arange(new)[:, None] + 0.5) * ratio
    weights = kernel((np.arange(old) + 0.5 - centres) / max(ratio, 1.0))
    return weights / weights.sum(1, keepdims=True)


def _resampled(pixels, height, width, kernel):
    """Float64 pixels (h, w, 3) -> (height, width, 3), rounded to 8 bits after each axis."""
    for axis, size in ((1, width), (0, height)):
        matrix = _resampling(pixels.shape[axis], size, kernel)
        pixels = np.moveaxis(np.tensordot(matrix, pixels, (1, axis)), 0, axis)
        pixels = np.clip(np.floor(pixels + 0.5), 0, 255)
    return pixels


@pytest.mark.parametrize(
    ("width", "height", "sizes"),
    [
        (107, 75, [(53, 37), (26, 18), (23, 16)]),  # halved twice, odd sides
        (32, 64, [(16, 32), (16, 32)]),  # exactly twice
        (31, 47, [(16, 24)]),  # not halved: 47 * 16 / 31 = 24.26
        (16, 21, [(16, 21)]),  # of its size
        (12, 9, [(21, 16)]),  # enlarged
    ],
)
def test_the_crop_of_adm_is_box_halves_bicubic_and_a_centred_square(width, height, sizes):
    rng = np.random.default_rng(width)
    pixels = rng.integers(0, 256, (height, width, 3), np.uint8)
    expected = pixels.astype(np.float64)
    for i, (new_width, new_height) in enumerate(sizes):
        kernel = _bicubic if i == len(sizes) - 1 else _box
        expected = _resampled(expected, new_height, new_width, kernel)
    top, left = (expected.shape[0] - 16) // 2, (expected.shape[1] - 16) // 2
    found = convert_image(Image.fromarray(pixels), Conversion(16, crop="adm"))
    difference = np.abs(found - expected[top : top + 16, left : left + 16])
    assert difference.max() <= 1 and (difference > 0).mean() < 0.01


def test_the_crop_of_adm_ignores_orientation_and_has_its_own_filter():
    image = Image.fromarray(_RAMP)
    image.getexif()[0x0112] = 6
    buffer = io.BytesIO()
    image.save(buffer, "PNG", exif=image.getexif())
    found = convert_image(open_encoded(buffer.getvalue()), Conversion(16, crop="adm"))
    np.testing.assert_array_equal(found, _RAMP[:, 4:20])
    assert Conversion(16, crop="adm").resize_filter == "bicubic"
    with pytest.raises(InputError, match="resize_filter=lanczos: crop=adm is bicubic"):
        Conversion(16, crop="adm", resize_filter="lanczos")


def test_without_crop_the_whole_image_is_stretched():
    left_half_white = np.zeros((16, 32, 3), np.uint8)
    left_half_white[:, :16] = 255
    stretched = convert_image(Image.fromarray(left_half_white), Conversion(16, crop="none"))
    assert (stretched[:, :5] > 250).all() and (stretched[:, 11:] < 5).all()
    cropped = convert_image(Image.fromarray(left_half_white), Conversion(16, crop="centre"))
    assert (cropped[:, :8] == 255).all() and (cropped[:, 8:] == 0).all()


@pytest.mark.parametrize("resize_filter", ["lanczos", "bicubic", "bilinear", "box"])
def test_reduction_is_antialiased_by_every_filter(resize_filter):
    # One-pixel checks reduced eightfold are grey; sampling would leave black or white.
    checks = (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8)
    result = convert_image(Image.fromarray(checks), Conversion(8, resize_filter=resize_filter))
    assert np.abs(result.astype(int) - 127).max() <= 3


def test_the_resize_filter_changes_the_pixels():
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8))
    results = [
        convert_image(noise, Conversion(16, resize_filter=name)) for name in ("lanczos", "box")
    ]
    assert np.any(results[0] != results[1])


def test_exif_orientation_is_applied():
    top_left_red = Image.new("RGB", (8, 8))
    top_left_red.paste((255, 0, 0), (0, 0, 4, 4))
    exif = Image.Exif()
    exif[0x0112] = 6  # stored rotated by 90 degrees: to be turned clockwise
    buffer = io.BytesIO()
    top_left_red.save(buffer, "PNG", exif=exif)
    result = convert_image(open_encoded(buffer.getvalue()), Conversion(8))
    assert (result[:4, 4:, 0] == 255).all() and (result[:, :4] == 0).all()


def _half_transparent(mode):
    if mode == "P":
        image = Image.new("P", (8, 8), 0)
        image.putpalette([10, 20, 30, 200, 100, 50])
        image.paste(1, (4, 0, 8, 8))
        image.info["transparency"] = 0
        buffer = io.BytesIO()
        image.save(buffer, "PNG", transparency=0)
        return open_encoded(buffer.getvalue())
    colour = {"RGBA": (200, 100, 50, 255), "LA": (200, 255)}[mode]
    image = Image.new(mode, (8, 8), (*colour[:-1], 0))
    image.paste(colour, (4, 0, 8, 8))
    return open_encoded(_png(image))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_shows_the_background(mode):
    result = convert_image(_half_transparent(mode), Conversion(8, background=(1, 2, 3)))
    assert (result[:, :4] == (1, 2, 3)).all()
    assert (result[:, 4:] == ((200, 200, 200) if mode == "LA" else (200, 100, 50))).all()


def test_partial_transparency_is_a_mixture_with_the_background():
    image = Image.new("RGBA", (4, 4), (200, 0, 0, 51))  # 20 % opaque
    assert to_rgb(image, (0, 100, 0)).getpixel((0, 0)) == (40, 80, 0)


def test_an_opaque_palette_and_grey_become_rgb():
    assert to_rgb(Image.fromarray(_RAMP).quantize(4)).mode == "RGB"
    assert to_rgb(Image.new("L", (2, 2), 77)).getpixel((1, 1)) == (77, 77, 77)
    assert to_rgb(Image.new("1", (2, 2), 1)).getpixel((1, 1)) == (255, 255, 255)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    values = np.array([[0, 257, 25700, 32896, 65535, 128]], np.uint16)
    expected = np.array([[0, 1, 100, 128, 255, 0]])
    image = open_encoded(_png(Image.fromarray(values)))
    np.testing.assert_array_equal(np.asarray(to_rgb(image))[..., 0], expected)
    np.testing.assert_array_equal(np.asarray(image_from_array(values)), expected)


def _tiff(data, width, **tags):
    """One row of grey in a TIFF, of tags by their names in Pillow."""
    names = {"ImageWidth": width, "ImageLength": 1, "Compression": 1, "StripOffsets": 8}
    names |= {"SamplesPerPixel": 1, "RowsPerStrip": 1, "StripByteCounts": len(data)} | tags
    numbers = {TiffTags.TAGS_V2[number].name: number for number in TiffTags.TAGS_V2}
    entries = sorted((numbers[name], value) for name, value in names.items())
    directory = b"".join(struct.pack("<HHII", number, 4, 1, value) for number, value in entries)
    start = struct.pack("<2sHI", b"II", 42, 8 + len(data))
    return start + data + struct.pack("<H", len(entries)) + directory + bytes(4)


def _row(data):
    return np.asarray(to_rgb(open_encoded(data)))[0, :, 0].tolist()


def test_what_grey_means_is_said_by_the_file_not_by_its_values():
    small = np.array([0, 10, 255, 257], "<i4")
    for sample_format in (1, 2):  # unsigned, signed
        data = _tiff(
            small.tobytes(), 4, BitsPerSample=32, PhotometricInterpretation=1,
            SampleFormat=sample_format,
        )  # fmt: skip
        with pytest.raises(UnusableImageError, match="32-bit pixels"):
            _row(data)
    sixteen = {"BitsPerSample": 16, "PhotometricInterpretation": 1}
    assert _row(_tiff(small.astype("<u2").tobytes(), 4, **sixteen)) == [0, 0, 1, 1]
    assert _row(b"P5 3 1 65535\n" + np.array([0, 257, 65535], ">u2").tobytes()) == [0, 1, 255]


def test_twelve_bits_fill_the_range_and_white_may_be_zero():
    twelve = {"BitsPerSample": 12, "PhotometricInterpretation": 1}
    assert _row(_tiff(b"\xff\xf8\x00", 2, **twelve)) == [255, 128]
    assert _row(b"P5 2 1 4095\n" + np.array([4095, 2048], ">u2").tobytes()) == [255, 128]
    inverted = {"BitsPerSample": 16, "PhotometricInterpretation": 0}
    assert _row(_tiff(np.array([0, 65535], "<u2").tobytes(), 2, **inverted)) == [255, 0]


def test_floating_point_pixels_are_refused():
    with pytest.raises(UnusableImageError, match="floating-point"):
        to_rgb(Image.new("F", (4, 4)))


def test_a_tiny_image_is_refused_with_its_size_and_the_limit():
    with pytest.raises(UnusableImageError, match=r"7 x 30 pixels.*min_side=8"):
        convert_image(Image.new("RGB", (7, 30)), Conversion(32))
    assert convert_image(Image.new("RGB", (7, 30)), Conversion(32, min_side=7)).shape == (32, 32, 3)


def test_a_broken_file_becomes_a_problem_with_its_name():
    whole = _png(Image.fromarray(_RAMP))
    items = [Item("cut.png", 0, whole[: len(whole) // 2]), Item("text.png", None, b"hello")]
    cut, text = convert_items(open_encoded, Conversion(16), items)
    assert cut.name == "cut.png" and cut.problem and not cut.png
    assert text.problem == "not an image in a format that Pillow reads"


@pytest.mark.parametrize(
    ("text", "colour"),
    [
        ("white", (255, 255, 255)),
        ("black", (0, 0, 0)),
        ("1,2,3", (1, 2, 3)),
        ("#ff0080", (255, 0, 128)),
    ],
)
def test_a_background_is_a_name_or_three_numbers(text, colour):
    assert parse_background(text) == colour


@pytest.mark.parametrize("text", ["1,2", "1,2,300", "a,b,c", "whitish", ""])
def test_another_background_is_refused(text):
    with pytest.raises(InputError, match="background="):
        parse_background(text)


@pytest.mark.parametrize(
    "arguments",
    [{"resolution": 0}, {"crop": "left"}, {"resize_filter": "nearest"}, {"min_side": 0}],
)
def test_an_impossible_conversion_is_refused_by_field(arguments):
    with pytest.raises(InputError, match=next(iter(arguments))):
        Conversion(**{"resolution": 8} | arguments)


def _lmdb_folder(folder, entries):
    """An LMDB as LSUN is published: digests as keys, encoded images as values."""
    lmdb = pytest.importorskip("lmdb")
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as transaction:
        for key, value in entries.items():
            transaction.put(key, value)
    return folder


def test_an_lmdb_is_read_in_the_order_of_its_keys_also_by_other_processes(tmp_path):
    entries = {f"{key:02x}".encode(): _png(Image.new("RGB", (9, 8), (key, 0, 0))) for key in (7, 2)}
    source = open_source(str(_lmdb_folder(tmp_path / "set", entries)), resolution=8)
    assert (source.count, source.classes) == (2, ())
    items = list(source.items())
    assert [(item.name, item.label) for item in items] == [("02", None), ("07", None)]
    read = pickle.loads(pickle.dumps(source.read))
    assert [read(item.payload).getpixel((0, 0))[0] for item in items] == [2, 7]


def test_an_lmdb_that_cannot_be_read_is_one_line(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"data\.mdb holds no images"):
        open_source(str(_lmdb_folder(tmp_path / "empty", {})), resolution=8)
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "data.mdb").write_bytes(b"no database" * 1000)
    with pytest.raises(InputError, match="damaged: this LMDB cannot be read"):
        open_source(str(tmp_path / "damaged"), resolution=8)
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(InputError, match="an LMDB needs a package: pip install lmdb"):
        open_source(str(tmp_path / "damaged"), resolution=8)
