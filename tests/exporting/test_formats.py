"""What is exported computes the same images elsewhere, or nothing is left of it."""

import dataclasses
import sys
import types
import unittest.mock
import zipfile
from importlib.util import find_spec

import keras
import numpy as np
import pytest
import tensorflow as tf
from in_process import command, error_line

from ladagan_tf import export
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import formats
from ladagan_tf.flags import export as export_flags

pytestmark = pytest.mark.usefixtures("eagerly")  # images of many networks, few of each


@pytest.fixture
def brief(monkeypatch):
    monkeypatch.setattr(formats, "BATCHES", (2,))
    monkeypatch.setattr(formats, "COLUMNS", 2)


def test_a_truncated_generator_is_not_exported(gat, tmp_path):
    with pytest.raises(InputError, match="what is exported has psi=1 and guidance=1"):
        formats.export(gat.at(0.5), tmp_path / "out", ["keras"])


def test_large_images_are_compared_in_small_batches(small):
    assert formats.batches(small) == [1, 7, 64]
    assert formats.batches(dataclasses.replace(small, resolution=256)) == [1, 7, 16]
    assert formats.batches(dataclasses.replace(small, resolution=2048)) == [1]


# A CAT's generator is a GAT's with more in it; its ONNX file, with all that it can, is compared in
# test_web.py. So are SavedModels in test_endpoints.py, and a LadaGAN's in test_litert_file.py.
@pytest.mark.parametrize(
    "kind, wanted",
    [
        ("conditional", ["onnx", "keras", "float16"]),
        pytest.param("cat", ["litert", "float16"], marks=pytest.mark.slow),
    ],
)
def test_files_of_formats_compute_the_same_images(kind, wanted, request, tmp_path, monkeypatch):
    monkeypatch.setattr(formats, "BATCHES", (1, 7))
    monkeypatch.setattr(formats, "COLUMNS", 2)
    needs = {name: formats.FORMATS[name].modules for name in wanted}
    missing = {m for modules in needs.values() for m in modules if not find_spec(m)}
    names = [name for name, modules in needs.items() if not missing & set(modules)]
    said = []
    generator = request.getfixturevalue(kind)
    errors = formats.export(generator, tmp_path / "out", names, say=said.append)
    assert list(errors) == names
    assert all(errors[name] < 1e-5 for name in names if name != "float16")
    assert errors["float16"] < 5e-3
    assert all(f"{errors[name]:.1e}" in line for name, line in zip(names, said, strict=True))
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {formats.FORMATS[name].file for name in names} | {"README.md", "samples.png"}
    if "litert" in names:
        with zipfile.ZipFile(tmp_path / "out" / "generator.tflite") as archive:
            assert archive.read("labels.txt").decode().splitlines() == [*generator.class_names]
    if missing:
        pytest.skip(f"{missing} are optional: their formats are not tested")


def test_rounding_is_what_half_of_the_last_place_of_a_weight_does():
    """Just below 1 a step of float32 is 2^-24, and above it nothing rounds up."""
    layer = keras.layers.Dense(100, use_bias=False, kernel_initializer="ones")
    layer.build((None, 1))
    sharp = types.SimpleNamespace(
        network=layer, noise_dim=1, num_classes=0, affordable=int,
        generate=lambda z: 1000.0 * (layer.kernel - 1.0),
        inputs=lambda chosen: [np.zeros((len(chosen), 1), np.float32)],
    )  # fmt: skip
    assert formats.Live(sharp).nudge == 1000 * 2.0**-24
    np.testing.assert_array_equal(layer.kernel, np.ones((1, 100)))


@pytest.mark.usefixtures("brief")
def test_a_sharper_network_may_differ_by_ten_times_its_rounding(small, tmp_path, monkeypatch):
    right = formats.FORMATS["keras"]
    wrong = dataclasses.replace(right, load=lambda path: lambda z: right.load(path)(z) + 1e-4)
    monkeypatch.setitem(formats.FORMATS, "keras", wrong)
    monkeypatch.setattr(formats.Live, "nudge", 2e-5)
    said = []
    formats.export(small, tmp_path / "out", ["keras"], say=said.append)
    assert said[0].endswith("limit 0.0002")


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize("error", [1e-3, np.nan])
def test_a_failing_comparison_leaves_nothing(small, tmp_path, monkeypatch, error):
    right = formats.FORMATS["keras"]

    def load(path):
        generate = right.load(path)
        return lambda z: generate(z) + error

    monkeypatch.setitem(formats.FORMATS, "keras", dataclasses.replace(right, load=load))
    with pytest.raises(InputError, match=r"format=keras: its images differ .* nothing was written"):
        formats.export(small, tmp_path / "out", ["keras"])
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_not_a_format_s_fault(small, tmp_path, monkeypatch):
    said = "{{function_node SaveV2}} a.tempstate1; No space left on device [Op:SaveV2]"
    full = unittest.mock.Mock(side_effect=tf.errors.ResourceExhaustedError(None, None, said))
    broken = dataclasses.replace(formats.FORMATS["keras"], write=full)
    monkeypatch.setitem(formats.FORMATS, "keras", broken)
    with pytest.raises(InputError, match=r"^out=.*/out: it cannot be written \(No space left on"):
        formats.export(small, tmp_path / "out", ["keras"])
    assert not list(tmp_path.iterdir())


def test_a_converter_that_fails_is_one_line(small, tmp_path, monkeypatch):
    def write(network, path):
        path.write_text("half")
        raise RuntimeError("no such operator\nand much more")

    broken = dataclasses.replace(formats.FORMATS["keras"], write=write)
    monkeypatch.setitem(formats.FORMATS, "keras", broken)
    with pytest.raises(InputError, match=r"format=keras: .*\(no such operator\)$"):
        formats.export(small, tmp_path / "out", ["keras"])
    assert not list(tmp_path.iterdir())


def test_formats_are_checked_before_anything_is_written(small, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="format=coreml: give some of saved_model, onnx"):
        formats.export(small, tmp_path / "out", ["keras", "coreml"])
    with pytest.raises(InputError, match="format=: give some of"):
        formats.export(small, tmp_path / "out", [])
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"format=onnx: .* pip install .*tf2onnx"):
        formats.export(small, tmp_path / "out", ["onnx"])
    assert not list(tmp_path.iterdir())


def test_outputs_are_never_replaced_and_need_a_folder(small, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="it exists already"):
        formats.export(small, tmp_path / "full", ["keras"])
    with pytest.raises(InputError, match="cannot be written"):
        formats.export(small, tmp_path / "full" / "mine.txt" / "out", ["keras"])
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


@pytest.mark.slow
@pytest.mark.usefixtures("brief")
def test_the_command_exports_a_run(run, tmp_path, capsys):
    out = tmp_path / "exports" / "small"
    with command(export, export_flags.define) as main:
        main(f"--run_dir={run.path}", "--format=keras", f"--out={out}")
    assert "keras: generator.keras, largest error" in capsys.readouterr().out
    files = {path.name for path in out.iterdir()}
    assert files == {"generator.keras", "README.md", "samples.png"}
    assert [path.name for path in out.parent.iterdir()] == ["small"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--out=o"], "give either --run_dir or --model"),
        (
            ["--model=none.keras", "--out=o"],
            "model=none.keras: there is no such file or folder; give",
        ),
        (["--model=none.keras", "--out=o", "--push=me"], "push=me: write hf:USER/REPO"),
        (["--model=none.keras", "--out=o", "here"], "unexpected argument 'here'"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, message, capsys):
    with command(export, export_flags.define) as main:
        assert message in error_line(main, arguments, capsys)
