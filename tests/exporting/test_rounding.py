"""What rounded weights cost is told, and beyond a limit nothing is kept."""

import dataclasses

import numpy as np
import pytest

from ladagan_tf import zoo
from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import default_path
from ladagan_tf.exporting import formats, rounding
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.sampling import opening


def grey(value):
    return lambda z: np.full((len(z), 32, 32, 3), value, np.float32)


def test_pictures_that_differ_too_much_are_not_kept(small, tmp_path, monkeypatch):
    exact = formats.FORMATS["onnx"]
    form = dataclasses.replace(
        exact, write=lambda network, path, weights: None, load=lambda path: grey(25 / 127.5 - 1)
    )
    monkeypatch.setitem(formats.FORMATS, "onnx", form)
    live = dataclasses.replace(small, generate=grey(-1.0))  # 25 of 255 grey levels below
    options = {"weights": "int8", "say": lambda line: None}
    with pytest.raises(InputError, match=r"weights=int8: as onnx, PSNR 20\.2 dB, .*min_psnr=30"):
        formats.export(live, tmp_path / "out", ["onnx"], **options)
    assert not list(tmp_path.iterdir())
    formats.export(live, tmp_path / "out", ["onnx"], min_psnr=20.0, **options)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`generator.onnx` stores int8: PSNR 20.2 dB, mean difference 25.00 and" in card
    assert "fcd not measured: a file alone has no classifier beside it." in card


@pytest.mark.usefixtures("eagerly")
def test_the_distance_is_that_of_the_model_s_own_entry(monkeypatch):
    monkeypatch.setattr(rounding, "MEASURED", 8)
    monkeypatch.setattr(rounding, "COMPARED", 4)
    sampler = opening.open_model("zoo:shapes")
    compare = rounding.Comparison(sampler)
    psnr, same = compare(sampler.generate)
    assert psnr == np.inf and same.startswith("the same pictures, mean difference 0.00 and")
    assert same.endswith(", +0.00 against the live model's") and "fcd of 8 images " in same
    _, worse = compare(lambda *inputs: 0 * sampler.generate(*inputs))
    before, after = (float(words.split("images ")[1].split(",")[0]) for words in (same, worse))
    assert after > before and worse.endswith(f", {after - before:+.2f} against the live model's")


def test_a_run_is_measured_against_its_set_if_that_has_its_classifier(run, small):
    info = dataset_info.load_info(run.path.with_name("shapes"))
    path = default_path(info.folder)
    assert rounding.find_reference(small, run) == (
        None,
        f"there is no classifier of the run's set, {path}",
    )
    for sha256, found in (("another", None), (info.content_sha256, str(info.folder))):
        Classifier(32, info.classes, {"content_sha256": sha256}).save(path)
        reference, _ = rounding.find_reference(small, run)
        assert reference == (found and (found, f"classifier:{path}"))


def test_a_file_of_an_entry_has_the_entry_s_reference(small):
    file = zoo.FOLDER / "shapes" / "generator.float16.keras"
    opened = dataclasses.replace(small, about={"model": str(file)})
    (real, features), _ = rounding.find_reference(opened)
    assert real == str(file.with_name("reference.npz"))
    assert features == f"classifier:{file.with_name('classifier.keras')}"
