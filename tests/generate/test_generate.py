"""`python -m ladagan_tf.generate`: grids, archives, walks, classes and attention of tiny models."""

import os
import pathlib
import subprocess
import sys
import types
import zipfile

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageSequence
from tiny_models import SIDE, SIZES, assert_same, expected, read, tiny

from ladagan_tf import pictures
from ladagan_tf.errors import InputError
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.sampling import image_files, seeds, walks
from ladagan_tf.sampling.sampler import of_network

ROOT = pathlib.Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.usefixtures("eagerly")  # a batch or two of each network; one in a graph


# ----------------------------------------------------------------------------------------- walks


def test_a_class_name_of_a_file_does_not_reach_the_terminal_as_an_order(main, tmp_path, capsys):
    Generator(**SIZES, num_classes=1, class_names=["\x1b[2Jred"]).save(tmp_path / "named.keras")
    out = f"--out={tmp_path / 'red.png'}"
    main(f"--model={tmp_path / 'named.keras'}", "--classes=0", "--seeds=0", out)
    assert "a row for each class of \\x1b[2Jred" in capsys.readouterr().out


def test_a_gif_loops_through_all_frames(main, model, network, tmp_path):
    arguments = f"--model={model}", "--interpolate", "--seeds=1,2,3", "--frames=4"
    main(*arguments, "--fps=10", f"--out={tmp_path / 'walk.gif'}")
    with Image.open(tmp_path / "walk.gif") as gif:
        frames = [np.asarray(f.convert("RGB")) for f in ImageSequence.Iterator(gif)]
        assert gif.info["loop"] == 0 and gif.info["duration"] == 100 and len(frames) == 12
    path = walks.walk(seeds.latents([1, 2, 3], 8), 4)
    wanted = pictures.to_uint8(network(path))
    error = np.abs(np.stack(frames).astype(int) - wanted).mean()
    assert error < 12  # a GIF has 256 colours

    main(*arguments, f"--out={tmp_path / 'walk.png'}")
    assert_same(read(tmp_path / "walk.png"), pictures.grid(wanted, 4))


def test_an_mp4_needs_its_packages_and_keeps_all_pixels_at_even_sides(
    failing, main, model, monkeypatch, tmp_path
):
    out = tmp_path / "walk.mp4"
    arguments = f"--model={model}", "--interpolate", "--seeds=1,2", "--frames=2", f"--out={out}"
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    assert "pip install 'imageio-ffmpeg>=" in failing(*arguments)
    assert not list(tmp_path.iterdir())

    program = tmp_path / "ffmpeg"  # one that writes what it reads
    program.write_text('#!/bin/sh\necho "$@" > "$0.said"; for out; do :; done; cat > "$out"\n')
    program.chmod(0o755)
    fake = types.SimpleNamespace(get_ffmpeg_exe=lambda: str(program))
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", fake)
    main(*arguments)
    assert out.stat().st_size == 4 * SIDE * SIDE * 3

    frame = np.random.default_rng(0).integers(0, 256, (33, 67, 3), np.uint8)
    image_files.write_animation(out, iter([frame[None]]), 1, 5.0)
    assert "-pix_fmt rgb24 -s 68x34 -r 5.0 -i - " in (tmp_path / "ffmpeg.said").read_text()
    written = np.frombuffer(out.read_bytes(), np.uint8).reshape(34, 68, 3)
    np.testing.assert_array_equal(written[:33, :67], frame)
    np.testing.assert_array_equal(written[33, :67], frame[32])
    np.testing.assert_array_equal(written[:33, 67], frame[:, 66])

    before = out.read_bytes()
    program.write_text(
        "#!/bin/sh\ncat > /dev/null; echo 'it: No space left on device' >&2; exit 1\n"
    )
    with pytest.raises(InputError, match=r"walk.mp4: it cannot be written \(No space left on dev"):
        image_files.write_animation(out, iter([frame[None]]), 1, 5.0)
    assert out.read_bytes() == before and len(list(tmp_path.iterdir())) == 3


# ---------------------------------------------------------------------------------------- images


