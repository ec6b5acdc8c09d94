"""`benchmarks/gpu_run.py`: trained under JAX without TensorFlow, joined to a run here."""

import importlib.util
import json
import shutil

import keras
import numpy as np
import pytest
from gpu_runs import (
    CONVOLUTIONS,
    FLAGS,
    REFUSED,
    ROOT,
    WRONG,
    classes_of,
    images_of,
    latents_of,
    runs,
    wrong_files,
)
from in_process import command, error_line
from PIL import Image

from examples import set_as_npz
from ladagan_tf import convert
from ladagan_tf.data import pipeline
from ladagan_tf.data.pipeline import make_dataset
from ladagan_tf.data.preparation import prepare
from ladagan_tf.evaluation.classifier import load_classifier
from ladagan_tf.evaluation.frechet import frechet_distance
from ladagan_tf.evaluation.metrics import density_coverage, precision_recall
from ladagan_tf.flags import convert as convert_flags
from ladagan_tf.pictures import MARGIN, to_uint8
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling.opening import open_run
from ladagan_tf.sampling.seeds import latents
from ladagan_tf.studies.outcome import read_results

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="jax is not installed"),
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory):
    """A folder with what runs of a few steps bring back, and what was said of flags and files.

    One process of everything, but for the run of programs that it compiled: a process that imports
    JAX and Keras takes as long as to compile a network.
    """
    folder = tmp_path_factory.mktemp("gpu")
    carried = images_of(folder / "carried")
    ours = classes_of(folder / "classes"), latents_of(folder / "latents")
    given = f"--flagfile={folder}/carried/tiny.cfg"
    refused = [f"{given} {word}" for word in REFUSED]
    refused += wrong_files(folder, folder / "latents/latents.npz")
    trained = [carried + " --compile_for=here", *ours]
    convolutions = CONVOLUTIONS.replace("FILE", str(folder / "convolutions.npz"))
    refused = [f"{line} --out={folder}/nowhere" for line in refused]
    said = runs(*trained, *refused, before=convolutions)
    said += runs(f"{carried} --programs={folder}/carried/out/programs.bin")
    assert said[:3] + said[-1:] == ["None"] * 4, said
    return folder, said[3:-1]


@pytest.fixture(scope="module")
def carried(ended):
    """What a run of a few steps brings back."""
    return ended[0] / "carried/out"


@pytest.fixture(scope="module")
def classes(ended):
    """What two seeds of a run with classes bring back."""
    return ended[0] / "classes/out"


@pytest.fixture(scope="module")
def latents_of_classes(ended):
    """What a step of a flow on a set of latents brings back; beside it, the set and its VAE."""
    return ended[0] / "latents"


def test_other_flags_than_its_loop_looks_at_and_other_files_are_one_line(ended):
    folder, said = ended
    assert len(said) == len(REFUSED) + len(WRONG) and not (folder / "nowhere").exists()
    assert all(line.startswith("2 error: ") for line in said), said
    for line, beginning in zip(said, REFUSED.values(), strict=False):
        assert line.removeprefix("2 error: ").startswith(beginning)
    for line, message in zip(said[len(REFUSED) :], WRONG, strict=True):
        assert message in line


def test_seeds_train_at_once_each_from_its_own_start(classes):
    first, second = (
        json.loads((classes / f"seed-{seed}/stats.jsonl").read_text().splitlines()[0])
        for seed in (3, 4)
    )
    assert first["step"] == second["step"] == 2 and first["augment_p"] == 0.0
    assert first["d_loss"] != second["d_loss"]
    assert json.loads((classes / "seed-4/run.json").read_text())["flags"]["seed"] == 4


def test_a_file_that_is_waited_for_keeps_its_content(classes):
    assert (classes.parent / "tiny.cfg").read_text().startswith(FLAGS)


def test_a_run_with_labels_becomes_a_conditional_run(classes, tmp_path):
    names = ("cat", "dog", "hen")
    for name in names:
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (32, 32)).save(tmp_path / "photos" / name / "1.png")
    prepare(str(tmp_path / "photos"), tmp_path / "set", resolution=32)
    with command(convert, convert_flags.define) as main:
        main(
            f"--gpu_run={classes / 'seed-3'}",
            f"--out={tmp_path / 'run'}",
            f"--dataset={tmp_path / 'set'}",
        )
    sampler = open_run(tmp_path / "run")
    assert sampler.num_classes == 3 and sampler.network.class_names == names
    table = keras.ops.convert_to_numpy(sampler.network.class_to_tokens.kernel)
    assert table.any()  # it has learned from the labels
    z = np.zeros((2, 8), np.float32)
    images = np.asarray(sampler.generate(z, np.int32([0, 2])))
    assert np.isfinite(images).all() and np.any(images[0] != images[1])


