"""`train.py --init_from`: what a run takes from other networks, once, and what stays frozen."""

import json
import re
import sys
import types
import unittest.mock

import keras
import numpy as np
import pytest
from fake_hub import FakeHub
from golden_sets import GOLDEN
from paper_sizes import zero_weights
from small_generators import perturbed
from train_processes import run_each

from ladagan_tf import train
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.transfer import freeze, name_of
from ladagan_tf.official.initial import open_networks
from ladagan_tf.runs.checkpoints import Checkpoints, read_part
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.training import initial

PARTS = {"generator", "averaged", "discriminator"}
GENERATOR = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8,) * 3}
DISCRIMINATOR = {"widths": (4, 8), "num_heads": 2, "mlp_width": 8, "out_widths": (8, 8)}
GAT = {"latent_size": 8, "width": 16, "depth": 1, "num_heads": 2, "levels": 1, "noise_dim": 8}
TINY = [
    "--conditional",
    "--g_widths=16,16,16",
    "--g_heads=2,2,2",
    "--g_mlp_widths=8,8,8",
    "--noise_dim=8",
    "--d_widths=4,8",
    "--d_heads=2",
    "--d_mlp_width=8",
    "--d_out_widths=8,8",
    "--batch_size=4",
]
NO_SOURCE = {
    "nothing": "nothing: it is not there; give a run, its checkpoints/step-N, a .keras file",
    "set": "set: give a run, its checkpoints/step-N, a .keras file",
    "torn.keras": "torn.keras: this .keras file cannot be read",
    "classifier.keras": "classifier.keras: it is a Classifier; give a generator or a discriminator",
    "run/checkpoints/step-00000001": "it has no step-00000001; kept are step-00000002",
    "zoo:": "init_from=zoo:: the zoo has no such model; give zoo:emoji64",
}
REFUSALS = {
    "--init_from=zoo:nobody": "--init_from=zoo:nobody: .*the zoo has no such model",
    "--init_from=": "--init_from=: it is empty; give a value, or leave the flag out",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A set of 30 classes, and the run of unconditional networks to start from."""
    folder = tmp_path_factory.mktemp("init")
    prepare("shapes", folder / "set", resolution=32, num_images=30, workers=1)
    networks = {
        "generator": perturbed(Generator(**GENERATOR), 1),
        "averaged": perturbed(Generator(**GENERATOR, name="averaged_generator"), 2),
        "discriminator": perturbed(Discriminator(**DISCRIMINATOR), 3),
    }
    run = RunDirectory(folder / "run")
    run.start({}, [networks["generator"], networks["discriminator"]])
    state = {
        f"{part}/{i:03d}/{v.path}": v
        for part, network in networks.items()
        for i, v in enumerate(network.weights)
    }
    Checkpoints(run.checkpoints, state).save(step=2, images=500)
    networks["generator"].save(folder / "g.keras")
    Classifier(32, ["dark", "bright"]).save(folder / "classifier.keras")
    (folder / "torn.keras").write_bytes((folder / "g.keras").read_bytes()[:999])
    return folder


def given(folder, name, *flags):
    flags = [flag.replace("FOLDER", str(folder)) for flag in flags]
    paths = [f"--dataset={folder / 'set'}", f"--run_dir={folder / name}"]
    return [*paths, *TINY, f"--init_from={folder / 'run'}", "--freeze_d=2", *flags]


def without_steps(model, run, folder, flags, settings, metric, vae, contents, initial):
    """As `continue_run`, but of no steps."""
    about = {"contents": contents, "workers": 1, "replicas": 1}
    checkpoints = Checkpoints(run.checkpoints, model.state(), 2, about)
    went_on = checkpoints.restore_latest() is not None
    run.start(flags, (model.generator, model.discriminator), vae, initial)
    checkpoints.save(1 + went_on, 4)


@pytest.fixture(scope="module")
def outputs(folder):
    """By name, what starts of one process printed, and "code N" at the end."""
    starts = {flag: given(folder, "refused", flag) for flag in REFUSALS}
    starts["dry_run"] = [*given(folder, "refused"), "--dry_run", "--num_classes=5"]
    starts["whole"] = given(folder, "whole")
    # What networks begin with would take the most time, and is of no matter here.
    with zero_weights(), unittest.mock.patch.object(train, "continue_run", without_steps):
        found = dict(zip(starts, run_each([*starts.values()]), strict=True))
        source = folder / "run"
        source.rename(folder / "elsewhere")
        starts = {
            "gone": given(folder, "whole"),
            "moved": given(folder, "whole", "--init_from=FOLDER/elsewhere"),
            "other": given(folder, "whole", "--init_from=FOLDER/g.keras"),
        }
        found |= dict(zip(starts, run_each([*starts.values()]), strict=True))
        (folder / "elsewhere").rename(source)
    return found


def read(path, step, part):
    """Arrays of a network in a checkpoint, by their names below the network."""
    about = json.loads((path / "models.json").read_text())
    arrays = read_part(path / "checkpoints" / f"step-{step:08d}", part)
    name = "discriminator" if part == "discriminator" else "generator"
    network = keras.saving.deserialize_keras_object(about[name])
    return {name_of(w): a for w, a in zip(network.weights, arrays, strict=True)}


def test_a_run_takes_what_fits_and_says_what(outputs, folder):
    assert outputs["whole"].endswith("code 0\n"), outputs["whole"]
    log = (folder / "whole" / "log.txt").read_text()
    for said in (outputs["whole"], log, outputs["dry_run"]):
        assert "step-00000002, 0.5 kimg, SHA-256" in said
        assert "averaged: of the averaged 88 of 95 arrays were taken, 9" in said
        assert "positions_8, part of block_8, conv_16" in said
        assert "new: block_8/attention_norm/class_hidden/kernel, block_8/mlp_norm/class_" in said
        assert "discriminator: new: to_class, classes" in said
        assert "discriminator: kept as they are: from_rgb, down_16" in said
    about = json.loads((folder / "whole" / "initial.json").read_text())
    taken = about["networks"]["discriminator"]
    assert set(taken["new"]) == {"classes/table", "to_class/kernel"} and not taken["left_out"]
    for part in PARTS:
        theirs, ours = read(folder / "run", 2, part), read(folder / "whole", 1, part)
        assert set(about["networks"][part]["taken"]) == theirs.keys()
        for name, value in theirs.items():
            np.testing.assert_array_equal(ours[name], value, name)


def test_a_run_that_goes_on_needs_no_source_but_accepts_no_other(outputs, folder):
    for name in ("gone", "moved"):
        assert outputs[name].endswith("code 0\n"), outputs[name]
        assert "it goes on from its checkpoint; --init_from was for its start" in outputs[name]
        assert "arrays were taken" not in outputs[name]
    assert outputs["other"].endswith("code 2\n")
    assert re.search("--init_from=.*g.keras holds something else", outputs["other"])
    assert (folder / "whole" / "initial.json").is_file()


@pytest.mark.parametrize("flag", REFUSALS)
def test_what_does_not_fit_is_refused_in_one_line(outputs, folder, flag):
    assert outputs[flag].endswith("code 2\n"), outputs[flag]
    assert re.search(REFUSALS[flag], outputs[flag]), outputs[flag]
    assert "Traceback" not in outputs[flag] and not (folder / "refused").exists()


@pytest.mark.parametrize("name", NO_SOURCE)
def test_what_is_no_source_is_refused_in_one_line(folder, name):
    with pytest.raises(InputError, match=NO_SOURCE[name]) as refused:
        open_networks(name if name == "zoo:" else str(folder / name))
    assert "\n" not in str(refused.value)


def test_a_source_of_another_system_or_size_is_refused_and_so_is_freezing_what_is_new(folder):
    networks, _ = open_networks(str(folder / "run"))
    theirs = {"averaged": Generator(**{**GENERATOR, "noise_dim": 4, "widths": (8, 8, 8)})}
    trained = {name: networks[name] for name in ("generator", "discriminator")}
    gan = types.SimpleNamespace(**networks, networks=trained)
    with pytest.raises(InputError, match="x: nothing of it fits, as latent_to_tokens/kernel of"):
        initial.start_from(gan, theirs, "x")
    with pytest.raises(InputError, match="its averaged is a GatGenerator, this run has a Generat"):
        initial.start_from(gan, {"averaged": GatGenerator(**GAT)}, "x")
    freeze(gan.discriminator, 1)
    with pytest.raises(InputError, match="x: it has no from_rgb/kernel that fits the discrimin"):
        initial.start_from(gan, {"generator": gan.generator}, "x")


def test_a_file_has_one_generator_and_a_checkpoint_may_be_named(folder):
    for source, parts in (
        (folder / "g.keras", {"averaged"}),
        (folder / "run" / "checkpoints" / "step-00000002", PARTS),
    ):
        networks, _ = open_networks(str(source))
        assert networks.keys() == parts and networks["averaged"].compute_dtype == "float32"


def test_the_authors_weights_of_both_papers_are_opened_the_one_from_the_hub(
    folder, gat_checkpoint, monkeypatch
):
    hub = FakeHub(GOLDEN / "ladagan_checkpoint", folder / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    for source, kind in (("hf:user/repo/ckpt_32", Generator), (str(gat_checkpoint), GatGenerator)):
        networks, _ = open_networks(source)
        assert networks.keys() == PARTS and type(networks["averaged"]) is kind
