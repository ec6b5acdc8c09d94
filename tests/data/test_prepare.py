"""Preparing a set, from the function."""

import concurrent.futures
import io
import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image
from tfds_sets.handmade import HandmadeTfdsSet

from ladagan_tf.data import dataset_info, pipeline, preparation, tfds_source
from ladagan_tf.data.preparation import prepare
from ladagan_tf.data.source import LeftOut
from ladagan_tf.errors import InputError

_ROOT = Path(__file__).resolve().parents[2]


def _visible(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_content_hash_does_not_depend_on_workers_or_shards(tmp_path):
    infos = [
        prepare(
            "shapes",
            tmp_path / f"{workers}-{shards}",
            resolution=8,
            num_images=100,
            workers=workers,
            shards=shards,
        )
        for workers, shards in ((1, None), (1, 7), (2, 3))
    ]
    assert len({info.content_sha256 for info in infos}) == 1
    assert [len(info.shards) for info in infos] == [1, 7, 3]
    first, _, parallel = (list(pipeline.iterate_images(info.folder, 100)) for info in infos)
    np.testing.assert_array_equal(first[0][0], parallel[0][0])


def test_the_content_hash_depends_on_pixels_and_labels(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), np.uint8)
    changed = images.copy()
    changed[0, 0, 0, 0] ^= 1
    hashes = set()
    for name, arrays in {
        "plain": {"images": images},
        "pixel": {"images": changed},
        "zeros": {"images": images, "labels": np.zeros(4, int)},
        "other": {"images": images, "labels": np.array([0, 0, 1, 0])},
    }.items():
        np.savez(tmp_path / f"{name}.npz", **arrays)
        info = prepare(str(tmp_path / f"{name}.npz"), tmp_path / name, resolution=8)
        hashes.add(info.content_sha256)
    assert len(hashes) == 4


def _artwork(mode):
    """16 x 16: transparent above; below on the left 20 % opaque, on the right opaque."""
    colours = {"RGBA": (200, 0, 100), "LA": (100,)}
    if mode == "P":
        image = Image.new("P", (16, 16), 5)
        image.putpalette([0, 50, 200] * 8)  # only their opacity tells entries 5, 6 and 7 apart
        image.paste(6, (0, 8, 8, 16))
        image.paste(7, (8, 8, 16, 16))
        options = {"transparency": bytes([255] * 5 + [0, 51, 255])}
    else:
        image, options = Image.new(mode, (16, 16), (*colours[mode], 0)), {}
        image.paste((*colours[mode], 51), (0, 8, 8, 16))
        image.paste((*colours[mode], 255), (8, 8, 16, 16))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def test_artwork_in_a_zip_is_prepared_with_its_class_counts(tmp_path):
    with zipfile.ZipFile(tmp_path / "art.zip", "w") as art:
        for label, mode, count in (("faces", "RGBA", 40), ("flags", "LA", 6), ("signs", "P", 4)):
            for i in range(count):
                art.writestr(f"{label}/{i}.png", _artwork(mode))
    info = prepare(
        str(tmp_path / "art.zip"), tmp_path / "art", resolution=8, resize_filter="box", workers=2
    )
    assert info.count == 50 and not info.skipped
    assert dict(zip(info.classes, info.class_counts, strict=True)) == {
        "faces": 40, "flags": 6, "signs": 4
    }  # fmt: skip
    images, labels = next(pipeline.iterate_images(info.folder, 50))
    assert (images[:, :4] == 255).all(), "the background, white, shows where nothing is"
    fifths = [(244, 204, 224), (224, 224, 224), (204, 214, 244)]  # 0.2 colour + 0.8 white
    opaque = [(200, 0, 100), (100, 100, 100), (0, 50, 200)]
    for label in range(3):
        assert (images[labels == label, 4:, :4] == fifths[label]).all()
        assert (images[labels == label, 4:, 4:] == opaque[label]).all()
    assert len(set(labels[:25])) == 3, "the first images on disk are a sample of every class"


