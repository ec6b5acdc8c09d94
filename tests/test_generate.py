"""`python -m ladagan_tf.generate`: grids, archives, walks, attention and psi of tiny models."""

import os
import pathlib
import subprocess
import sys
import types
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from absl import flags
from keras import ops
from PIL import Image, ImageSequence

from ladagan_tf import generate, pictures, sampling, seeds, trained
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.models.ladagan import Generator

ROOT = pathlib.Path(__file__).resolve().parents[1]
SIZES = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8, 8, 8)}
SIDE = 32


@keras.saving.register_keras_serializable(package="ladagan_tf_test_generate")
class Coloured(keras.Model):
    """A conditional generator: each class is a grey level, and the latent is not looked at."""

    noise_dim, resolution, num_classes = 8, SIDE, 3

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.built = True

    def call(self, z, labels, training=False):
        level = ops.cast(labels, "float32") - 1.0  # -1, 0, 1
        return ops.zeros((ops.shape(z)[0], SIDE, SIDE, 3)) + ops.reshape(level, (-1, 1, 1, 1))


def tiny(seed):
    network = Generator(**SIZES)
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.3, w.shape) for w in network.get_weights()])
    return network


@pytest.fixture(scope="module")
def network():
    return tiny(0)


@pytest.fixture(scope="module")
def model(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def conditional(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "coloured.keras"
    Coloured().save(path)
    return path


@pytest.fixture
def main():
    """The entry point in this process; the flags are gone afterwards."""
    values = flags.FLAGS
    others = set(values)
    generate_flags.define()

    def call(*arguments):
        values.unparse_flags()
        for name in set(values) - others:
            values[name].unparse()
        values(["generate", *map(str, arguments)])
        generate.main(["generate"])

    yield call
    for name in set(values) - others:
        delattr(values, name)


@pytest.fixture
def failing(main, capsys):
    """The one line of a call that must fail."""

    def call(*arguments):
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(*arguments)
        lines = capsys.readouterr().err.splitlines()
        assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
        return lines[0]

    return call


def expected(network, numbers):
    return pictures.to_uint8(network(seeds.latents(numbers, 8)))


def assert_same(images, reference):
    """Equal up to the rounding of floats that another batch size brings."""
    assert images.shape == reference.shape and images.dtype == np.uint8
    assert np.max(np.abs(images.astype(int) - reference.astype(int))) <= 1


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))


# ----------------------------------------------------------------------------------------- walks


def test_a_gif_loops_through_all_frames(main, model, network, tmp_path):
    arguments = f"--model={model}", "--interpolate", "--seeds=1,2,3", "--frames=4", "--fps=10"
    main(*arguments, f"--out={tmp_path / 'walk.gif'}")
    with Image.open(tmp_path / "walk.gif") as gif:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0 and gif.info["duration"] == 100 and len(frames) == 12
    path = sampling.walk(seeds.latents([1, 2, 3], 8), 4)
    wanted = pictures.to_uint8(network(path))
    error = np.abs(np.stack(frames).astype(int) - wanted).mean()
    assert error < 12  # a GIF has 256 colours

    main(*arguments, f"--out={tmp_path / 'walk.png'}")
    assert_same(read(tmp_path / "walk.png"), pictures.grid(wanted, 4))


def test_an_mp4_needs_its_packages(failing, main, model, monkeypatch, tmp_path):
    out = tmp_path / "walk.mp4"
    arguments = f"--model={model}", "--interpolate", "--seeds=1,2", "--frames=2", f"--out={out}"
    monkeypatch.setitem(sys.modules, "imageio", None)
    assert "pip install imageio imageio-ffmpeg" in failing(*arguments)
    assert not list(tmp_path.iterdir())

    class Writer(list):
        append_data = list.append

        def __init__(self, path, **options):
            self.path, self.options = path, options

        def __enter__(self):
            return self

        def __exit__(self, *error):
            pathlib.Path(self.path).write_bytes(np.stack(self).tobytes())

    fake = types.ModuleType("imageio.v2")
    fake.get_writer = Writer
    package = types.ModuleType("imageio")
    package.v2 = fake
    for name, module in (("imageio", package), ("imageio.v2", fake)):
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", types.ModuleType("imageio_ffmpeg"))
    main(*arguments)
    assert out.stat().st_size == 4 * SIDE * SIDE * 3