def test_an_image_depends_on_its_seed_only(network):
    numbers = [5, 0, 9, 2**40, 5, 1, 7]
    z = seeds.latents(numbers, 8)
    source = of_network(network)
    alone = np.concatenate([expected(network, [number]) for number in numbers])
    assert_same(expected(network, numbers), alone)
    for batch_size in (1, 3, 7, 64):
        batches = list(walks.image_batches(source, z, batch_size=batch_size))
        assert all(len(batch) <= batch_size for batch in batches)
        assert_same(np.concatenate(batches), alone)


def test_images_that_are_not_finite_are_refused():
    def generate(z):
        return np.full((len(z), SIDE, SIDE, 3), np.nan, np.float32)

    source = types.SimpleNamespace(generate=generate, about={})
    with pytest.raises(InputError, match="images that are NaN or infinite"):
        next(walks.image_batches(source, seeds.latents([0], 8)))


def test_a_grid_holds_the_seeds_row_by_row(main, model, network, tmp_path, capsys):
    out = tmp_path / "new" / "grid.png"
    main(f"--model={model}", "--grid=2x3", f"--out={out}", "--batch_size=4")
    assert_same(read(out), pictures.grid(expected(network, range(6)), 3))
    assert f"{out}: 6 images" in capsys.readouterr().out
    main(f"--model={model}", "--seeds=4,8,1", f"--out={out}")
    assert_same(read(out), pictures.grid(expected(network, [4, 8, 1]), 2))


def test_pictures_are_enlarged_pixel_by_pixel(main, model, network, tmp_path):
    arguments = f"--model={model}", "--scale=3"
    main(*arguments, "--grid=2x2", f"--out={tmp_path / 'grid.png'}")
    wanted = pictures.enlarged(expected(network, range(4)), 3)
    assert_same(read(tmp_path / "grid.png"), pictures.grid(wanted, 2))
    main(*arguments, "--interpolate", "--seeds=0,1", "--frames=1", f"--out={tmp_path / 'a.gif'}")
    assert Image.open(tmp_path / "a.gif").size == (3 * SIDE, 3 * SIDE)


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


def test_a_saved_model_gives_its_images(main, tmp_path):
    @tf.function(input_signature=[tf.TensorSpec((None, 8), tf.float32)])
    def serve(z):
        return tf.reshape(tf.tile(z, [1, SIDE * SIDE * 3 // 8]), (-1, SIDE, SIDE, 3))

    module = tf.Module()
    module.serve = serve
    tf.saved_model.save(module, str(tmp_path / "saved"), {"serving_default": serve})
    main(f"--model={tmp_path / 'saved'}", "--seeds=0-4", f"--out={tmp_path / 'images'}")
    images = [read(tmp_path / "images" / f"seed{i:08d}.png") for i in range(5)]
    assert_same(np.stack(images), expected(serve, range(5)))


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


def test_an_attention_sheet_has_a_row_per_seed_in_batches(
    main, model, network, tmp_path, monkeypatch
):
    images, maps = network.attention_maps(seeds.latents([2, 5, 3], 8))
    wanted = pictures.attention_sheet(pictures.to_uint8(images), [np.asarray(m) for m in maps])
    whole, sizes = Generator.attention_maps, []

    def counted(self, z, *labels, **how):
        sizes.append(len(z))
        return whole(self, z, *labels, **how)

    monkeypatch.setattr(Generator, "attention_maps", counted)
    for given in ((), ("--batch_size=2",)):
        main(
            f"--model={model}",
            "--attention",
            "--seeds=2,5,3",
            f"--out={tmp_path / 'a.png'}",
            *given,
        )
        assert_same(read(tmp_path / "a.png"), wanted)
    assert sizes == [3, 2, 1]


# ------------------------------------------------------------------------------------- command


@pytest.mark.slow
def test_the_command_prints_its_own_lines_only(model, network, tmp_path):
    out = tmp_path / "grid.png"
    environment = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-m", "ladagan_tf.generate", f"--model={model}", f"--out={out}"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{out}: 64 images\n" and done.stderr == ""
    assert_same(read(out), pictures.grid(expected(network, range(64)), 8))
