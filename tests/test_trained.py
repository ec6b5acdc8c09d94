"""A trained generator is the same one from its run, its `.keras` file and its SavedModel."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf import seeds, trained
from ladagan_tf.errors import InputError
from ladagan_tf.models.ladagan import Generator
from ladagan_tf.training.checkpoints import Checkpoints
from ladagan_tf.training.run import RunDirectory

SIZES = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8, 8, 8)}


def perturb(network, seed):
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.1, w.shape) for w in network.get_weights()])


@pytest.fixture
def networks():
    generator, averaged = Generator(**SIZES), Generator(**SIZES, name="averaged_generator")
    perturb(generator, 0)
    perturb(averaged, 1)
    return generator, averaged


@pytest.fixture
def run(tmp_path, networks):
    directory = RunDirectory(tmp_path / "run")
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
    loaded = trained.open_run(run.path, ema=ema)
    np.testing.assert_allclose(loaded.generate(z), networks[ema](z), atol=1e-6)
    assert (loaded.noise_dim, loaded.resolution, loaded.num_classes) == (8, 32, 0)
    assert loaded.about["kimg"] == 2.5 and loaded.about["ema"] is ema


def test_an_untrained_generator_is_a_baseline_that_repeats(run, networks):
    z = seeds.latents(range(3), 8)
    first, second = (trained.open_run(run.path, "untrained") for _ in range(2))
    np.testing.assert_array_equal(first.generate(z), second.generate(z))
    assert np.abs(first.generate(z) - networks[1](z)).max() > 1e-3


def test_a_keras_file_gives_the_same_images(tmp_path, networks):
    z = seeds.latents(range(3), 8)
    networks[0].save(tmp_path / "g.keras")
    loaded = trained.open_model(tmp_path / "g.keras")
    np.testing.assert_allclose(loaded.generate(z), networks[0](z), atol=1e-6)


def test_a_saved_model_gives_the_same_images(tmp_path, networks):
    z = seeds.latents(range(3), 8)
    archive = keras.export.ExportArchive()
    archive.track(networks[0])
    archive.add_endpoint("serve", networks[0].call, [tf.TensorSpec((None, 8), tf.float32)])
    archive.write_out(str(tmp_path / "saved"), verbose=False)
    loaded = trained.open_model(tmp_path / "saved")
    assert (loaded.noise_dim, loaded.resolution) == (8, 32)
    np.testing.assert_allclose(loaded.generate(z), networks[0](z), atol=1e-6)


def test_precision_is_chosen_when_loading(tmp_path):
    network = Generator(**SIZES, dtype="mixed_bfloat16")
    network.save(tmp_path / "g.keras")
    loaded = trained.open_model(tmp_path / "g.keras", precision="float32").network
    assert loaded.compute_dtype == "float32"
    for ours, saved in zip(loaded.get_weights(), network.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, saved)


def test_what_is_no_generator_is_one_line(tmp_path, run):
    with pytest.raises(InputError, match="not a run"):
        trained.open_run(tmp_path)
    with pytest.raises(InputError, match=r"give a \.keras file"):
        trained.open_model(tmp_path)
    (tmp_path / "broken.keras").write_bytes(b"no zip")
    with pytest.raises(InputError, match="Keras cannot load it"):
        trained.open_model(tmp_path / "broken.keras")
    classes = json.loads(run.models_file.read_text())
    classes["generator"]["config"]["widths"] = [16, 16, 32]
    run.models_file.write_text(json.dumps(classes))
    with pytest.raises(InputError, match="does not fit"):
        trained.open_run(run.path)