def test_latents_are_decoded_where_their_autoencoder_is(latents_of_classes, tmp_path, capsys):
    folder = latents_of_classes
    carried = [f"--gpu_run={folder / 'out'}", f"--out={tmp_path / 'run'}"]
    with command(convert, convert_flags.define) as main:
        line = error_line(main, carried, capsys)
        assert line.startswith("error: --dataset=nowhere: no prepared set, whose autoencoder")
        assert not (tmp_path / "run").exists()
        carried.append(f"--dataset={folder / 'latents'}")
        shutil.copytree(folder / "out", tmp_path / "damaged")
        np.save(tmp_path / "damaged/samples.npy", np.zeros(4, np.float16))
        damaged = [f"--gpu_run={tmp_path / 'damaged'}", *carried[1:]]
        line = error_line(main, damaged, capsys)
        assert "samples.npy: float16 of shape (4,); floats (rows, columns, 8, 8, 4)" in line
        line = error_line(main, [*carried, "--system=gat"], capsys)
        assert line.startswith("error: --system=gat: ") and line.endswith(" is of --system=flow")
        assert not (tmp_path / "run").exists()
        main(*carried)
    said = capsys.readouterr().out
    assert "flow, 0.004 kimg, step 2" in said and "--force" not in said
    sampler = open_run(tmp_path / "run")
    assert (sampler.resolution, sampler.network.class_names) == (16, ("cat", "dog"))
    vae = keras.saving.load_model(folder / "vae.keras")
    latents = np.load(folder / "out/samples.npy")  # (6, 10, 8, 8, 4)
    wanted = vae.decode(latents[5, 9:].astype("float32") / 0.5)
    shown = np.asarray(Image.open(tmp_path / "run/samples/samples.png"))
    assert shown.shape[:2] == (6 * 16 + 5 * MARGIN, 10 * 16 + 9 * MARGIN)
    np.testing.assert_array_equal(shown[-16:, -16:], to_uint8(wanted)[0])


def test_a_set_as_npz_is_the_set(latents_of_classes):
    folder = latents_of_classes
    with np.load(folder / "latents.npz") as file:
        (batch, labels), *_ = make_dataset(folder / "latents", batch_size=2, seed=0).take(1)
        order = np.argsort(labels)
        assert file["scaling_factor"] == 0.5 and file["labels"].dtype.kind == "i"
        np.testing.assert_array_equal(
            file["moments"][np.argsort(file["labels"])], batch["moments"].numpy()[order]
        )


def test_where_no_npz_can_be_made_is_refused(latents_of_classes, tmp_path, capsys, monkeypatch):
    with command(set_as_npz, set_as_npz.define) as main:
        given = [f"--dataset={latents_of_classes / 'latents'}", f"--out={tmp_path / 'a'}"]
        assert error_line(main, given, capsys).endswith("a: it must end in .npz")
        assert not list(tmp_path.iterdir())
        (tmp_path / "a.npz").touch()
        monkeypatch.setattr(pipeline, "iterate", None)  # before it is read
        assert "it exists already" in error_line(main, [given[0], f"{given[1]}.npz"], capsys)


def test_a_convolution_as_a_product_of_matrices_is_the_convolution(ended):
    with np.load(ended[0] / "convolutions.npz") as found:
        products = [name for name in found if name.endswith("product")]
        assert len(products) == 6
        for name in products:
            wanted = found[name.replace("product", "keras")]
            np.testing.assert_allclose(found[name], wanted, atol=1e-5)


def test_a_line_of_statistics_and_pictures_come_back(carried):
    line = json.loads((carried / "stats.jsonl").read_text().splitlines()[0])
    assert (line["step"], line["kimg"]) == (2, 0.004)
    assert all(np.isfinite(value) for value in line.values())
    assert line["clipped"] < 1.0
    assert {"samples.png", "progress.png", "run.json", "weights-0.npy", "at-0"} <= {
        path.name for path in carried.iterdir()
    }


def test_it_becomes_a_run_that_makes_the_images_of_its_weights(carried, tmp_path, capsys):
    with command(convert, convert_flags.define) as main:
        main(f"--gpu_run={carried}", f"--out={tmp_path / 'run'}")
    said = capsys.readouterr().out
    assert "to train it further: python train.py" in said and " --dataset=SET --force" in said
    about = json.loads((carried / "run.json").read_text())
    network = keras.saving.deserialize_keras_object(about["networks"]["averaged"]["config"])
    values = np.load(carried / "weights-0.npy").astype("float32")
    arrays, start = [], 0
    for shape in about["networks"]["averaged"]["shapes"]:
        arrays.append(values[start : start + np.prod(shape)].reshape(shape))
        start += np.prod(shape)
    network.set_weights(arrays)
    z = np.random.default_rng(1).standard_normal((2, 8)).astype("float32")
    command_there = RunDirectory(tmp_path / "run").starts()[0]["command"]
    assert command_there[0] == "benchmarks/gpu_run.py" and "--steps_per_call=2" in command_there
    sampler = open_run(tmp_path / "run")
    assert sampler.about["kimg"] == about["images"] / 1000
    np.testing.assert_allclose(sampler.generate(z), network(z), rtol=1e-5, atol=1e-6)


