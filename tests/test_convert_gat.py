"""GAT's official checkpoints become networks and runs with their recorded outputs, and go back."""

import dataclasses
import json
import math
import types

import keras
import numpy as np
import pytest
from golden_sets import GOLDEN
from safetensors.numpy import load_file, save_file
from train_processes import PARTS

import ladagan_tf  # noqa: F401 - registers the classes that keras.saving.load_model needs
from ladagan_tf.errors import InputError
from ladagan_tf.models.gat.networks import GatDiscriminator
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.official import gat as official_gat
from ladagan_tf.official import gat_runs
from ladagan_tf.runs.checkpoints import find_checkpoint, read_part
from ladagan_tf.sampling import opening
from ladagan_tf.weights import vae_weights
from ladagan_tf.weights.torch_file import read_torch

TOLERANCE = 1e-4  # of tests/golden/README.md
ADAM = {"beta1": "0.0", "beta2": "0.99", "epsilon": "1e-08", "g_lr": "0.0002", "d_lr": "0.0002"}
VAE = {"widths": (8, 8), "resnets": 1, "groups": 4}


@dataclasses.dataclass
class Recorded:
    """The recorded checkpoint, and what its networks give."""

    path: object
    about: dict
    inputs: dict
    outputs: dict

    def latents(self):
        """Of the trained generator, (B, S, S, C)."""
        return np.moveaxis(self.outputs["G_rgbs"][-1], 1, -1)

    def levels(self):
        """What D sees, (B, S, S, K C)."""
        return np.concatenate(list(np.moveaxis(self.inputs["d_in"], 2, -1)), axis=-1)


@pytest.fixture(scope="module")
def recorded(gat_checkpoint):
    about = json.loads((GOLDEN / "gat_checkpoint" / "about.json").read_text())
    arrays = [dict(np.load(GOLDEN / "gat" / f"A_{name}.npz")) for name in ("inputs", "outputs")]
    return Recorded(gat_checkpoint, about, *arrays)


@pytest.fixture(scope="module")
def vae_file(tmp_path_factory):
    keras.utils.set_random_seed(0)
    path = tmp_path_factory.mktemp("vae") / "vae.keras"
    AutoencoderKL(**VAE).save(path)
    return path


@pytest.fixture(scope="module")
def checkpoint(recorded):
    return official_gat.read_checkpoint(recorded.path)


def converted(checkpoint, path, out, vae=None, **changes):
    """A run of an official checkpoint, with the flags that it implies."""
    flags = ADAM | {"batch_size": "512"} | gat_runs.flags_of(checkpoint, path) | changes
    found = gat_runs.write_run(checkpoint, out, flags, path, vae)
    return out, found


