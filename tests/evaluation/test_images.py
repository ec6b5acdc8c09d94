"""Images to be measured: every one of them, unchanged, and those that were asked for."""

import dataclasses
import io
import os
import shutil
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

from ladagan_tf.data import dataset_info
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import images


def everything(found, batch_size=50):
    return np.concatenate(list(found.batches(batch_size)))


def png(array):
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_prepared_set_gives_all_its_images_the_last_batch_included(two_tone):
    found = images.prepared(two_tone)
    assert [len(b) for b in found.batches(50)] == [50, 50, 21]
    assert found.about["content_sha256"] == dataset_info.load_info(two_tone).content_sha256


def test_the_first_images_of_a_set_are_the_start_of_all_of_them(two_tone):
    np.testing.assert_array_equal(
        everything(images.prepared(two_tone, 60)), everything(images.prepared(two_tone))[:60]
    )
    with pytest.raises(InputError, match="122 images are asked for; give 2 to 121"):
        images.prepared(two_tone, 122)
    with pytest.raises(InputError, match="1 images are asked for"):
        images.prepared(two_tone, 1)


@pytest.mark.parametrize("batch_size", [7, 60, 200])
def test_two_halves_of_a_set_are_the_set(two_tone, batch_size):
    halves = [images.open_images(f"{two_tone}{part}") for part in ("[:60]", "[60:]")]
    assert [half.count for half in halves] == [60, 61]
    sizes = [len(batch) for half in halves for batch in half.batches(25)]
    assert sizes == [25, 25, 10, 25, 25, 11]
    np.testing.assert_array_equal(
        np.concatenate([everything(half, batch_size) for half in halves]),
        everything(images.prepared(two_tone)),
    )
    with pytest.raises(InputError, match="2 images are asked for; it has one"):
        images.open_images(f"{two_tone}[120:]", 2)


@pytest.mark.parametrize("name", ["missing", "shapes"])
def test_what_is_not_there_to_be_measured_says_what_could_be(name):
    with pytest.raises(InputError, match=f"^{name}: not found; give a prepared set, a folder"):
        images.open_images(name)


@pytest.mark.parametrize("first", [500, "9" * 19])
def test_a_part_beyond_the_end_has_no_images(two_tone, first):
    with pytest.raises(InputError, match="there are no images in that part"):
        images.open_images(f"{two_tone}[{first}:]")


def test_a_set_whose_own_name_looks_like_a_part_is_that_set(two_tone, tmp_path):
    beyond_all = f"set[{'9' * 5000}:]"  # more digits than Python makes a number of
    assert images.split_part(beyond_all) == (beyond_all, 0, None)
    named = tmp_path / "set[:8]"
    shutil.copytree(two_tone, named)
    assert images.open_images(named).count == dataset_info.load_info(two_tone).count


def test_folder_zip_and_npz_give_the_same_images_and_hash(tmp_path):
    arrays = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    (tmp_path / "folder").mkdir()
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        for i, array in enumerate(arrays):
            (tmp_path / "folder" / f"{i}.png").write_bytes(png(array))
            archive.writestr(f"{i}.png", png(array))
    np.savez(tmp_path / "adm.npz", arr_0=arrays)
    found = [images.open_images(tmp_path / name) for name in ("folder", "some.zip", "adm.npz")]
    for one in found:
        assert sorted(map(bytes, everything(one, 3))) == sorted(map(bytes, arrays))
    assert len({one.about["content_sha256"] for one in found}) == 1


def test_a_name_that_is_not_utf8_is_told_in_escapes(tmp_path):
    path = tmp_path / os.fsdecode(b"adm\xff.npz")
    np.savez(path, arr_0=np.zeros((2, 8, 8, 3), np.uint8))
    assert images.open_images(path).about["images"] == f"{tmp_path}/adm\\xff.npz"


def test_files_that_are_not_measured_are_said_and_labels_with_gaps_do_not_matter(tmp_path, capsys):
    pixels = np.zeros((2, 8, 8, 3), np.uint8)
    (tmp_path / "folder").mkdir()
    for i, image in enumerate(pixels):
        (tmp_path / "folder" / f"{i}.png").write_bytes(png(image))
    (tmp_path / "folder" / "grid.svg").write_text("")
    assert images.stored(tmp_path / "folder").count == 2
    assert "folder: left out 1 file: 1 suffix .svg (grid.svg)" in capsys.readouterr().err
    np.savez(tmp_path / "samples.npz", arr_0=pixels, arr_1=np.array([999, 3]))
    assert images.stored(tmp_path / "samples.npz").count == 2