def test_it_is_measured_there_as_it_would_be_here(carried, tmp_path):
    """By the classifier, of as many samples as half of the images, against the other half."""
    with command(convert, convert_flags.define) as main:
        main(f"--gpu_run={carried}", f"--out={tmp_path / 'run'}")
    sampler = open_run(tmp_path / "run")
    images = np.load(carried.parent / "images.npz")["images"]
    classifier = load_classifier(carried.parent / "classifier.keras")
    samples = to_uint8(sampler.generate(latents(range(6), 8)))
    fake, real = (np.asarray(classifier(x)["features"], np.float64) for x in (samples, images[6:]))
    moments = [m for f in (fake, real) for m in (f.mean(axis=0), np.cov(f, rowvar=False))]
    line = json.loads((carried / "metrics.jsonl").read_text().splitlines()[-1])
    assert line["fcd"] == pytest.approx(frechet_distance(*moments), rel=1e-3)
    assert (line["precision"], line["recall"]) == precision_recall(real, fake, 3)
    assert line["coverage"] == density_coverage(real, fake, 5)[1]


def test_runs_of_a_study_become_its_table(carried, tmp_path, capsys, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    gpu_study = importlib.import_module("gpu_study")
    shutil.copytree(carried, tmp_path / "back/plain-one/seed-0")
    arguments = [
        f"--base={carried.parent / 'tiny.cfg'}",
        "--study=tiny",
        "--system=Plain one: --g_lr=1e-3 --metric_kimg=5",
        "--seeds=0,1",
    ]
    with command(gpu_study, gpu_study.define) as main:
        for given, message in (
            (arguments[:1], "--study is required: "),
            (arguments, "--folder is required without --commands"),
            ([*arguments, "--folder=a"], "--out is required without --commands"),
            ([*arguments, "--cost"], "--cost: study.py has it, gpu_study.py has not"),
        ):
            assert message in error_line(main, given, capsys)
        main(*arguments, "--commands")
        [told] = capsys.readouterr().out.splitlines()
        assert told.startswith("plain-one\t--dataset=nowhere ")
        assert told.endswith("--g_lr=1e-3 --seeds=0,1")
        main(*arguments, f"--folder={tmp_path / 'back'}", f"--out={tmp_path / 'out'}")
    [row] = read_results(tmp_path / "out")
    last = json.loads((carried / "metrics.jsonl").read_text().splitlines()[-1])
    assert row["metrics"]["fcd"] == pytest.approx(last["fcd"], rel=1e-5)
    assert row["gradients"]["clipped"] is not None and row["environment"]["gpus"] == ["cpu"]
    assert {"table.md", "over_time.png", "samples.jpeg"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }


def change(folder, **fields):
    """Changes fields of run.json, or of the flags in it."""
    about = json.loads((folder / "run.json").read_text())
    about["flags"] |= {name: fields.pop(name) for name in list(fields) if name not in about}
    (folder / "run.json").write_text(json.dumps({**about, **fields}))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "run.json").unlink(), "no run.json in it"),
        (lambda folder: (folder / "run.json").write_text("{}"), "run.json: this description"),
        (lambda folder: (folder / "weights-0.npy").unlink(), "weights-0.npy"),
        (lambda folder: change(folder, parts={}), "far more weights than the 0 that"),
        (
            lambda folder: change(folder, networks={"averaged": {}}),
            " values of averaged; the flags describe ",
        ),
        (
            lambda folder: change(folder, g_widths="32000000,8,8"),
            "run.json: its configuration asks",
        ),
        (lambda folder: change(folder, parts={"": "0"}), "a part is called ''; give names of"),
        (lambda folder: change(folder, parts={"../x": "0"}), "a part is called '../x'; give"),
        (lambda folder: change(folder, step=10**30), "description of a run cannot be read (step 1"),
        (lambda folder: change(folder, flags={"system": "lad"}), "system=lad; give one of lada, "),
        (lambda folder: (folder / "weights-0.npy").write_bytes(b"x"), "is not the part that was"),
    ],
)
def test_what_is_incomplete_or_damaged_is_one_line(carried, tmp_path, capsys, spoil, message):
    folder = tmp_path / "carried"
    shutil.copytree(carried, folder)
    spoil(folder)
    with command(convert, convert_flags.define) as main:
        line = error_line(main, [f"--gpu_run={folder}", f"--out={tmp_path / 'run'}"], capsys)
    assert message in line
    assert not (tmp_path / "run").exists()