# ---------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("batch_size", [1, 3, 7, 64])
def test_an_image_depends_on_its_seed_only(network, batch_size):
    numbers = [5, 0, 9, 2**40, 5, 1, 7]
    z = seeds.latents(numbers, 8)
    source = trained.of_network(network)
    batches = list(sampling.image_batches(source, z, batch_size=batch_size))
    assert all(len(batch) <= batch_size for batch in batches)
    assert_same(np.concatenate(batches), expected(network, numbers))
    alone = np.concatenate([expected(network, [number]) for number in numbers])
    assert_same(np.concatenate(batches), alone)


def test_a_grid_holds_the_seeds_row_by_row(main, model, network, tmp_path, capsys):
    out = tmp_path / "new" / "grid.png"
    main(f"--model={model}", "--grid=2x3", f"--out={out}", "--batch_size=4")
    assert_same(read(out), pictures.grid(expected(network, range(6)), 3))
    assert f"{out}: 6 images" in capsys.readouterr().out
    main(f"--model={model}", "--seeds=4,8,1", f"--out={out}")
    assert_same(read(out), pictures.grid(expected(network, [4, 8, 1]), 2))


def test_numbered_images_continue_where_they_stopped(main, failing, model, network, tmp_path):
    out = tmp_path / "images"
    main(f"--model={model}", "--seeds=0-4", f"--out={out}")
    names = [f"seed{i:08d}.png" for i in range(5)]
    assert sorted(path.name for path in out.glob("*.png")) == names
    assert_same(np.stack([read(out / name) for name in names]), expected(network, range(5)))
    (out / names[2]).unlink()
    kept = (out / names[0]).stat().st_mtime_ns
    main(f"--model={model}", "--seeds=0-5,2", f"--out={out}", "--batch_size=2")
    assert (out / names[0]).stat().st_mtime_ns == kept
    assert_same(read(out / names[2])[None], expected(network, [2]))
    assert len(list(out.glob("*.png"))) == 6
    other = tmp_path / "other.keras"
    tiny(1).save(other)
    assert "images of another model" in failing(f"--model={other}", f"--out={out}")


def test_a_saved_model_gives_the_same_images(main, network, tmp_path):
    archive = keras.export.ExportArchive()
    archive.track(network)
    archive.add_endpoint("serve", network.call, [tf.TensorSpec((None, 8), tf.float32)])
    archive.write_out(str(tmp_path / "saved"), verbose=False)
    main(f"--model={tmp_path / 'saved'}", "--seeds=0-4", f"--out={tmp_path / 'images'}")
    images = [read(tmp_path / "images" / f"seed{i:08d}.png") for i in range(5)]
    assert_same(np.stack(images), expected(network, range(5)))


def test_archives_hold_the_images(main, failing, model, network, tmp_path):
    reference = expected(network, [3, 0, 1, 2, 7])
    for name in ("samples.npz", "samples.zip"):
        main(f"--model={model}", "--seeds=3,0-2,7", f"--out={tmp_path / name}", "--batch_size=2")
        assert "it exists already" in failing(f"--model={model}", f"--out={tmp_path / name}")
    with np.load(tmp_path / "samples.npz") as file:
        assert file.files == ["arr_0"]
        assert_same(file["arr_0"], reference)
    with zipfile.ZipFile(tmp_path / "samples.zip") as archive:
        names = archive.namelist()
        assert names == [f"seed{i:08d}.png" for i in (3, 0, 1, 2, 7)]
        assert_same(np.stack([read(archive.open(name)) for name in names]), reference)
    assert {path.name for path in tmp_path.iterdir()} == {"samples.npz", "samples.zip"}


# ------------------------------------------------------------------------------------ conditional