def test_images_without_classes_have_label_minus_one(tmp_path):
    np.savez(tmp_path / "set.npz", images=np.zeros((3, 8, 8, 3), np.uint8))
    info = prepare(str(tmp_path / "set.npz"), tmp_path / "out", resolution=8)
    assert info.classes == info.class_counts == ()
    _, labels = next(pipeline.iterate_images(info.folder, 3))
    assert labels.tolist() == [-1, -1, -1]


def test_a_place_that_cannot_be_written_to_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"out=.*/file/out: it cannot be written \(File ex"):
        prepare("shapes", tmp_path / "file" / "out", resolution=8, num_images=2)


def test_skip_bad_leaves_out_counts_and_lists_bad_images(flawed, tmp_path):
    info = prepare(str(flawed), tmp_path / "out", resolution=16, skip_bad=True)
    assert info.count == 3
    reasons = {skipped.name: skipped.reason for skipped in info.skipped}
    assert reasons == {
        "broken.png": "not an image in a format that Pillow reads",
        "thin.png": "2 x 16 pixels; the shorter side must have at least min_side=4",
    }
    assert dataset_info.load_info(info.folder) == info


def test_so_many_bad_images_are_named_and_the_rest_counted(flawed, tmp_path, monkeypatch):
    monkeypatch.setattr(preparation, "_MOST_BAD", 1)
    info = prepare(str(flawed), tmp_path / "out", resolution=16, skip_bad=True)
    assert (info.count, len(info.skipped), info.skipped_more) == (3, 1, 1)
    assert dataset_info.load_info(info.folder) == info


def test_files_that_are_no_images_are_said_and_recorded(flawed, tmp_path, capsys):
    (flawed / "notes.txt").write_text("no image")
    info = prepare(str(flawed), tmp_path / "out", resolution=16, skip_bad=True)
    assert f"source={flawed}: left out 1 file: 1 suffix .txt (notes.txt)" in capsys.readouterr().out
    assert info.left_out == (LeftOut("suffix .txt", 1, ("notes.txt",)),)
    assert json.loads((info.folder / "dataset.json").read_text())["left_out"][0]["count"] == 1


def test_skip_bad_makes_no_other_set_where_nothing_was_skipped(flawed, tmp_path):
    clean = prepare("shapes", tmp_path / "clean", resolution=8, num_images=2)
    assert prepare("shapes", clean.folder, resolution=8, num_images=2, skip_bad=True) == clean
    prepare(str(flawed), tmp_path / "out", resolution=16, skip_bad=True)
    with pytest.raises(InputError, match="skip_bad=True, not skip_bad=False"):
        prepare(str(flawed), tmp_path / "out", resolution=16)


def test_a_set_of_only_bad_images_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "broken.png").write_bytes(b"")
    with pytest.raises(InputError, match="none of its 1 images is usable"):
        prepare(str(tmp_path / "source"), tmp_path / "out", resolution=8, skip_bad=True)
    assert _visible(tmp_path) == ["source"]


def test_preparing_the_same_again_does_nothing_and_says_so(tmp_path, capsys):
    first = prepare("shapes", tmp_path / "out", resolution=8, num_images=10)
    written = (tmp_path / "out" / "dataset.json").stat().st_mtime_ns
    again = prepare("shapes", tmp_path / "out", resolution=8, num_images=10, workers=1, shards=2)
    assert again == first
    assert (tmp_path / "out" / "dataset.json").stat().st_mtime_ns == written
    assert "already prepared: 10 images" in capsys.readouterr().out


def test_a_source_that_has_changed_is_noticed_and_prepared_again_on_demand(tmp_path, capsys):
    source, out = tmp_path / "source", tmp_path / "out"
    source.mkdir()
    for i in range(2):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(source / f"{i}.png")
    first = prepare(str(source), out, resolution=8)
    Image.new("RGB", (8, 8), (5, 0, 0)).save(source / "5.png")
    with pytest.raises(InputError, match="its 2 images were made of other files than source="):
        prepare(str(source), out, resolution=8)
    assert dataset_info.load_info(out) == first
    assert prepare(str(source), out, resolution=8, overwrite=True).count == 3
    assert prepare(str(source), out, resolution=8, overwrite=True).count == 3
    assert capsys.readouterr().out.count("already prepared: 3 images") == 1
    changed = Image.new("RGB", (8, 8), (6, 0, 0))
    changed.save(source / "5.png")
    os.utime(source / "5.png", ns=(0, 0))  # of the same size
    with pytest.raises(InputError, match="other files"):
        prepare(str(source), out, resolution=8)
    assert _visible(tmp_path) == ["out", "source"]


