"""A trained generator is the same one from its run, its `.keras` file and its SavedModel."""

import dataclasses
import functools
import json
import os
import shutil

import keras
import numpy as np
import pytest
import tensorflow as tf
from golden_sets import GOLDEN

from ladagan_tf.errors import InputError
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling import opening, seeds
from ladagan_tf.sampling.sampler import of_network
from ladagan_tf.sampling.saved_models import files_sha256
from ladagan_tf.weights.reading import content_sha256

SIZES = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8, 8, 8)}


def perturb(network, seed):
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.1, w.shape) for w in network.get_weights()])


@pytest.fixture(scope="module")
def networks():
    generator, averaged = Generator(**SIZES), Generator(**SIZES, name="averaged_generator")
    perturb(generator, 0)
    perturb(averaged, 1)
    return generator, averaged


@pytest.fixture(scope="module")
def run(tmp_path_factory, networks):
    directory = RunDirectory(tmp_path_factory.mktemp("lada") / "run")
    directory.start({}, networks[:1])
    state = {
        f"{part}/{i:03d}/{v.path}": v
        for part, network in zip(("generator", "averaged"), networks, strict=True)
        for i, v in enumerate(network.weights)
    }
    Checkpoints(directory.checkpoints, state).save(step=5, images=2500)
    return directory


@pytest.mark.parametrize("ema", [True, False])
def test_a_run_gives_the_averaged_or_the_trained_generator(run, networks, ema):
    z = seeds.latents(range(3), 8)
    loaded = opening.open_run(run.path, ema=ema)
    np.testing.assert_allclose(loaded.generate(z), networks[ema](z), rtol=1e-5, atol=1e-6)
    assert (loaded.noise_dim, loaded.resolution, loaded.num_classes) == (8, 32, 0)
    assert loaded.about["kimg"] == 2.5 and loaded.about["ema"] is ema


@pytest.mark.usefixtures("eagerly")
def test_an_untrained_generator_is_a_baseline_that_repeats(run, networks):
    z = seeds.latents(range(3), 8)
    first, second = (opening.open_run(run.path, "untrained") for _ in range(2))
    np.testing.assert_array_equal(first.generate(z), second.generate(z))
    assert np.ptp(first.generate(z), axis=0).max() > 0.0  # of weights that were drawn
    assert np.abs(first.generate(z) - networks[1](z)).max() > 1e-3


