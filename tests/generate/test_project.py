"""`ladagan_tf.project`: a film, a latent that `generate` draws, and one line for the rest."""

import re
import sys

import numpy as np
import pytest
import tensorflow as tf
from in_process import command, error_line
from PIL import Image
from tiny_models import SIDE, assert_same, read

from ladagan_tf import pictures, project
from ladagan_tf.flags import project as project_flags
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.sampling import directions

FEW = ("--steps=3", "--starts=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures and feature networks."""
    folder = tmp_path_factory.mktemp("project")
    for name, side in (("cat", SIDE), ("large", 40)):
        picture = np.full((side, side, 3), (250, 200, 40), np.uint8)
        picture[side // 2 :] = 60, 90, 160
        Image.fromarray(picture).save(folder / f"{name}.png")
    (folder / "text.png").write_text("text")
    Classifier(16, ("a", "b")).save(folder / "of16.keras")
    Classifier(SIDE, ("a", "b")).save(folder / "of32.keras")
    return folder


@pytest.fixture
def projecting():
    with command(project, project_flags.define) as call:
        yield call


@pytest.fixture(scope="module")
def found(folder, model):
    """The folder with the film and the latent of its cat."""
    tf.config.run_functions_eagerly(True)  # as the fixture `eagerly`
    try:
        with command(project, project_flags.define) as call:
            call(
                f"--model={model}",
                f"--image={folder / 'cat.png'}",
                f"--out={folder / 'film.gif'}",
                *FEW,
                f"--features=classifier:{folder / 'of32.keras'}",
            )
    finally:
        tf.config.run_functions_eagerly(False)
    return folder


def pixels(path, frame=0):
    image = Image.open(path)
    image.seek(frame)
    return np.asarray(image.convert("RGB")).astype(int)


def test_the_film_has_the_target_beside_each_step(found):
    film = Image.open(found / "film.gif")
    assert film.n_frames == 4  # the start and three steps
    scale = 5  # of 32 px, twice within 320
    assert film.size == (2 * SIDE * scale + 2, SIDE * scale)
    target = pixels(found / "cat.png").repeat(scale, 0).repeat(scale, 1)
    first = pixels(found / "film.gif")[:, : SIDE * scale]
    assert np.abs(first - target).mean() < 12  # 256 colours


def test_generate_draws_the_latent_that_was_found(
    found, model, network, main, tmp_path, capsys, eagerly
):
    arguments = (f"--model={model}", f"--latents={found / 'film.latents.npz'}")
    main(*arguments, f"--out={tmp_path / 'again.png'}")
    twice = f"{arguments[1]},{found / 'film.latents.npz'}"
    walk = tmp_path / "walk.png"
    main(arguments[0], twice, "--interpolate", "--frames=2", f"--out={walk}")
    assert "4 frames through 2 latents" in capsys.readouterr().out
    z = np.load(found / "film.latents.npz")["z"]
    again = read(tmp_path / "again.png")
    assert_same(again, pictures.to_uint8(network(z))[0])
    assert_same(read(walk)[:SIDE, :SIDE], again)
    last = pixels(found / "film.gif", 3)[::5, SIDE * 5 + 2 :: 5]
    assert np.abs(again - last).mean() < 12  # 256 colours


def test_a_png_has_the_end_and_the_distance_is_that_of_its_halves(
    folder, model, projecting, tmp_path, capsys, eagerly
):
    out = tmp_path / "end.png"
    projecting(f"--model={model}", f"--image={folder / 'large.png'}", f"--out={out}",
         "--resize", *FEW)  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"end.png", "end.latents.npz"}
    both = pixels(out)[::5]
    target, image = both[:, : SIDE * 5 : 5], both[:, SIDE * 5 + 2 :: 5]
    said = re.search(r"(\d+\.\d) of 255 grey levels off", capsys.readouterr().out)[1]
    assert float(said) == pytest.approx(np.sqrt(np.mean((target - image) ** 2)), abs=0.1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--image={}/large.png"], "it has 40 x 40 pixels, the model 32 x 32; --resize takes its"),
        (["--image={}/text.png"], "text.png: not an image in a format that Pillow reads"),
        (["--image=/dev/null"], "image=/dev/null: this picture cannot be read (it is no regular"),
        (["--image={}/none.png"], "none.png: this picture cannot be read"),
        (["--out={}/cat.png"], "cat.png: it is read, and would be lost; give another file"),
        (["--out=a.jpg"], "out=a.jpg: give .gif, .mp4, .png"),
        (["--classes=0"], "classes=0: this model is unconditional"),
        (["--model=coloured"], "give one class, as --classes=0"),
        (
            ["--features=classifier:{}/of16.keras"],
            "the network takes images of 16 px, not the model's",
        ),
        (["--features=classifier"], "there is no prepared set; give classifier:FILE"),
        (["--noema"], "--model has one network"),
        (["--features=none", "--feature_weight=1"], "--feature_weight=1.0: it needs --features"),
        (["--out=a.mp4"], "pip install 'imageio-ffmpeg"),
        (
            ["--space=w"],
            "only a GAT of --run_dir or a .keras file makes its images of styles alone",
        ),
    ],
)
def test_what_cannot_be_projected_is_one_line(
    folder, model, conditional, projecting, capsys, monkeypatch, tmp_path, arguments, message
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    given = [f"--model={model}", "--image={}/cat.png", "--out=a.gif", *arguments]
    given = [word.format(folder).replace("=coloured", f"={conditional}") for word in given]
    assert message in error_line(projecting, given, capsys)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def style_found(tiny_gat, tiny_gat_run, tmp_path_factory, eagerly):
    """The folder with a picture, and the style that was found for it, of class 2."""
    folder, side = tmp_path_factory.mktemp("style"), tiny_gat.resolution
    Image.fromarray(np.full((side, side, 3), (250, 200, 40), np.uint8)).save(folder / "cat.png")
    with command(project, project_flags.define) as call:
        call(
            f"--run_dir={tiny_gat_run}",
            f"--image={folder / 'cat.png'}",
            f"--out={folder / 'found.png'}",
            *FEW,
            "--classes=2",
            "--space=w",
        )
    return folder


def test_the_style_of_a_gat_is_found_and_drawn_truncated_and_walked_to(
    tiny_gat, tiny_gat_run, style_found, main, failing, tmp_path, eagerly
):
    side, source = tiny_gat.resolution, f"--run_dir={tiny_gat_run}"
    saved = np.load(style_found / "found.latents.npz")
    style, label = saved["w"], saved["labels"]
    assert style.shape == (1, tiny_gat.generator.width) and label.tolist() == [2]
    latents = (source, f"--latents={style_found / 'found.latents.npz'}")
    drawn = pictures.to_uint8(tiny_gat.of_style(style))[0]
    scale = pictures.factor_within(2 * side, project.WIDTH)
    shown = read(style_found / "found.png")[::scale, scale * side + pictures.MARGIN :: scale]
    for arguments, expected in (
        ((), drawn),
        (("--psi=0",), pictures.to_uint8(tiny_gat.of_style(tiny_gat.mean_style[2:]))[0]),
    ):
        main(*latents, *arguments, f"--out={tmp_path / 'again.png'}")
        assert_same(read(tmp_path / "again.png"), expected)
    assert_same(shown, drawn)
    main(*latents, "--psi=0", "--classes=1", f"--out={tmp_path / 'other.png'}")
    mean = pictures.to_uint8(tiny_gat.of_style(tiny_gat.mean_style[1:2]))[0]
    assert_same(read(tmp_path / "other.png"), mean)
    line = failing(*latents, "--classes=0,1", f"--out={tmp_path / 'a.png'}")
    assert "error: classes=0,1: latents=" in line and "have their classes in them; leave" in line
    np.savez(tmp_path / "mean.npz", w=np.asarray(tiny_gat.mean_style[2:]))  # of no class known
    both = f"{latents[1]},{tmp_path / 'mean.npz'}"
    main(source, both, "--interpolate", "--frames=2", f"--out={tmp_path / 'walk.png'}")
    halfway = (style + np.asarray(tiny_gat.mean_style[2:])) / 2
    image = pictures.to_uint8(tiny_gat.of_style(halfway))[0]
    assert_same(read(tmp_path / "walk.png")[:side, side + pictures.MARGIN :][:, :side], image)
    line = failing(*latents, "--attention", f"--out={tmp_path / 'a.png'}")
    assert "they are styles, w; --attention needs z" in line
    found, deviations = directions.style_directions(tiny_gat.generator, 2, 2)
    main(*latents, "--directions=2", f"--out={tmp_path / 'moved.png'}")
    moved = read(tmp_path / "moved.png")[-side:, -side:]  # along the second, two deviations
    image = pictures.to_uint8(tiny_gat.of_style(style + 2 * deviations[1] * found[1]))[0]
    assert_same(moved, image)
    assert "of given styles only guidance=1" in failing(*latents, "--guidance=2")
