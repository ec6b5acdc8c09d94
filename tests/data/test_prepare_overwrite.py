"""What --out may replace: a set, damaged or not, and nothing else."""

import os
import types

import pytest
from PIL import Image

from ladagan_tf.data import dataset_info, preparation
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError


def test_overwrite_replaces_a_damaged_set_but_nothing_else(tmp_path):
    out = prepare("shapes", tmp_path / "out", resolution=8, num_images=3).folder
    (out / "records-00000.tfrecord").unlink()
    info = prepare("shapes", out, resolution=8, num_images=4, overwrite=True)
    assert info.count == 4
    (out / "dataset.json").unlink()
    with pytest.raises(InputError, match="exists and is not a prepared set"):
        prepare("shapes", out, resolution=8, num_images=3, overwrite=True)


def _stylegan(folder):
    folder.mkdir(exist_ok=True)
    (folder / "dataset.json").write_text('{"labels": [["0.png", 0]]}')
    Image.new("RGB", (8, 8)).save(folder / "0.png")


def _beside_a_set(folder):
    prepare("shapes", folder, resolution=8, num_images=3)
    (folder / "raw").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "raw" / "0.png")


def _another_description(folder):
    _stylegan(folder)
    (folder / "0.png").unlink()


@pytest.mark.parametrize(
    ("make", "source", "message"),
    [
        (_stylegan, "shapes", r"0\.png in it is of no prepared set"),
        (_stylegan, "OUT", "lies there, so it is not replaced"),
        (_beside_a_set, "shapes", "raw in it is of no prepared set"),
        (_beside_a_set, "OUT/raw", "lies there, so it is not replaced"),
        (_another_description, "shapes", r"its dataset\.json is another program's"),
    ],
)
def test_overwrite_never_deletes_what_is_no_set_or_the_source(tmp_path, make, source, message):
    out = tmp_path / "out"
    make(out)
    before = sorted(out.rglob("*"))
    with pytest.raises(InputError, match=f"^out={out}: .*{message}.* choose another folder$"):
        prepare(source.replace("OUT", str(out)), out, resolution=4, overwrite=True)
    assert sorted(out.rglob("*")) == before


@pytest.mark.parametrize("name", [".out.preparing", ".out.replaced"])
def test_a_folder_beside_it_that_prepare_has_not_made_is_left(tmp_path, name):
    prepare("shapes", tmp_path / "out", resolution=8, num_images=3)
    (tmp_path / name / "mine").mkdir(parents=True)
    (tmp_path / name / "records-00000.tfrecord").touch()
    (tmp_path / name / "thesis.txt").touch()
    before = sorted((tmp_path / name).iterdir())
    with pytest.raises(InputError, match=rf"{name}: mine in it (was not made by|is of no) prepare"):
        prepare("shapes", tmp_path / "out", resolution=8, num_images=4, overwrite=True)
    assert sorted((tmp_path / name).iterdir()) == before
    assert dataset_info.load_info(tmp_path / "out").count == 3


def test_what_a_killed_start_has_put_aside_goes_with_the_next(tmp_path):
    out = prepare("shapes", tmp_path / "out", resolution=8, num_images=3).folder
    out.rename(tmp_path / ".out.replaced")  # and the new one was not renamed any more
    prepare("shapes", out, resolution=8, num_images=4)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_overwrite_keeps_what_came_into_the_folder_meanwhile(tmp_path, monkeypatch):
    out = prepare("shapes", tmp_path / "out", resolution=8, num_images=3).folder

    def write_info(info):
        (out / "thesis.txt").touch()
        return dataset_info.write_info(info)

    stand_in = types.SimpleNamespace(**vars(dataset_info) | {"write_info": write_info})
    monkeypatch.setattr(preparation, "dataset_info", stand_in)
    with pytest.raises(InputError, match=r"thesis\.txt in it is of no prepared set"):
        prepare("shapes", out, resolution=8, num_images=4, overwrite=True)
    assert dataset_info.load_info(out).count == 3 and (out / "thesis.txt").exists()


def test_a_mount_point_is_refused_before_anything_is_converted(tmp_path, monkeypatch):
    monkeypatch.setattr(os.path, "ismount", lambda path: path == tmp_path / "vol")
    (tmp_path / "vol").mkdir()
    with pytest.raises(InputError, match=r"^out=.*/vol: it is a mount .* as --out=.*/vol/NAME$"):
        prepare("shapes", tmp_path / "vol", resolution=8, num_images=2)
    assert prepare("shapes", tmp_path / "vol" / "a", resolution=8, num_images=2).count == 2