@pytest.mark.usefixtures("eagerly")
def test_a_keras_file_gives_the_same_images(tmp_path, networks):
    z = seeds.latents(range(3), 8)
    networks[0].save(tmp_path / "g.keras")
    loaded = opening.open_model(tmp_path / "g.keras")
    np.testing.assert_allclose(loaded.generate(z), networks[0](z), rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("eagerly")
def test_what_is_no_run_is_known_by_its_weights_under_one_name(tmp_path, networks):
    path, found = tmp_path / "g.keras", []
    for network in networks:
        network.save(path)
        of_file, of_memory = opening.open_model(path), opening.sampler_of(network)
        found.append((of_file.about["file_sha256"], of_memory.about["weights_sha256"]))
    assert all(map(str.__ne__, *found))


def test_a_name_that_is_not_utf8_is_told_in_escapes(tmp_path, networks):
    networks[0].save(tmp_path / "g.keras")
    path = (tmp_path / "g.keras").rename(tmp_path / os.fsdecode(b"mod\xff.keras"))
    assert opening.open_model(path).about["model"] == f"{tmp_path}/mod\\xff.keras"


def foreign(path, make, batch=None, z=(8,), dtype=tf.float32):
    """A SavedModel that has nothing of ours: images of latents by a function."""
    module = tf.Module()
    module.serve = tf.function(make, input_signature=[tf.TensorSpec((batch, *z), dtype, name="z")])
    tf.saved_model.save(module, str(path), {"serving_default": module.serve})
    return path


def tiles(z, *shape):
    return tf.reshape(tf.tile(z, [1, np.prod(shape) // 8]), (-1, *shape))


FOREIGN = {
    "NCHW": (lambda z: tiles(z, 3, 16, 16), {}, r"shape \(2, 3, 16, 16\)"),
    "grey": (lambda z: tiles(z, 16, 16, 1), {}, r"shape \(2, 16, 16, 1\)"),
    "not square": (lambda z: tiles(z, 16, 8, 3), {}, r"shape \(2, 16, 8, 3\)"),
    "flat": (lambda z: tiles(z, 768), {}, r"shape \(2, 768\)"),
    "uint8": (lambda z: tf.cast(tiles(z, 16, 16, 3), tf.uint8), {}, "its images are uint8"),
    "one at a time": (lambda z: tiles(z, 16, 16, 3), {"batch": 1}, "takes 1 images at a time"),
    "0 to 1": (lambda z: tf.sigmoid(tiles(z, 16, 16, 3)), {}, "nominally in"),
    "0 to 255": (lambda z: 255 * tf.sigmoid(tiles(z, 16, 16, 3)), {}, "nominally in"),
    "not finite": (lambda z: tiles(z, 16, 16, 3) / 0.0, {}, "from -inf to inf"),
    "vast latents": (lambda z: z[:, :, None, None], {"z": (2**40,)}, "size 1099511627776"),
    "latents of any size": (
        lambda z: z[:, :, None, None],
        {"z": (None,)},
        "size None; give 1",
    ),
    "images to images": (lambda z: z, {"z": (8, 8, 3)}, r"z float32 \(None, 8, 8, 3\) ->"),
    "integers": (lambda z: tf.cast(z, tf.float32), {"dtype": tf.int32}, "must take float32"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_foreign_saved_model_proves_its_signature_type_and_range(tmp_path, name):
    make, how, words = FOREIGN[name]
    with pytest.raises(InputError, match=words) as caught:
        opening.open_model(foreign(tmp_path / "saved", make, **how))
    assert str(caught.value).startswith(f"model={tmp_path}/saved: this SavedModel cannot be read")


def test_labels_without_a_number_of_classes_are_refused(tmp_path):
    specs = [tf.TensorSpec((None, 8), tf.float32), tf.TensorSpec((None,), tf.int32)]
    module = tf.Module()
    module.serve = tf.function(lambda z, labels: tiles(z, 16, 16, 3), input_signature=specs)
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": module.serve})
    with pytest.raises(InputError, match="it takes labels, but no `num_classes` in it says how"):
        opening.open_model(tmp_path / "saved")


def test_a_foreign_saved_model_that_fits_is_used(tmp_path):
    loaded = opening.open_model(foreign(tmp_path / "saved", lambda z: tiles(z, 16, 16, 3)))
    z = seeds.latents(range(4), 8)
    np.testing.assert_array_equal(loaded.generate(z), tiles(z, 16, 16, 3))
    assert (loaded.noise_dim, loaded.resolution) == (8, 16)
    assert loaded.about["files_sha256"] == files_sha256(tmp_path / "saved")


def test_labels_of_64_bits_in_a_foreign_saved_model_are_given(tmp_path):
    specs = [tf.TensorSpec((None, 8), tf.float32), tf.TensorSpec((None,), tf.int64)]
    module = tf.Module()
    module.num_classes = tf.Variable(3, trainable=False)
    module.serve = tf.function(
        lambda z, labels: tiles(z, 16, 16, 3) + 0.0 * tf.cast(labels[0], tf.float32),
        input_signature=specs,
    )
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": module.serve})
    loaded = opening.open_model(tmp_path / "saved")
    assert loaded.generate(seeds.latents(range(4), 8), np.zeros(4, np.int32)).shape[0] == 4


def test_precision_is_chosen_when_loading(tmp_path):
    network = Generator(**SIZES, dtype="mixed_bfloat16")
    network.save(tmp_path / "g.keras")
    loaded = opening.open_model(tmp_path / "g.keras", precision="float32").network
    assert loaded.compute_dtype == "float32"
    for ours, saved in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, saved)


@pytest.mark.usefixtures("eagerly")
def test_a_gat_run_is_its_generator_behind_its_autoencoder(tiny_gat, tiny_gat_run):
    z, labels = seeds.latents(range(3), 8), np.int32([0, 1, 2])
    loaded = opening.open_run(tiny_gat_run)
    np.testing.assert_allclose(
        loaded.generate(z, labels), tiny_gat(z, labels), rtol=1e-5, atol=1e-5
    )
    assert (loaded.noise_dim, loaded.resolution, loaded.num_classes) == (8, 16, 3)
    assert loaded.class_names == tiny_gat.class_names and "food-drink" in loaded.class_names
    sha256 = content_sha256(tiny_gat.vae.tensors())
    expected = {"kimg": 0.5, "psi": 1.0, "guidance": 1.0, "vae_sha256": sha256}
    assert loaded.about.items() >= expected.items()
    assert not any("encoder" in weight.path.split("/") for weight in loaded.network.weights)
    others = opening.open_run(tiny_gat_run, ema=False).network(z, labels)
    assert np.abs(others - loaded.network(z, labels)).max() > 1e-2


@pytest.mark.usefixtures("eagerly")
def test_psi_and_guidance_are_baked_in_and_told(tiny_gat, tiny_gat_run):
    z, labels = seeds.latents(range(3), 8), np.int32([0, 1, 2])
    loaded = opening.open_run(tiny_gat_run, psi=0.5, guidance=1.5)
    assert loaded.about["psi"] == 0.5 and loaded.about["guidance"] == 1.5
    right = tiny_gat(z, labels, psi=0.5, guidance=1.5)
    np.testing.assert_allclose(loaded.generate(z, labels), right, rtol=1e-5, atol=1e-5)
    other = loaded.at(0.0)
    assert other.about["psi"] == 0.0
    right = tiny_gat(z, labels, psi=0.0, guidance=1.5)
    np.testing.assert_allclose(other.generate(z, labels), right, rtol=1e-5, atol=1e-5)


def test_a_gat_in_a_keras_file_has_its_autoencoder_or_is_given_one(
    tiny_gat, tiny_gat_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(opening, "_load_keras", functools.cache(opening._load_keras))
    z, labels = seeds.latents(range(3), 8), np.int32([0, 1, 2])
    right, vae = tiny_gat(z, labels), tiny_gat_run / "vae.keras"
    tiny_gat.save(tmp_path / "whole.keras")
    tiny_gat.generator.save(tmp_path / "bare.keras")
    whole = opening.open_model(tmp_path / "whole.keras")
    bare = opening.open_model(tmp_path / "bare.keras", vae=vae)
    for loaded in (whole, bare):
        np.testing.assert_allclose(loaded.network(z, labels), right, rtol=1e-5, atol=1e-5)
        assert loaded.about["vae_sha256"] == content_sha256(tiny_gat.vae.tensors())
        assert loaded.class_names == tiny_gat.class_names
    with pytest.raises(InputError, match=r"bare\.keras: it generates latents; give --vae"):
        opening.open_model(tmp_path / "bare.keras")
    with pytest.raises(InputError, match=r"vae=.*: it is for a GAT generator without"):
        opening.open_model(tmp_path / "whole.keras", vae=vae)
    AutoencoderKL(widths=(8, 8), resnets=1, groups=4, latent_channels=8).save(tmp_path / "v.keras")
    with pytest.raises(InputError, match=r"does not fit .*its latents have 8 channels"):
        opening.open_model(tmp_path / "bare.keras", vae=tmp_path / "v.keras")


@pytest.mark.usefixtures("eagerly")
def test_a_gat_run_is_decoded_by_another_autoencoder_of_its_encoder_only(
    tiny_gat, tiny_gat_run, run, tmp_path
):
    z, labels = seeds.latents(range(3), 8), np.int32([0, 1, 2])
    vae = keras.saving.load_model(tiny_gat_run / "vae.keras")
    decoder = [w for w in vae.weights if "decoder" in w.path]
    for weight in decoder:
        weight.assign(weight + 0.1)
    vae.save(tmp_path / "ema.keras")
    source = opening.open_source(tiny_gat_run, None, vae=tmp_path / "ema.keras", psi=0.7)
    right = DecodedGenerator(tiny_gat.generator, vae)(z, labels, psi=0.7)
    np.testing.assert_allclose(source.generate(z, labels), right, rtol=1e-5, atol=1e-5)
    assert np.abs(right - tiny_gat(z, labels, psi=0.7)).max() > 1e-2
    assert source.about["vae"] == "ema.keras"
    assert source.about["vae_sha256"] == content_sha256(vae.tensors())
    vae.set_weights([w + 0.1 for w in vae.get_weights()])
    vae.save(tmp_path / "other.keras")
    with pytest.raises(
        InputError, match=r"vae=.*other\.keras: its encoder is not that of run_dir="
    ):
        opening.open_source(tiny_gat_run, None, vae=tmp_path / "other.keras")
    with pytest.raises(InputError, match=r"it is for a GAT generator without an autoencoder"):
        opening.open_source(run.path, None, vae="sd15")


def test_both_networks_of_a_gat_compute_in_the_chosen_precision(tiny_gat, tiny_gat_run, tmp_path):
    policy = "mixed_bfloat16"
    tiny_gat.save(tmp_path / "whole.keras")
    for loaded in (
        opening.open_run(tiny_gat_run, precision=policy),
        opening.open_model(tmp_path / "whole.keras", precision=policy),
    ):
        network = loaded.network
        for part in (network, network.generator, network.vae):
            assert part.dtype_policy.name == policy


def test_a_run_that_lacks_its_autoencoder_says_so(tiny_gat_run, tmp_path):
    shutil.copytree(tiny_gat_run, tmp_path / "run")
    (tmp_path / "run" / "vae.keras").unlink()
    with pytest.raises(InputError, match=r"it generates latents, and .*vae\.keras .* is not there"):
        opening.open_run(tmp_path / "run")


def test_fewer_large_images_are_computed_at_once(tiny_gat):
    source = of_network(tiny_gat)
    assert source.affordable(64) == 64
    sizes = [
        dataclasses.replace(source, resolution=r).affordable(32) for r in (128, 256, 512, 2048)
    ]
    assert sizes == [32, 16, 4, 1]


@pytest.mark.parametrize("given", [{"checkpoint": "untrained"}, {"ema": False}])
def test_what_chooses_within_a_run_is_not_for_a_model(given):
    with pytest.raises(InputError, match="--checkpoint and --ema choose within --run_dir"):
        opening.open_source(None, "zoo:shapes", **given)


def test_what_a_source_has_not_is_not_asked_of_it(tmp_path, run):
    with pytest.raises(InputError, match="--noema: --checkpoint=untrained has no other weights"):
        opening.open_run(run.path, "untrained", ema=False)
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(InputError, match="precision=mixed_bfloat16: a SavedModel computes as it"):
        opening.open_model(tmp_path, "mixed_bfloat16")


def test_a_network_of_another_backend_is_one_line(monkeypatch, networks):
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(InputError, match="KERAS_BACKEND=jax: a sampler's images are made under"):
        of_network(networks[0]).generate(seeds.latents(range(3), 8))


def test_what_is_no_generator_is_one_line(tmp_path, run):
    with pytest.raises(InputError, match="not a run"):
        opening.open_run(tmp_path)
    with pytest.raises(InputError, match=r"give a \.keras file"):
        opening.open_model(tmp_path)
    for precision in ("int32", "float16", "half"):
        with pytest.raises(InputError, match=f"precision={precision}: give float32, mixed_bfl"):
            opening.load("shapes", precision=precision)
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"this \.keras file cannot be read"):
        opening.open_model(tmp_path / "broken.keras")
    run = RunDirectory(shutil.copytree(run.path, tmp_path / "run"))
    classes = json.loads(run.models_file.read_text())
    classes["generator"]["config"]["widths"] = [16, 16, 32]
    run.models_file.write_text(json.dumps(classes))
    with pytest.raises(InputError, match="does not fit"):
        opening.open_run(run.path)
    classes["generator"]["config"]["widths"] = [16, 16, 2**40]
    run.models_file.write_text(json.dumps(classes))
    with pytest.raises(InputError, match=r"models\.json: .* far more weights than the 39649"):
        opening.open_run(run.path)


@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", ["lada", "gat"])
def test_files_written_before_modules_moved_open_as_they_were(name):
    with np.load(GOLDEN / "moved" / "expected.npz") as expected:
        labels = [expected["labels"]] if name == "gat" else []
        opened = opening.open_model(GOLDEN / "moved" / f"{name}.keras")
        images = opened.generate(expected["z"], *labels)
        np.testing.assert_allclose(images, expected[name], rtol=0, atol=1e-4)