@pytest.fixture(scope="module")
def run(recorded, checkpoint, vae_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "official"
    return converted(checkpoint, recorded.path, out, vae_weights.load(vae_file)[0])


@pytest.fixture(scope="module")
def folder(run, tmp_path_factory):
    """The run's official folder."""
    out = tmp_path_factory.mktemp("back") / "official"
    gat_runs.write_official(run[0], out)
    return out


def latest(run):
    return find_checkpoint(run / "checkpoints", "latest")[0]


def assert_close(actual, expected):
    np.testing.assert_allclose(keras.ops.convert_to_numpy(actual), expected, 0, TOLERANCE)


# ------------------------------------------------------------------------------------- networks


def test_a_file_of_each_part_gives_the_recorded_outputs(recorded, tmp_path):
    z, labels = recorded.inputs["z"], recorded.inputs["y"]
    networks = {}
    for part in gat_runs.PARTS:
        network, steps = gat_runs.open_official(recorded.path, part)
        assert steps == recorded.about["steps"]
        network.save(tmp_path / f"{part}.keras")
        networks[part] = keras.saving.load_model(tmp_path / f"{part}.keras")
    assert_close(networks["generator"](z, labels), recorded.latents())
    assert_close(networks["discriminator"](recorded.levels(), labels), recorded.outputs["D_logits"])
    state = read_torch(recorded.path)["ema"]
    for name, view in official_gat.official_names(networks["averaged"]).items():
        np.testing.assert_array_equal(view.array(), state[name], err_msg=name)


def test_a_generator_with_an_autoencoder_is_taken_as_it_is(
    recorded, checkpoint, vae_file, tmp_path, eagerly
):
    z, labels = recorded.inputs["z"], recorded.inputs["y"]
    decoded = gat_runs.with_autoencoder(checkpoint["generator"], vae_file)
    decoded.save(tmp_path / "decoded.keras")
    source = opening.open_model(tmp_path / "decoded.keras")
    vae, _ = vae_weights.load(vae_file)
    assert source.network.vae.tensors().keys() == vae.decoder_only().tensors().keys()
    expected = vae.decode(recorded.latents() / vae.scaling_factor)
    assert (source.num_classes, source.resolution) == (10, 16)
    assert_close(source.generate(z, labels), keras.ops.convert_to_numpy(expected))


def test_an_autoencoder_that_does_not_fit_is_refused(checkpoint, vae_file, tmp_path):
    other = tmp_path / "other.keras"
    AutoencoderKL(**VAE, latent_channels=3).save(other)
    with pytest.raises(InputError, match=r"vae=.*other\.keras: it does not fit .*3 channels"):
        gat_runs.with_autoencoder(checkpoint["ema"], other)
    with pytest.raises(InputError, match="it decodes what a generator makes"):
        gat_runs.with_autoencoder(checkpoint["discriminator"], vae_file)


# ----------------------------------------------------------------------------------------- runs


def test_flags_are_those_of_the_recorded_networks(recorded, checkpoint):
    flags = gat_runs.flags_of(checkpoint, "latest.pt")
    g, d = (recorded.about["config"][network] for network in "GD")
    for network, name in ((g, "g_shape"), (d, "d_shape")):
        sizes = (network[key] for key in ("hidden_size", "depth", "num_heads"))
        assert flags[name] == ",".join(map(str, sizes))
    numbers = {
        "latent_size": g["input_size"], "patch": g["patch_size"], "noise_dim": g["latent_size"],
        "num_classes": g["num_classes"], "class_dim": d["cmap_dim"], "levels": 4,
        "projector_dim": d["projector_dim"],
    }  # fmt: skip
    assert {name: int(flags[name]) for name in numbers} == numbers
    args = checkpoint["args"]
    assert float(flags["g_lr"]) == float(flags["d_lr"]) == args["learning_rate"]
    assert int(flags["batch_size"]) == args["batch_size"]
    images = recorded.about["steps"] * args["batch_size"]
    assert float(flags["total_kimg"]) == images / 1000
    assert (flags["system"], flags["teacher"]) == ("gat", "dinov2")


def test_a_run_generates_what_the_checkpoint_does(recorded, run):
    z, labels = recorded.inputs["z"], recorded.inputs["y"]
    path, found = run
    assert found == {"images": 1234 * 512, "step": 1234}
    source = opening.open_run(path, ema=False)
    assert source.about["kimg"] == 1234 * 0.512
    assert_close(source.network.generator(z, labels), recorded.latents())
    averaged = opening.open_run(path).network.generator
    assert_close(averaged.mean_style, read_torch(recorded.path)["ema"]["w_avg"])
    for part in ("g_optimizer", "d_optimizer"):
        assert not any(np.any(array) for array in read_part(latest(path), part))


def test_every_tensor_goes_there_and_back(recorded, folder):
    checkpoint = read_torch(recorded.path)
    for part in official_gat.PARTS:
        ours, theirs = load_file(folder / f"{part}.safetensors"), checkpoint[part]
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            assert ours[name].dtype == value.dtype and ours[name].shape == value.shape, name
            if name.startswith("feat_rope."):
                if part != "ema":  # recorded as 0.9 times everything, these tables too
                    np.testing.assert_allclose(ours[name], value, 0, 1e-6)
            elif part == "discriminator" or not name.startswith("x_embedder."):
                np.testing.assert_array_equal(ours[name], value, err_msg=name)
            else:  # multiplied by zero in the official code
                assert not ours[name].any()


def test_the_folder_makes_the_same_run(run, folder, tmp_path):
    again, found = converted(official_gat.read_checkpoint(folder), folder, tmp_path / "again")
    assert found == run[1]
    for part in PARTS:
        ours, expected = (read_part(latest(path), part) for path in (again, run[0]))
        assert len(ours) == len(expected) > 0
        for value, other in zip(ours, expected, strict=True):
            np.testing.assert_array_equal(value, other, err_msg=part)
    network, steps = gat_runs.open_official(folder / "ema.safetensors")
    assert steps == 1234
    weights = opening.open_run(run[0]).network.generator.get_weights()
    for ours, expected in zip(network.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(ours, expected)


# ------------------------------------------------------------------------------ what is refused


def test_files_that_are_no_such_network_are_refused_by_name(folder, tmp_path):
    state = load_file(folder / "ema.safetensors")
    del state["w_avg"]
    save_file(state, tmp_path / "half.safetensors")
    (tmp_path / "notes.txt").write_text("nothing")
    for path, part, message in (
        (tmp_path / "half.safetensors", "averaged", r"half\.\w+: .*1 missing \(w_avg\)"),
        (folder / "ema.safetensors", "discriminator", "discriminator: it is no discriminator"),
        (folder / "discriminator.safetensors", "averaged", "ema: it is no generator"),
        (tmp_path / "notes.txt", "averaged", r"notes\.txt: this PyTorch file cannot be read"),
        (tmp_path / "none.safetensors", "averaged", r"none\.safetensors: no such file"),
        (tmp_path, "averaged", r"ema\.safetensors: no such file"),
    ):
        with pytest.raises(InputError, match=message):
            gat_runs.open_official(path, part)
    with pytest.raises(InputError, match="it holds one network, not generator, ema"):
        official_gat.read_checkpoint(folder / "ema.safetensors")


def test_runs_that_flags_contradict_leave_nothing(recorded, checkpoint, tmp_path):
    (tmp_path / "there").mkdir()
    for changes, message in (
        ({"g_shape": "32,4,2"}, r"--g_shape=32,4,2: .*latest\.pt has g_shape=48,4,3"),
        ({"teacher": "none"}, "--teacher=none: .* has an alignment head of 24 features"),
        ({"beta1": "half"}, "latest.pt: could not convert"),
    ):
        with pytest.raises(InputError, match=message):
            converted(checkpoint, recorded.path, tmp_path / "run", **changes)
    with pytest.raises(InputError, match="it exists already"):
        converted(checkpoint, recorded.path, tmp_path / "there")
    assert {path.name for path in tmp_path.iterdir()} == {"there"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"args": {"batch_size": 0}}, r"x\.pt: args\.batch_size=0; give a positive integer"),
        ({"args": {"batch_size": math.inf}}, r"args\.batch_size=inf; give a positive integer"),
        ({"args": {"batch_size": 10**400}}, r"args\.batch_size=10.*0; give a positive integer"),
        ({"args": {"learning_rate": None}}, r"args\.learning_rate=None; give a number"),
        ({"args": {"learning_rate": math.nan}}, r"args\.learning_rate=nan; give a number"),
        ({"args": {"learning_rate": 10**400}}, r"args\.learning_rate=10+ "),
        ({"classes_of_d": 9}, "generator has num_classes=10, its .*=9"),
    ],
)
def test_what_a_checkpoint_says_of_its_run_is_checked(checkpoint, changes, message):
    if "classes_of_d" in changes:
        sizes = checkpoint["discriminator"].get_config() | {"num_classes": changes["classes_of_d"]}
        changes = {"discriminator": GatDiscriminator.from_config(sizes)}
    with pytest.raises(InputError, match=message):
        gat_runs.flags_of(checkpoint | changes, "x.pt")


def test_what_the_format_cannot_hold_is_refused(tiny_gat_run, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="levels=2; the official format has 4"):
        gat_runs.write_official(tiny_gat_run, tmp_path / "back")
    additive = types.SimpleNamespace(paper="GAT", attention="additive", levels=4)
    monkeypatch.setattr(gat_runs, "open_run_part", lambda *_: additive)
    with pytest.raises(InputError, match="attention=additive; the official format has dot_product"):
        gat_runs.write_official(tiny_gat_run, tmp_path / "back")
    assert not list(tmp_path.iterdir())


def test_files_and_runs_are_told_from_ladagans(recorded, run, folder, tmp_path):
    assert gat_runs.is_official(recorded.path)
    assert gat_runs.is_official(folder)
    assert not gat_runs.is_official(tmp_path)
    assert not gat_runs.is_official("hf:milmor/LadaGAN/ffhq_128")
    assert gat_runs.is_run(run[0])
    (tmp_path / "models.json").write_text('{"generator": {"class_name": "Generator"}}')
    assert not gat_runs.is_run(tmp_path)
