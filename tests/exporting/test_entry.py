"""`--format=zoo`: one command makes of a run an entry that says where everything in it is from."""

import dataclasses
import hashlib
import json

import numpy as np
import pytest
from in_process import command, error_line

from ladagan_tf import export, zoo
from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import default_path
from ladagan_tf.exporting import card, entry, formats
from ladagan_tf.flags import export as export_flags
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.sampling import opening, seeds

pytestmark = pytest.mark.usefixtures("eagerly")  # one or two batches of each network


@pytest.fixture
def measurable(run, monkeypatch):
    """The run, with an untrained classifier beside its set."""
    folder = run.path.with_name("shapes")
    info = dataset_info.load_info(folder)
    classifier = Classifier(32, info.classes, {"content_sha256": info.content_sha256})
    classifier.save(default_path(folder))
    monkeypatch.setattr(entry, "COUNT", 8)
    monkeypatch.setattr(formats, "BATCHES", (2,))
    monkeypatch.setattr(formats, "COLUMNS", 2)
    return run


@pytest.mark.slow
def test_an_entry_is_its_run_and_tells_where_it_is_from(measurable, tmp_path):
    out = tmp_path / "zoo" / "small"
    arguments = [f"--run_dir={measurable.path}", "--format=zoo", f"--out={out}"]
    with command(export, export_flags.define) as main:
        main(*arguments, "--data_licence=CC0, drawn | here")
    about = json.loads((out / zoo.ABOUT).read_text())
    assert (about["name"], about["makes"]) == ("small", "LadaGAN 32 x 32")
    assert about["data"]["licence"] == "CC0, drawn | here" and about["data"]["count"] == 6
    assert about["trained"]["flags"]["batch_size"] == "4"
    assert (about["trained"]["kimg"], about["trained"]["ema"]) == (0.5, True)
    assert [m["value"] for m in about["measured"]] == [3.25]  # the latest of these weights
    assert "--format=zoo" in about["exported"]["command"]
    assert "source: CC0, drawn / here." in (out / "README.md").read_text()
    for name, file in about["files"].items():
        assert file["sha256"] == hashlib.sha256((out / name).read_bytes()).hexdigest()

    z = seeds.latents(range(2), 8)
    run, stored = opening.open_run(measurable.path), opening.open_model(out)
    assert 0.0 < np.abs(run.network(z) - stored.network(z)).max() < 5e-3
    assert about["float16"]["largest_levels"] <= 1
    again = entry.measure(stored, out, "small")
    assert again["name"] == "fcd_classifier_8_vs_6" == about["check"]["name"]
    assert again["value"] == pytest.approx(about["check"]["value"], rel=1e-3)
    assert again["protocol"]["generated"] == about["check"]["protocol"]["generated"]


def test_what_is_too_large_leaves_nothing(measurable, small, tmp_path, monkeypatch):
    def fill(folder, *_):
        (folder / entry.GENERATOR).write_bytes(bytes(int(entry.MOST)))

    monkeypatch.setattr(formats, "fill", fill)
    with pytest.raises(InputError, match=r"format=zoo: 8[.]\d+ MB in all; at most 8 MB"):
        entry.write(small, tmp_path / "out", measurable, "CC0")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))


def test_a_run_that_names_no_set_is_one_line(run, small, tmp_path):
    run.flags_file.write_text("--system=lada\n")
    with pytest.raises(InputError, match=r"format=zoo: .*flags\.cfg names no --dataset"):
        entry.write(small, tmp_path / "out", run, "CC0")


def test_a_folder_that_holds_another_set_than_the_runs_is_one_line(
    run, small, tmp_path, monkeypatch
):
    monkeypatch.setattr(card, "recorded_content", lambda run: "0123456789abcdef")
    with pytest.raises(InputError, match=r"shapes has another content, .* on, 0123456789ab\.\.;"):
        entry.write(small, tmp_path / "out", run, "CC0")
    assert not (tmp_path / "out").exists()


def test_float16_is_half_the_size_and_rounded_to_nearest(small, tmp_path):
    formats.FORMATS["keras"].write(small.network, tmp_path / "whole.keras")
    formats.FORMATS["float16"].write(small.network, tmp_path / "half.keras")
    whole, half = ((tmp_path / f"{name}.keras").stat().st_size for name in ("whole", "half"))
    assert half < 0.6 * whole
    loaded = opening.open_model(tmp_path / "half.keras").network
    assert {w.dtype for w in loaded.weights} == {"float32"}
    for ours, theirs in zip(small.network.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_allclose(theirs, ours, rtol=2**-11, atol=2**-25)  # float16's rounding


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format=zoo,keras", "--run_dir=r"], "format=zoo,keras: zoo is written alone"),
        (["--format=zoo", "--model=m.keras"], "format=zoo: it needs --run_dir"),
        (
            ["--model=m.keras", "--min_psnr=40"],
            "--min_psnr=40.0: it needs --weights=float16 or int8",
        ),
        (["--format=zoo", "--run_dir=r"], "and --data_licence, the licence of the training"),
    ],
)
def test_what_an_export_needs_is_asked_for_first(arguments, message, tmp_path, capsys):
    with command(export, export_flags.define) as main:
        assert message in error_line(main, [*arguments, f"--out={tmp_path / 'o'}"], capsys)
    assert not list(tmp_path.iterdir())


def test_a_model_of_the_zoo_is_exported_with_its_licence(small, tmp_path, monkeypatch):
    given = []
    monkeypatch.setattr(formats, "export", lambda *arguments, **_: given.extend(arguments))
    with command(export, export_flags.define) as main:
        main("--model=zoo:shapes", "--format=keras", f"--out={tmp_path / 'out'}")
    sampler, *_, licence = given
    told = json.loads((zoo.FOLDER / "shapes" / zoo.ABOUT).read_text())
    assert licence == told["data"]["licence"]
    card.write(tmp_path, dataclasses.replace(small, about=sampler.about), {}, [1], None, licence)
    text = (tmp_path / "README.md").read_text()
    assert f"source: {licence}." in text and "Exported from zoo:shapes, a model that comes" in text
