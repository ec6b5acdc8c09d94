"""What is exported computes the same images elsewhere, or nothing is left of it."""

import dataclasses
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf import pictures, seeds, trained
from ladagan_tf.errors import InputError
from ladagan_tf.serving import endpoints, exporting

ROOT = pathlib.Path(__file__).resolve().parents[2]

ONLY_TENSORFLOW = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("saved_model")
known = np.load("known.npz")
for batch in (1, 7, 64):
    images = model.serve(tf.constant(known["z"][:batch]))
    np.testing.assert_allclose(images, known["images"][:batch], atol=1e-5)
seen = model.signatures["attend"](z=tf.constant(known["z"][:7]))
np.testing.assert_allclose(seen["images"], known["images"][:7], atol=1e-5)
for side in (8, 16, 32):
    np.testing.assert_allclose(seen[f"attention_{side}"], known[f"attention_{side}"], atol=1e-5)
assert model.generate(num=2, seed=0).shape == (2, 32, 32, 3)  # as the model card says
assert "ladagan_tf" not in sys.modules
print("same")
"""


def python(code, folder):
    """What a fresh Python process prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module")
def saved(small, tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved")
    endpoints.write_saved_model(small.network, folder / "saved_model")
    return folder


@pytest.fixture(scope="module")
def loaded(saved):
    return tf.saved_model.load(str(saved / "saved_model"))


def test_a_saved_model_runs_where_there_is_only_tensorflow(small, saved):
    z = seeds.latents(range(64), 8)
    _, maps = small.network.attention_maps(z[:7])
    attention = {f"attention_{s}": m for s, m in zip((8, 16, 32), maps, strict=True)}
    np.savez(saved / "known.npz", z=z, images=small.generate(z), **attention)
    assert python(ONLY_TENSORFLOW, saved) == "same"


def test_signatures_are_named_and_serve_is_the_default(loaded):
    names = {
        name: sorted(signature.structured_input_signature[1])
        for name, signature in loaded.signatures.items()
    }
    latents = ["z"]
    assert names == {
        "serving_default": latents,
        "serve": latents,
        "generate": ["num", "seed"],
        "attend": latents,
    }


def test_generated_image_i_is_a_function_of_seed_plus_i(small, loaded):
    images = loaded.generate(5, 7).numpy()
    assert images.dtype == np.uint8 and images.shape == (5, 32, 32, 3)
    # A rounding boundary may fall either way between batch sizes: one step in 255.
    alone = np.stack([loaded.generate(1, 7 + i)[0] for i in range(5)]).astype(int)
    assert np.abs(images - alone).max() <= 1
    z = endpoints.draw_latents(tf.constant(5), tf.constant(7, tf.int64), 8)
    live = pictures.to_uint8(small.generate(z)).astype(int)
    assert np.abs(images - live).max() <= 1
    assert not np.array_equal(images[0], images[1])


def test_drawn_latents_are_standard_normal_and_independent():
    z = endpoints.draw_latents(tf.constant(256), tf.constant(0, tf.int64), 64).numpy()
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    correlation = np.corrcoef(z) - np.eye(256)
    assert np.abs(correlation).max() < 6 / 64**0.5


def test_rounding_is_that_of_pictures():
    images = np.linspace(-1.5, 1.5, 100_001, dtype=np.float32)
    np.testing.assert_array_equal(endpoints.to_uint8(images), pictures.to_uint8(images))


@pytest.mark.parametrize(
    "num, seed, message",
    [
        (0, 0, "num must be from 1 to 256; given"),
        (257, 0, "num must be from 1 to 256; given"),
        (2**31 - 1, 0, "num must be from 1 to 256; given"),
        (1, -1, "seed must be from 0 to"),
    ],
)
def test_a_bad_request_is_explained_by_the_served_model(loaded, num, seed, message):
    request = {"num": tf.constant(num), "seed": tf.constant(seed, tf.int64)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures["generate"](**request)


def test_labels_are_served_and_checked(conditional, tmp_path):
    endpoints.write_saved_model(conditional.network, tmp_path / "saved")
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    labels = tf.constant([2, 0])
    z = endpoints.draw_latents(tf.constant(2), tf.constant(3, tf.int64), 8)
    live = pictures.to_uint8(conditional.generate(z, labels)).astype(int)
    assert np.abs(loaded.generate(2, 3, labels) - live).max() <= 1
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"):
        loaded.generate(2, 3, tf.constant([0, 3]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many as images"):
        loaded.generate(2, 3, tf.constant([0]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"):
        loaded.serve(z, tf.constant([-1, 0]))
    opened = trained.open_model(tmp_path / "saved")
    assert opened.num_classes == 3
    np.testing.assert_allclose(opened.generate(z, labels), conditional.generate(z, labels))


@pytest.fixture(scope="module")
def gat(tiny_gat_run):
    """`Trained` of a GAT with its autoencoder."""
    return trained.open_run(tiny_gat_run)


@pytest.fixture(scope="module")
def saved_gat(gat, tmp_path_factory):
    path = tmp_path_factory.mktemp("gat") / "saved_model"
    endpoints.write_saved_model(gat.network, path)
    return path


def test_psi_is_served_and_checked(gat, saved_gat):
    loaded = tf.saved_model.load(str(saved_gat))
    z = endpoints.draw_latents(tf.constant(2), tf.constant(3, tf.int64), 8)
    labels = tf.constant([2, 0])
    for psi in (0.0, 0.5, 1.0):
        live = np.asarray(gat.at(psi).generate(z, labels))
        np.testing.assert_allclose(loaded.truncate(z, labels, psi=psi), live, atol=1e-5)
        images = loaded.generate(num=2, seed=3, labels=labels, psi=psi)  # as the card says
        assert np.abs(images.numpy().astype(int) - pictures.to_uint8(live)).max() <= 1
    np.testing.assert_allclose(loaded.serve(z, labels), live, atol=1e-5)
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(tf.errors.InvalidArgumentError, match="psi must be from 0 to 1; given"):
            loaded.truncate(z, labels, psi=wrong)
    with pytest.raises(tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"):
        loaded.truncate(z, tf.constant([0, 3]), psi=0.5)


def test_an_exported_gat_opens_truncated(gat, saved_gat):
    z, labels = seeds.latents(range(3), 8), np.int32([0, 1, 2])
    opened = trained.open_model(saved_gat, psi=0.5)
    assert (opened.num_classes, opened.about["psi"]) == (3, 0.5)
    np.testing.assert_allclose(
        opened.generate(z, labels), gat.at(0.5).generate(z, labels), atol=1e-5
    )
    with pytest.raises(InputError, match="guidance=2: a SavedModel has only guidance=1"):
        trained.open_model(saved_gat, guidance=2.0)
    with pytest.raises(InputError, match="vae=sd15: it is for a GAT generator"):
        trained.open_model(saved_gat, vae="sd15")


def test_a_truncated_generator_is_not_exported(gat, tmp_path):
    with pytest.raises(InputError, match="what is exported has psi=1 and guidance=1"):
        exporting.export(gat.at(0.5), tmp_path / "out", ["keras"])


def test_large_images_are_compared_in_small_batches(small):
    assert exporting.batches(small) == [1, 7, 64]
    assert exporting.batches(dataclasses.replace(small, resolution=256)) == [1, 7, 16]
    assert exporting.batches(dataclasses.replace(small, resolution=2048)) == [1]


def test_an_export_opens_as_a_trained_generator(small, saved):
    opened = trained.open_model(saved / "saved_model")
    assert (opened.noise_dim, opened.resolution, opened.num_classes) == (8, 32, 0)
    z = seeds.latents(range(3), 8)
    np.testing.assert_allclose(opened.generate(z), small.generate(z), atol=1e-5)


@pytest.mark.parametrize("name", exporting.FORMATS)
@pytest.mark.parametrize(
    "kind", ["small", "conditional", pytest.param("gat", marks=pytest.mark.slow)]
)
def test_each_format_computes_the_same_images(name, kind, request, tmp_path):
    for module in exporting.FORMATS[name].packages:
        pytest.importorskip(module, reason=f"{module} is optional: format {name} is not tested")
    said = []
    generator = request.getfixturevalue(kind)
    errors = exporting.export(generator, tmp_path / "out", [name], say=said.append)
    assert errors[name] < 1e-5
    assert f"{errors[name]:.1e}" in said[0]
    files = {path.name for path in (tmp_path / "out").iterdir()}
    assert files == {exporting.FORMATS[name].file, "README.md", "samples.png"}


def test_a_keras_file_needs_only_the_package(small, tmp_path):
    exporting.export(small, tmp_path / "out", ["keras"])
    np.savez(tmp_path / "known.npz", z=seeds.latents([0], 8))
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import keras, ladagan_tf\n"
        "network = keras.saving.load_model('out/generator.keras')\n"
        "print(network(keras.ops.ones((1, 8))).shape)"
    )
    assert python(code, tmp_path) == "(1, 32, 32, 3)"


@pytest.mark.parametrize("error", [1e-4, np.nan])
def test_a_failing_comparison_leaves_nothing(small, tmp_path, monkeypatch, error):
    right = exporting.FORMATS["keras"]

    def load(path):
        generate = right.load(path)
        return lambda z: generate(z) + error

    monkeypatch.setitem(exporting.FORMATS, "keras", dataclasses.replace(right, load=load))
    with pytest.raises(InputError, match=r"format=keras: its images differ .* nothing was written"):
        exporting.export(small, tmp_path / "out", ["keras"])
    assert not list(tmp_path.iterdir())


def test_a_converter_that_fails_is_one_line(small, tmp_path, monkeypatch):
    def write(network, path):
        path.write_text("half")
        raise RuntimeError("no such operator\nand much more")

    broken = dataclasses.replace(exporting.FORMATS["keras"], write=write)
    monkeypatch.setitem(exporting.FORMATS, "keras", broken)
    with pytest.raises(InputError, match=r"format=keras: .*\(no such operator\)$"):
        exporting.export(small, tmp_path / "out", ["keras"])
    assert not list(tmp_path.iterdir())


def test_formats_are_checked_before_anything_is_written(small, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="format=coreml: give some of saved_model, onnx"):
        exporting.export(small, tmp_path / "out", ["keras", "coreml"])
    with pytest.raises(InputError, match="format=: give some of"):
        exporting.export(small, tmp_path / "out", [])
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match=r"format=onnx: .* pip install .*tf2onnx"):
        exporting.export(small, tmp_path / "out", ["onnx"])
    assert not list(tmp_path.iterdir())


def test_outputs_are_never_replaced_and_need_a_folder(small, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="it exists already"):
        exporting.export(small, tmp_path / "full", ["keras"])
    with pytest.raises(InputError, match="cannot be written"):
        exporting.export(small, tmp_path / "full" / "mine.txt" / "out", ["keras"])
    assert [path.name for path in tmp_path.rglob("*")] == ["full", "mine.txt"]


def test_a_saved_model_cannot_be_exported_again(saved, tmp_path):
    with pytest.raises(InputError, match=r"export needs a run or a [.]keras file"):
        exporting.export(trained.open_model(saved / "saved_model"), tmp_path / "o", ["keras"])


def command(*arguments):
    """Runs `python -m ladagan_tf.export`."""
    return subprocess.run(
        [sys.executable, "-m", "ladagan_tf.export", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_command_exports_a_run(run, tmp_path):
    out = tmp_path / "exports" / "small"
    done = command(f"--run_dir={run.path}", "--format=saved_model,keras", f"--out={out}")
    assert done.returncode == 0, done.stderr
    assert "saved_model: saved_model, largest error" in done.stdout
    assert {"saved_model", "generator.keras", "README.md", "samples.png"} == {
        path.name for path in out.iterdir()
    }
    assert [path.name for path in out.parent.iterdir()] == ["small"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--out=o"], "give either --run_dir or --model"),
        (["--model=none.keras", "--out=o"], "model=none.keras: give a .keras file"),
        (["--model=none.keras", "--out=o", "--push=me"], "push=me: write hf:USER/REPO"),
        (["--model=none.keras", "--out=o", "here"], "unexpected argument 'here'"),
    ],
)
def test_a_wrong_command_is_one_line(arguments, message):
    done = command(*arguments)
    assert done.returncode == 2
    lines = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and message in lines[0] and "Traceback" not in done.stderr
