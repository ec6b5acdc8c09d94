"""Preparing sets of latents: what is refused, and the command line."""

import json
import pathlib
import re
import shutil

import in_process
import numpy as np
import pytest
from latent_sets import encode, encoding, read_moments

from ladagan_tf import prepare as command
from ladagan_tf.data import dataset_info, latents, pipeline
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.flags import prepare as prepare_flags
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.weights import vae_weights

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def test_preparing_the_same_latents_again_does_nothing(fifty, fifty_latents, capsys):
    def never(images):
        raise AssertionError("nothing is encoded again")

    info = latents.prepare_set(fifty, fifty_latents, encoding(encode=never))
    assert info == dataset_info.load_info(fifty_latents)
    assert "already prepared: 50 images" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vae_sha256": "cc"}, "it holds a set with vae_sha256=aa, not vae_sha256=cc"),
        ({"dtype": "float16"}, "latent_dtype=float32, not latent_dtype=float16"),
        ({"images": False}, "store_images=True, not store_images=False"),
        ({"scaling_factor": 2.0}, "scaling_factor=0.5, not scaling_factor=2.0"),
        ({"teacher": {"name": "x"}}, "teacher=None, not teacher={'name': 'x'}"),
    ],
)
def test_latents_of_another_kind_are_not_taken_for_these(fifty, fifty_latents, changes, message):
    with pytest.raises(InputError, match=message):
        latents.prepare_set(fifty, fifty_latents, encoding(**changes))


def test_latents_are_not_taken_for_images_nor_images_for_latents(fifty, tmp_path):
    arguments = {"resolution": 8, "num_images": 6}
    folder = prepare("shapes", tmp_path / "images", **arguments).folder
    with pytest.raises(InputError, match="a set with latents=False, not latents=True"):
        prepare("shapes", folder, **arguments, encoding=encoding())
    folder = prepare("shapes", tmp_path / "latents", **arguments, encoding=encoding()).folder
    with pytest.raises(InputError, match="a set with latents=True, not latents=False"):
        prepare("shapes", folder, **arguments)


def test_latents_of_images_that_were_prepared_anew_are_refused(fifty, tmp_path):
    source = shutil.copytree(fifty, tmp_path / "source")
    out = latents.prepare_set(source, tmp_path / "out", encoding()).folder
    shutil.rmtree(source)
    prepare("shapes", source, resolution=8, num_images=50, seed=1)
    content = json.loads((source / "dataset.json").read_text())
    content["preparation"]["seed"] = 0  # as a folder of changed files would be described
    (source / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"it holds a set with images_sha256=\w+, not images_sha"):
        latents.prepare_set(source, out, encoding())


def test_images_that_are_not_those_of_their_dataset_json_are_refused(fifty, tmp_path):
    source = shutil.copytree(fifty, tmp_path / "source")
    content = json.loads((source / "dataset.json").read_text()) | {"content_sha256": "0" * 64}
    (source / "dataset.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"but their dataset\.json says 000000000000"):
        latents.prepare_set(source, tmp_path / "out", encoding())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


def test_a_damaged_image_record_stops_the_encoding_in_one_line(fifty, tmp_path):
    source = shutil.copytree(fifty, tmp_path / "source")
    shard = source / "records-00001.tfrecord"
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 0xFF
    shard.write_bytes(data)
    with pytest.raises(InputError, match=r"records-00001\.tfrecord: record \d+ is damaged"):
        latents.prepare_set(source, tmp_path / "out", encoding())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["source"]


@pytest.mark.parametrize(("value", "dtype"), [(np.nan, "float32"), (70_000.0, "float16")])
def test_latents_that_are_not_finite_name_their_image(tmp_path, value, dtype):
    def broken(images):
        mean, std = encode(images)
        mean[1, 0, 0, 0] = value
        return mean, std

    with pytest.raises(InputError, match=f"shape-00000001: its latents are not finite in {dtype}"):
        prepare(
            "shapes",
            tmp_path / "out",
            resolution=8,
            num_images=6,
            encoding=encoding(dtype=dtype, encode=broken),
        )
    assert not list(tmp_path.iterdir())


def _tiny_vae(widths):
    return AutoencoderKL(widths, resnets=1, latent_channels=2, groups=2, scaling_factor=0.7)


@pytest.fixture(scope="module")
def vae():
    return _tiny_vae((4, 4))


@pytest.fixture(scope="module")
def vae_file(vae, tmp_path_factory):
    path = tmp_path_factory.mktemp("vae") / "vae.keras"
    vae.save(path)
    return path


def test_the_command_line_stores_what_the_autoencoder_makes_of_a_prepared_set(
    fifty, vae, vae_file, tmp_path
):
    arguments = [
        f"--source={fifty}", "--latents", f"--vae={vae_file}",
        f"--out={tmp_path / 'out'}", "--latent_dtype=float32", "--nostore_images",
        "--encode_batch=7",
    ]  # fmt: skip
    with in_process.command(command, prepare_flags.define) as call:
        status, said, error = in_process.outcome(call, arguments)
    assert status == 0, error
    found = dataset_info.load_info(tmp_path / "out").latents
    _, vae_sha256 = vae_weights.load(vae_file)
    assert (found.size, found.channels, found.scaling_factor) == (4, 2, 0.7)
    assert (found.vae, found.vae_sha256) == (str(vae_file), vae_sha256)
    assert found.encoder_sha256 == vae_weights.encoder_sha256(vae) != vae_sha256
    assert not found.images
    assert "50 float32 latents of 4 x 4 x 2 by" in said
    assert f"standard deviation {found.std:.3f} after scaling, without images" in said
    images, _ = next(pipeline.iterate_images(fifty, 50))
    expected = np.concatenate(vae.encode(images / np.float32(127.5) - 1), axis=-1)
    moments, _ = read_moments(tmp_path / "out")
    np.testing.assert_allclose(moments, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"resolution": None, "source": "shapes"}, "--resolution is required"),
        ({"resolution": 16}, "--resolution=16: the images of .* have 8 pixels"),
        ({"resolution": 7, "source": "shapes"}, "--resolution=7: it must be a multiple of 2"),
        ({"vae": None}, "--vae is required with --latents"),
        ({"vae": "nowhere"}, "nowhere: .*sd15, sd-mse, sd-ema, weights of diffusers"),
        ({"latents": False}, "--vae=.*: only for latents; add --latents"),
        ({"crop": "adm"}, "--crop=adm: the images of a prepared set are taken as they are"),
    ],
)
def test_the_command_refuses_a_mistake_in_one_line(
    fifty, vae_file, tmp_path, capsys, flags, message
):
    given = {
        "source": str(fifty),
        "out": str(tmp_path / "out"),
        "latents": True,
        "vae": str(vae_file),
    }
    arguments = [f"--{name}={value}" for name, value in (given | flags).items() if value]
    with in_process.command(command, prepare_flags.define) as call:
        assert re.search(message, in_process.error_line(call, arguments, capsys))


def test_autoencoders_that_differ_in_their_decoders_share_the_hash_of_the_encoder():
    network, found = _tiny_vae((4,)), []
    for changed in (None, network.decoder, network.quant_conv):
        if changed:
            changed.weights[-1].assign_add([1.0] * changed.weights[-1].shape[0])
        whole = vae_weights.content_sha256(network.tensors())
        found.append((whole, vae_weights.encoder_sha256(network)))
    (plain, plain_encoder), (decoder, same_encoder), (encoder, another_encoder) = found
    assert len({plain, decoder, encoder}) == 3
    assert plain_encoder == same_encoder != another_encoder