def test_the_same_files_elsewhere_are_the_same_set(tmp_path, capsys):
    source = tmp_path / "source"
    source.mkdir()
    Image.new("RGB", (8, 8)).save(source / "0.png")
    first = prepare(str(source), tmp_path / "out", resolution=8)
    source.rename(tmp_path / "moved")
    assert prepare(str(tmp_path / "moved"), tmp_path / "out", resolution=8) == first
    shutil.rmtree(tmp_path / "moved")  # what is gone cannot have changed
    assert prepare(str(source), tmp_path / "out", resolution=8) == first
    assert capsys.readouterr().out.count("already prepared") == 2
    with pytest.raises(InputError, match=r"not source=.*/moved"):
        prepare(str(tmp_path / "moved"), tmp_path / "out", resolution=8)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"resolution": 16}, "resolution=8, not resolution=16"),
        ({"num_images": 11}, "num_images=10, not num_images=11"),
        ({"background": (0, 0, 0)}, r"background=\(255, 255, 255\), not background=\(0, 0, 0\)"),
        ({"seed": 1}, "seed=0, not seed=1"),
    ],
)
def test_an_existing_different_set_is_refused_naming_the_difference(tmp_path, change, message):
    arguments = {"resolution": 8, "num_images": 10}
    prepare("shapes", tmp_path / "out", **arguments)
    with pytest.raises(InputError, match=message):
        prepare("shapes", tmp_path / "out", **arguments | change)


def test_two_that_prepare_the_same_folder_at_once_both_get_it(tmp_path):
    def run(_):
        return prepare("shapes", tmp_path / "out", resolution=8, num_images=300)

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        infos = list(pool.map(run, range(4)))
    assert infos == [infos[0]] * 4 and infos[0].count == 300
    assert _visible(tmp_path) == ["out"]


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and is not a prepared set"):
        prepare("shapes", tmp_path / "out", resolution=8)
    assert (tmp_path / "out" / "thesis.txt").read_text() == "precious"


def test_paths_may_begin_with_a_tilde(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "source").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "source" / "0.png")
    info = prepare("~/source", "~/out", resolution=8)
    assert info.folder == tmp_path / "out"
    assert info.preparation.source == str(tmp_path / "source")
    assert pipeline.open_dataset("~/out", resolution=8) == tmp_path / "out"
    prepare(
        f"tfds:{HandmadeTfdsSet.name}", "~/from_tfds", resolution=8, data_dir="~/tensorflow_sets"
    )
    assert (tmp_path / "tensorflow_sets").is_dir()
    with pytest.raises(InputError, match="source=~nobody/x: not found"):
        prepare("~nobody/x", "~/out2", resolution=8)


