"""`train.py --conditional`, and what samples, measures and exports such a run."""

import json
import re

import keras
import numpy as np
import pytest
from in_process import command, outcome
from PIL import Image
from train_processes import run_named, variables

from ladagan_tf import evaluate, export, generate, pictures
from ladagan_tf.data.preparation import prepare
from ladagan_tf.flags import evaluate as evaluate_flags
from ladagan_tf.flags import export as export_flags
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.sampling import opening, seeds

STEPS, BATCH, CLASSES = 2, 4, 2
TINY = [
    "--conditional",
    "--class_tokens",
    "--bcr",
    "--g_widths=16,16,16",
    "--g_heads=2,2,2",
    "--g_mlp_widths=8,8,8",
    "--noise_dim=8",
    "--d_widths=4,8",
    "--d_heads=2",
    "--d_mlp_width=8",
    "--d_out_widths=8,8",
    f"--batch_size={BATCH}",
    f"--total_kimg={STEPS * BATCH / 1000}",
    "--log_kimg=0.004",
    "--sample_kimg=0.004",
    "--checkpoint_kimg=0.004",
    "--grid=2",
    "--seed=3",
]
REFUSALS = {
    "--num_classes=3": "--num_classes=3: --dataset=.* has num_classes=2",
    "--num_classes=0": "--num_classes=0: it must be a finite number greater than 0",
    "--noconditional": "--class_tokens: it needs --conditional",
    "--dataset=FOLDER/unlabelled": "--conditional: the images of --dataset=.*/unlabelled have no",
    "--class_head=other": "class_head=other",
    "--system=gat": "--.*: there is no such flag with --system=gat",
}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eagerly")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """120 images of two classes, and as many without any."""
    folder = tmp_path_factory.mktemp("conditional")
    rng = np.random.default_rng(0)
    labels = np.arange(120) % CLASSES
    images = rng.integers(0, 128, (120, 32, 32, 3), np.uint8) + labels[:, None, None, None] * 100
    np.savez(folder / "images.npz", images=images.astype(np.uint8), labels=labels)
    np.savez(folder / "bare.npz", images=images.astype(np.uint8))
    for source, name in (("images.npz", "set"), ("bare.npz", "unlabelled")):
        prepare(str(folder / source), folder / name, resolution=32, workers=1)
    keras.utils.set_random_seed(0)
    Classifier(32, ["dark", "bright"]).save(folder / "classifier.keras")
    return folder


def given(folder, name, *flags):
    return [f"--dataset={folder / 'set'}", f"--run_dir={folder / name}", *TINY, *flags]


@pytest.fixture(scope="module")
def outputs(folder):
    """By name, what starts of one process printed, and "code N" at the end."""
    starts = {"whole": given(folder, "whole")}
    for flag in REFUSALS:
        starts[flag] = given(folder, "refused", flag.replace("FOLDER", str(folder)))
    starts["described"] = given(folder, "described", "--dry_run", "--num_classes=7")
    starts["of the set"] = given(folder, "described", "--dry_run")
    return run_named(starts)


@pytest.fixture(scope="module")
def run(folder, outputs):
    """The path of a run."""
    assert outputs["whole"].endswith("code 0\n"), outputs["whole"]
    return folder / "whole"


def test_a_conditional_run_learns_its_classes(run):
    learned = [v for n, v in variables(run, STEPS).items() if "class" in n and "optimizer" not in n]
    assert len(learned) >= 3 * 6 and all(np.any(value) for value in learned)


def test_sample_grids_have_a_class_per_row_and_an_attention_sheet(run):
    names = {path.name for path in (run / "samples").iterdir()}
    kimg = ("000000.000", "000000.004", "000000.008")
    assert names == {f"{kind}_{k}kimg.png" for kind in ("samples", "attention") for k in kimg}
    about = json.loads((run / "models.json").read_text())
    assert [about[n]["config"]["num_classes"] for n in ("generator", "discriminator")] == [2, 2]


@pytest.mark.parametrize("flag", REFUSALS)
def test_what_does_not_fit_is_refused_in_one_line(outputs, folder, flag):
    assert outputs[flag].endswith("code 2\n"), outputs[flag]
    assert re.search(REFUSALS[flag], outputs[flag]), outputs[flag]
    assert "Traceback" not in outputs[flag] and not (folder / "refused").exists()


def test_a_dry_run_describes_networks_of_any_number_of_classes(outputs):
    assert outputs["described"].endswith("code 0\n"), outputs["described"]
    assert "--num_classes=7" in outputs["described"] and "classes" in outputs["described"]
    assert outputs["of the set"].endswith("code 0\n"), outputs["of the set"]  # which has 2


def test_chosen_classes_are_generated_a_row_each(run, tmp_path):
    out = tmp_path / "classes.png"
    with command(generate, generate_flags.define) as call:
        arguments = [f"--run_dir={run}", "--seeds=0-2", f"--out={out}"]
        status, said, error = outcome(call, [*arguments, "--classes=1,0"])
        assert status == 0 and "a row for each class of 1; 0" in said, error
        attended = outcome(call, [*arguments[:2], "--attention", f"--out={tmp_path / 'a.png'}"])
        bad = outcome(call, [*arguments, "--classes=2"])
    assert attended[0] == 0 and (tmp_path / "a.png").exists(), attended
    assert bad[0] == 2 and bad[2].startswith("error: classes=2: give numbers from 0 to 1, or")
    sampler = opening.open_run(run)
    z = seeds.latents(range(3), 8)
    rows = [np.asarray(sampler.generate(z, np.full(3, c, np.int32))) for c in (1, 0)]
    assert np.abs(rows[0] - rows[1]).max() > 1e-5  # two steps from alike
    expected = pictures.grid(pictures.to_uint8(np.concatenate(rows)), 3)
    assert np.abs(np.asarray(Image.open(out), int) - expected).max() <= 1


def test_a_run_is_measured_class_by_class(folder, run):
    given = [f"--run_dir={run}", f"--features=classifier:{folder / 'classifier.keras'}"]
    given += ["--metrics=fcd", "--by_class", "--num_samples=160", "--labels=proportional"]
    with command(evaluate, evaluate_flags.define) as call:
        status, said, error = outcome(call, given)
    assert status == 0, error
    assert "labels proportional" in said and "intra_fcd" in said
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    (intra,) = (record for record in records if record["metric"] == "intra_fcd")
    assert list(intra["details"]["by_class"]) == ["0", "1"]


def test_a_run_is_exported_with_labels(run, tmp_path):
    out = tmp_path / "export"
    with command(export, export_flags.define) as call:
        arguments = [f"--run_dir={run}", "--format=keras", f"--out={out}"]
        status, _, error = outcome(call, arguments)
    assert status == 0, error
    card = (out / "README.md").read_text()
    assert "- num_classes: 2\n" in card
    # A SavedModel of a conditional generator is opened in exporting/test_formats.py.
    exported, live = opening.open_model(out / "generator.keras"), opening.open_run(run)
    assert exported.num_classes == 2 and exported.class_names == live.class_names == ("0", "1")
    z, labels = seeds.latents(range(3), 8), np.int32([1, 0, 1])
    np.testing.assert_allclose(
        exported.generate(z, labels), live.generate(z, labels), rtol=1e-5, atol=1e-5
    )