def test_labels_of_conditional_models(main, conditional, tmp_path):
    source = f"--model={conditional}"
    main(source, "--seeds=0-6", f"--out={tmp_path / 'all.npz'}")
    with np.load(tmp_path / "all.npz") as file:
        np.testing.assert_array_equal(file["arr_1"], [0, 1, 2, 0, 1, 2, 0])
        np.testing.assert_array_equal(file["arr_0"][:, 0, 0, 0], [0, 128, 255, 0, 128, 255, 0])
    main(source, "--seeds=0-6", "--classes=2,0", f"--out={tmp_path / 'two.npz'}")
    with np.load(tmp_path / "two.npz") as file:
        np.testing.assert_array_equal(file["arr_1"], [2, 0, 2, 0, 2, 0, 2])
    main(source, "--classes=2,0,1", "--seeds=0-3", f"--out={tmp_path / 'sheet.png'}")
    sheet = read(tmp_path / "sheet.png")
    assert sheet.shape == (3 * SIDE + 4, 4 * SIDE + 6, 3)
    np.testing.assert_array_equal(sheet[:: SIDE + 2, 0, 0], [255, 0, 128])
    main(source, "--interpolate", "--classes=1", "--seeds=0,1", f"--out={tmp_path / 'walk.png'}")
    assert read(tmp_path / "walk.png")[0, 0, 0] == 128


# -------------------------------------------------------------------------------------- attention


def test_an_attention_sheet_has_a_row_per_seed(main, model, network, tmp_path):
    main(f"--model={model}", "--attention", "--seeds=2,5", f"--out={tmp_path / 'a.png'}")
    images, maps = network.attention_maps(seeds.latents([2, 5], 8))
    wanted = pictures.attention_sheet(pictures.to_uint8(images), [np.asarray(m) for m in maps])
    assert_same(read(tmp_path / "a.png"), wanted)


# -------------------------------------------------------------------------------------------- GAT


def labelled(network, numbers, labels, **strength):
    return pictures.to_uint8(network(seeds.latents(numbers, 8), np.asarray(labels), **strength))


def test_a_gat_has_a_row_per_class_truncated_and_guided(
    main, tiny_gat, tiny_gat_run, tmp_path, capsys
):
    out = tmp_path / "classes.png"
    source = f"--run_dir={tiny_gat_run}", "--seeds=0-2", f"--out={out}"
    main(*source, "--classes=2,0", "--psi=0.5", "--guidance=1.5")
    assert "a row for each class of [2, 0], psi 0.5, guidance 1.5" in capsys.readouterr().out
    strength = {"psi": 0.5, "guidance": 1.5}
    rows = [labelled(tiny_gat, [0, 1, 2], [c] * 3, **strength) for c in (2, 0)]
    assert_same(read(out), pictures.grid(np.concatenate(rows), 3))
    main(*source)
    assert ", psi 1, guidance 1" in capsys.readouterr().out
    assert_same(read(out), pictures.grid(labelled(tiny_gat, [0, 1, 2], [0, 1, 2]), 2))


def test_a_sweep_has_a_row_per_psi_of_the_same_seeds_and_classes(
    main, failing, tiny_gat, tiny_gat_run, tmp_path
):
    out = tmp_path / "sweep.png"
    source = f"--run_dir={tiny_gat_run}", f"--out={out}"
    main(*source, "--sweep_psi=0,0.5,1", "--seeds=0-3", "--classes=1,2")
    strengths, labels = (0.0, 0.5, 1.0), [1, 2, 1, 2]
    rows = [labelled(tiny_gat, range(4), labels, psi=psi) for psi in strengths]
    assert_same(read(out), pictures.grid(np.concatenate(rows), 4))
    assert np.array_equal(rows[0][0], rows[0][2]) and not np.array_equal(rows[2][0], rows[2][2])
    for text in ("0,2", "x", ""):
        assert "give numbers from 0 to 1" in failing(*source, f"--sweep_psi={text}")
    assert "--sweep_psi has its own" in failing(*source, "--sweep_psi=0,1", "--psi=0.5")


def test_images_of_another_psi_are_not_mixed(main, failing, tiny_gat_run, tmp_path):
    source = f"--run_dir={tiny_gat_run}", "--seeds=0-1", f"--out={tmp_path / 'images'}"
    main(*source, "--psi=0.5")
    for other in ("--psi=0.25", "--guidance=2"):
        assert "images of another model" in failing(*source, other)
    main(*source, "--psi=0.5")