def test_names_that_are_not_utf8_are_recorded_in_ascii_or_refused(tmp_path):
    source = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    source.mkdir()
    Image.new("RGB", (8, 8)).save(source / os.fsdecode(b"\xe9.png"))
    (source / "gone.png").write_bytes(b"")
    info = prepare(str(source), tmp_path / "out", resolution=8, skip_bad=True)
    assert info.preparation.source.endswith("/caf\\xe9") and info.count == 1
    assert "caf\\\\xe9" in (info.folder / "dataset.json").read_text(encoding="ascii")
    with pytest.raises(InputError, match=r"out=.*/caf\\xe9/x: the names of folders must be UTF-8"):
        prepare("shapes", source / "x", resolution=8, num_images=2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"workers": 0}, "workers=0: it must be at least 1"),
        ({"workers": 10**5}, "workers=100000: it must be at most 1024"),
        ({"resolution": 10**6}, "resolution=1000000: it must be from 1 to 16384 pixels"),
        ({"shards": 0}, "shards=0: it must be at least 1"),
        ({"shards": 11}, "shards=11: it must be at most the 10 images"),
        ({"num_images": 0}, "num_images=0: it must be at least 1"),
    ],
)
def test_an_impossible_number_is_refused(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        prepare("shapes", tmp_path / "out", **{"resolution": 8, "num_images": 10} | arguments)


def test_any_tfds_name_is_a_source(tmp_path):
    with tfds.testing.mock_data(num_examples=12):
        folder = pipeline.open_dataset(
            "tfds:cifar10", resolution=16, data_dir=str(tmp_path), cache_dir=tmp_path / "cache"
        )
        plain = prepare(
            "tfds:cifar10@test", tmp_path / "test", resolution=32, data_dir=str(tmp_path)
        )
    info = dataset_info.load_info(folder)
    assert folder.name == "tfds-cifar10-16" and info.count == plain.count == 12
    assert len(info.classes) == 10 and sum(info.class_counts) == 12
    images, _ = next(pipeline.iterate_images(folder, 12))
    assert images.shape == (12, 16, 16, 3) and images.std() > 10


def test_a_tfds_image_feature_of_another_kind_or_no_name_is_refused(tmp_path):
    with pytest.raises(InputError, match="source=tfds:no_such_set: TFDS cannot provide it"):
        prepare("tfds:no_such_set", tmp_path / "out", resolution=8, data_dir=str(tmp_path))
    with (
        tfds.testing.mock_data(num_examples=1),
        pytest.raises(InputError, match="source=tfds:imdb_reviews: no 8- or 16-bit image"),
    ):
        prepare("tfds:imdb_reviews", tmp_path / "out", resolution=8, data_dir=str(tmp_path))
    frames = tfds.features.Sequence({"image": tfds.features.Image()})  # looks like a dict of them
    with pytest.raises(InputError, match=r"^source=tfds:a: its examples are Sequence, not a dict"):
        tfds_source._image_and_label(frames, "tfds:a")


def test_a_set_that_tfds_builds_itself_is_a_source(tmp_path):
    info = prepare(
        f"tfds:{HandmadeTfdsSet.name}",
        tmp_path / "out",
        resolution=8,
        data_dir=str(tmp_path / "tfds"),
    )
    assert (info.classes, info.class_counts) == (("dark", "bright"), (3, 3))
    images, labels = next(pipeline.iterate_images(info.folder, 6))
    shades = images[:, 0, 0, 0]
    assert sorted(shades) == [0, 40, 80, 120, 160, 200] and ((shades > 80) == labels).all()


TFDS_OF_CONFIGS = sorted(
    {
        name
        for path in _ROOT.glob("configs/**/*.cfg")
        for name in re.findall(r"^--dataset=(tfds:.+)", path.read_text(), flags=re.M)
    }
)


@pytest.mark.parametrize("name", TFDS_OF_CONFIGS)
def test_the_tfds_sets_of_the_configs_get_as_far_as_the_download(name, tmp_path, monkeypatch):
    def download(self, *_, **__):
        raise RuntimeError("the download has begun")

    for method in ("download", "download_and_extract"):
        monkeypatch.setattr(tfds.download.DownloadManager, method, download)
    with pytest.raises(InputError, match="the download has begun"):
        prepare(name, tmp_path / "out", resolution=32, data_dir=str(tmp_path / "tfds"))


def test_what_tfds_cannot_read_here_is_said_before_it_is_downloaded(tmp_path):
    with pytest.raises(InputError, match=r"lsun/bedroom: .* prepare the LMDB folder"):
        prepare("tfds:lsun/bedroom", tmp_path / "out", resolution=8)


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("__init__", OSError(30, "Read-only file system")),
        ("submit", OSError(24, "Too many open files")),
        ("submit", RuntimeError("can't start new thread")),
    ],
)
def test_where_no_processes_can_be_started_one_is_advised(tmp_path, monkeypatch, place, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(concurrent.futures.ProcessPoolExecutor, place, refuse)
    said = r"^workers=2: processes cannot be started here \([RTc][^)]*\); give --workers=1$"
    with pytest.raises(InputError, match=said):
        prepare("shapes", tmp_path / "out", resolution=8, num_images=2, workers=2)