def test_different_sizes_broken_files_and_empty_folders_are_one_line(tmp_path):
    with pytest.raises(InputError, match="no image files in it"):
        images.open_images(tmp_path)
    for i, side in enumerate((8, 8, 9)):
        (tmp_path / f"{i}.png").write_bytes(png(np.zeros((side, side, 3), np.uint8)))
    with pytest.raises(InputError, match="all must be square and of one size"):
        images.open_images(tmp_path)
    (tmp_path / "2.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    with pytest.raises(InputError, match=r"2\.png: this image cannot be read"):
        images.open_images(tmp_path)


def bomb_png(width, height):
    """A PNG of few bytes that declares a size."""
    data = bytearray(png(np.zeros((1, 1, 3), np.uint8)))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize("side", [9_500, 13_000, 30_000])  # Pillow warns, warns, refuses
def test_images_of_too_many_pixels_are_one_line_in_evaluate_and_prepare(tmp_path, side):
    (tmp_path / "0.png").write_bytes(bomb_png(side, side))
    with pytest.raises(InputError, match=r"0\.png: this image .*more than 89478485 pixels"):
        images.open_images(tmp_path)
    with pytest.raises(InputError, match=r"0\.png: more than 89478485 pixels"):
        prepare(str(tmp_path), tmp_path / "out", resolution=8)
    assert not (tmp_path / "out").exists()


def test_passwords_unknown_compressions_and_bombs_in_a_zip_are_one_line(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("0.png", png(np.zeros((8, 8, 3), np.uint8)))
    good = (tmp_path / "a.zip").read_bytes()
    entry = good.rindex(b"PK\x01\x02")
    for place, value, words in (
        (8, b"\x01", "password"),
        (10, b"\x63\x00", "NotImplementedError"),
        (24, b"\xff\xff\xff\x7f", "2147483647 bytes; an image may have 536870912"),
    ):
        data = bytearray(good)
        data[entry + place : entry + place + len(value)] = value
        if place < 24:
            data[place - 2 : place - 2 + len(value)] = value  # in the entry's own header too
        path = tmp_path / f"{place}.zip"
        path.write_bytes(data)
        with pytest.raises(InputError, match=rf"\.zip: 0\.png: this image cannot .*{words}"):
            images.open_images(path)


def test_programs_that_pillow_would_run_are_no_images(tmp_path):
    (tmp_path / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n")
    with pytest.raises(InputError, match="not an image in a format that Pillow reads"):
        images.open_images(tmp_path)


def test_generated_images_do_not_depend_on_the_batch_size(noise):
    found = images.generated(noise, 11)
    np.testing.assert_array_equal(everything(found, 4), everything(found, 11))


def test_another_seed_gives_other_images_and_none_twice(noise):
    sets = [everything(images.generated(noise, 9, seed)) for seed in (0, 1)]
    assert len({bytes(image) for image in np.concatenate(sets)}) == 18
    assert images.generated(noise, 9, 1).about["image_seeds"] == [9, 17]


def test_seeds_that_no_image_has_are_refused_before_anything_is_measured(noise):
    assert images.generated(noise, 8, 2**60 - 1).about["image_seeds"][1] == 2**63 - 1
    with pytest.raises(InputError, match=rf"^--num_samples={2**64}: there are {2**63} seeds"):
        images.generated(noise, 2**64, 0)
    with pytest.raises(InputError, match=rf"--seed={2**60}: with --num_samples=8 .*{2**60 - 1}$"):
        images.generated(noise, 8, 2**60)


def test_pixels_are_rounded_and_clipped_not_truncated(noise):
    values = np.float32([-2.0, -1.0, 100.6 / 127.5 - 1, 100.4 / 127.5 - 1, 2.0])

    def generate(z):
        return np.broadcast_to(values[:, None, None, None], (5, 16, 16, 3))

    found = images.generated(dataclasses.replace(noise, generate=generate), 5)
    assert everything(found)[:, 0, 0, 0].tolist() == [0, 0, 101, 100, 255]


def test_labels_suit_the_generator_or_are_refused(noise):
    with pytest.raises(InputError, match="labels=balanced: noise is unconditional"):
        images.generated(noise, 4, labels="balanced")
    # One command measures generators with and without classes, of a study.
    alone, among = (images.generated(noise, 4, labels=labels) for labels in (None, "proportional"))
    np.testing.assert_array_equal(everything(among), everything(alone))
    assert among.about == alone.about
    given = []

    def generate(z, labels):
        given.append(labels.shape)
        return noise.generate(z)

    conditional = dataclasses.replace(noise, generate=generate, num_classes=3)
    found = images.generated(conditional, 4)
    everything(found)
    assert found.about["labels"] == "balanced" and given == [(4,)]