def test_a_gat_walks_within_a_class(main, tiny_gat, tiny_gat_run, tmp_path):
    out = tmp_path / "walk.png"
    arguments = "--interpolate", "--classes=1", "--seeds=0,1", "--frames=2", f"--out={out}"
    main(f"--run_dir={tiny_gat_run}", *arguments)
    path = sampling.walk(seeds.latents([0, 1], 8), 2)
    wanted = pictures.to_uint8(tiny_gat(path, np.ones(4, np.int32)))
    assert_same(read(out), pictures.grid(wanted, 2))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--attention"], "no SavedModel and no GAT"),
        (["--psi=1.5"], "psi=1.5: give 0 (each class's mean) to 1 (no truncation)"),
        (["--psi=nan"], "psi=nan: give 0"),
        (["--guidance=0"], "guidance=0: give a number above 0"),
        (["--classes=3"], "classes=3: give numbers from 0 to 2"),
        (["--vae=sd15"], "vae=sd15: it is for --model; a run has its own"),
        (["--sweep_psi=0,1", "--attention"], "give one of --interpolate, --attention and"),
        (["--sweep_psi=0,1", "--out=a.npz"], "out=a.npz: give .png"),
        (["--sweep_psi=0,1", "--grid=2x2"], "grid=2x2: it is for a .png of images"),
    ],
)
def test_what_a_gat_cannot_do_is_one_line(
    failing, tiny_gat_run, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in failing(f"--run_dir={tiny_gat_run}", *arguments)
    assert not list(tmp_path.iterdir())


# ----------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=3-1"], "is no seed or range"),
        (["--psi=0.7"], "psi=0.7: this model has no mean style"),
        (["--classes=0"], "classes=0: this model is unconditional"),
        (["--grid=8"], "grid=8: give rows and columns, as 8x8"),
        (["--grid=2x2", "--seeds=0-4"], "5 images do not fit into --grid=2x2"),
        (["--grid=2x2", "--out=a.npz"], "grid=2x2: it is for a .png of images"),
        (["--out=a.jpg"], "give .png, .npz, .zip, a folder"),
        (["--interpolate", "--out=a.npz"], "give .gif, .mp4, .png"),
        (["--interpolate", "--seeds=1", "--out=a.gif"], "--interpolate needs at least two"),
        (
            ["--interpolate", "--attention"],
            "give one of --interpolate, --attention and --sweep_psi",
        ),
        (["--run_dir=a"], "give either --run_dir or --model"),
        (["--noema"], "--model has one network"),
        (["--guidance=2"], "guidance=2: this model has no styles to guide"),
        (["--sweep_psi=0,1"], "psi=0: this model has no mean style"),
        (["--vae=sd15"], "vae=sd15: it is for a GAT generator without an autoencoder"),
    ],
)
def test_what_cannot_be_made_is_one_line(failing, model, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert message in failing(f"--model={model}", *arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--classes=3"], "classes=3: give numbers from 0 to 2"),
        (["--classes=x"], "classes=x: give numbers from 0 to 2"),
        (["--interpolate", "--out=a.gif"], "give one class, as --classes=0"),
        (["--attention"], "attention: a LadaGAN of --run_dir or a .keras file shows it"),
    ],
)
def test_what_a_model_cannot_do_is_one_line(
    failing, conditional, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    assert message in failing(f"--model={conditional}", *arguments)
    assert not list(tmp_path.iterdir())


def test_places_that_cannot_be_written_are_one_line(failing, model, tmp_path):
    (tmp_path / "file").write_text("")
    for name in ("grid.png", "samples.npz", "folder"):
        message = failing(f"--model={model}", f"--out={tmp_path / 'file' / name}")
        assert "it cannot be written" in message
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "seed00000000.png").write_text("")
    assert "no samples.json" in failing(f"--model={model}", f"--out={tmp_path / 'images'}")


@pytest.mark.slow
def test_the_command(model, network, tmp_path):
    out = tmp_path / "grid.png"
    done = subprocess.run(
        [sys.executable, "-m", "ladagan_tf.generate", f"--model={model}", f"--out={out}"],
        cwd=ROOT,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert f"{out}: 64 images" in done.stdout
    assert_same(read(out), pictures.grid(expected(network, range(64)), 8))
