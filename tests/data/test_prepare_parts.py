"""A set that several processes make in parts is the one that a single process makes."""

import dataclasses
import shutil

import pytest
from in_process import command, error_line
from latent_sets import encoding

from ladagan_tf import prepare as prepare_command
from ladagan_tf.data import dataset_info, latents
from ladagan_tf.data.preparation import prepare
from ladagan_tf.data.unfinished import Part
from ladagan_tf.errors import InputError
from ladagan_tf.flags import prepare as prepare_flags


def never(images):
    raise AssertionError("everything is encoded already")


def assert_same_content(info, expected):
    """But for the division into files."""
    own = {"folder": None, "shards": ()}
    assert dataclasses.replace(info, **own) == dataclasses.replace(expected, **own)


def test_merged_latents_are_those_of_one_process_and_nothing_is_encoded_again(
    fifty, fifty_latents, tmp_path
):
    out = tmp_path / "out"
    for index in (2, 0, 1):
        assert latents.prepare_set(fifty, out, encoding(), part=Part(index, 3)) is None
    names = {f"out.shard-{index}-of-3" for index in range(3)}
    assert {path.name for path in tmp_path.iterdir()} == names
    info = latents.prepare_set(fifty, out, encoding(encode=never), merge=True)
    assert_same_content(info, dataset_info.load_info(fifty_latents))
    assert [shard.records for shard in info.shards] == [16, 16, 18]  # of whole batches of four
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_images_are_prepared_in_parts_too_and_bad_ones_are_listed(flawed, tmp_path):
    given = {"resolution": 8, "skip_bad": True, "min_side": 4}
    whole = prepare(str(flawed), tmp_path / "whole", **given)
    for index in range(4):
        prepare(str(flawed), tmp_path / "out", **given, part=Part(index, 4))
    info = prepare(str(flawed), tmp_path / "out", **given, merge=True)
    assert_same_content(info, whole)
    assert {bad.name for bad in info.skipped} == {"broken.png", "thin.png"}


def test_a_part_with_bad_images_is_refused_in_one_line(flawed, tmp_path):
    with pytest.raises(InputError, match=r"2 of 5 images are unusable, as \w+\.png"):
        prepare(str(flawed), tmp_path / "out", resolution=8, min_side=4, part=Part(0, 1))
    assert not (tmp_path / "out.shard-0-of-1").exists()


def test_what_parts_lack_is_one_line(fifty, tmp_path, capsys):
    out = tmp_path / "out"

    def merge(**changes):
        latents.prepare_set(fifty, out, encoding(**changes), merge=True)

    with pytest.raises(InputError, match="out: no part of --shard beside it"):
        merge()
    latents.prepare_set(fifty, out, encoding(), part=Part(1, 3))
    with pytest.raises(InputError, match="out: not finished yet: --shard=0/3, --shard=2/3"):
        merge()
    latents.prepare_set(fifty, out, encoding(encode=never), part=Part(1, 3))
    assert "already prepared: 16 of 50 images" in capsys.readouterr().out
    with pytest.raises(InputError, match=r"out\.shard-1-of-3: it is no part of this set"):
        latents.prepare_set(fifty, out, encoding(vae_sha256="cc"), part=Part(1, 3))
    for index in (0, 2):
        latents.prepare_set(fifty, out, encoding(), part=Part(index, 3))
    with pytest.raises(InputError, match=r"out\.shard-0-of-3: it is no part of this set"):
        merge(vae_sha256="cc")
    shutil.copytree(tmp_path / "out.shard-0-of-3", tmp_path / "out.shard-0-of-9")
    with pytest.raises(InputError, match="out: parts of 3, 9 shards beside it"):
        merge()
    assert not out.exists()


def test_the_command_takes_parts_and_refuses_what_is_none(tmp_path, capsys):
    given = ["--source=shapes", "--resolution=8", "--num_images=6", f"--out={tmp_path / 'out'}"]
    with command(prepare_command, prepare_flags.define) as call:
        for wrong, message in (
            (["--shard=2/2"], "--shard=2/2: give a part and how many there are, 0/8 to 7/8"),
            (["--shard=1"], "--shard=1: give a part"),
            (["--shard=0/2", "--merge"], "--shard=0/2: --merge comes after all parts"),
            (["--shard=0/2", "--shards=2"], "--shards=2: with --shard and --merge sizes decide"),
        ):
            assert message in error_line(call, given + wrong, capsys)
        for index in (0, 1):
            call(*given, f"--shard={index}/2")
            assert f"part {index}/2 is prepared; when all are" in capsys.readouterr().out
        call(*given, "--merge")
        assert "6 images of 8 x 8" in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
