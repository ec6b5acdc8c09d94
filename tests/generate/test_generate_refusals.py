"""What `python -m ladagan_tf.generate` cannot make is refused in one line, and nothing is left."""

import os

import pytest


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--seeds=3-1"], "is no seed or range"),
        (["--psi=0.7"], "psi=0.7: this model has no mean style"),
        (["--classes=0"], "classes=0: this model is unconditional"),
        (["--grid=9999x9999"], "grid=9999x9999: at most 10,000,000 images at a time"),
        (
            ["--grid=2x999999"],
            "out=grid.png: a picture of 1,999,998 images has 2,047,997,952 pixels",
        ),
        (
            ["--interpolate", "--seeds=0-9", "--frames=9999", "--scale=4", "--out=a.png"],
            "out=a.png: a picture of 99,990 images has 1,638,236,160 pixels; at most 1,073,741,824",
        ),
        (["--attention", "--seeds=0-1999999"], "a picture of 2,000,000 images has 2,048,000,000"),
        (["--grid=8"], "grid=8: give rows and columns, as 8x8"),
        (["--grid=2x2", "--seeds=0-4"], "5 images do not fit into --grid=2x2"),
        (["--grid=2x2", "--out=a.npz"], "grid=2x2: it is for a .png of images"),
        (["--scale=2", "--out=a.npz"], "scale=2: it is for a .png, .gif or .mp4"),
        (["--scale=0"], "scale=0"),
        (["--out=a.jpg"], "give .png, .npz, .zip, a folder"),
        (["--out=.png"], "out=.png: give a name before the ending, as samples.png"),
        (["--interpolate", "--out=a.npz"], "give .gif, .mp4, .png"),
        (["--interpolate", "--seeds=1", "--out=a.gif"], "--interpolate needs at least two"),
        (
            ["--interpolate", "--attention"],
            "give one of --interpolate, --attention, --sweep_psi and --directions",
        ),
        (["--frames=4"], "frames=4: it needs --interpolate"),
        (["--fps=5"], "--fps=5: it is for a .gif or .mp4"),
        (
            ["--interpolate", "--frames=999999999999", "--seeds=0,1", "--out=a.gif"],
            "--frames=999999999999: 1,999,999,999,998 frames through 2 images; at most 100,000",
        ),
        (["--batch_size=9000000000000"], "--batch_size=9000000000000: give an integer in the"),
        (["--run_dir=a"], "give either --run_dir or --model"),
        (["--noema"], "--model has one network"),
        (["--guidance=2"], "guidance=2: this model has no styles to guide"),
        (["--sweep_psi=0,1"], "psi=0: this model has no mean style"),
        (["--truncation_z=0"], "truncation_z=0: give a number from 0.01 on"),
        (["--latents=a.npz", "--truncation_z=1"], "truncation_z=1: latents of files are as they"),
        (["--latents=a.npz", "--seeds=1"], "seeds=1: --latents has its own"),
        (["--latents=a.npz", "--out=a.zip"], "out=a.zip: images of --latents are for a .png"),
        (["--latents="], "latents=: give files that ladagan_tf.project wrote, or leave it out"),
        (["--latents=a.npz"], "latents=a.npz: this npz archive cannot be read"),
        (["--directions=9"], "directions=9: this model has 8"),
        (["--directions=1", "--seeds=0,1"], "directions=1: give one image, as --seeds=0"),
        (
            ["--sampler_steps=4"],
            "sampler_steps=4: this model makes an image in one step; only a flow",
        ),
        (["--sampler=euler"], "sampler=euler: this model makes an image in one step"),
        (["--sampler=rk4"], "sampler=rk4"),
        (["--sampler_steps=0"], "sampler_steps=0"),
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
        (["--directions=1"], "directions: only a LadaGAN or a GAT of --run_dir or a .keras file"),
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
    os.mkfifo(tmp_path / "pipe.png")
    message = failing(f"--model={model}", f"--out={tmp_path / 'pipe.png'}")
    assert message.endswith("pipe.png: it cannot be written (it is a pipe or a socket)")
    failing(f"--model={model}", "--psi=0.5", f"--out={tmp_path / 'new' / 'folder' / 'a.png'}")
    assert not (tmp_path / "new").exists()
    (tmp_path / "file").write_text("")
    for name in ("grid.png", "samples.npz", "folder"):
        message = failing(f"--model={model}", f"--out={tmp_path / 'file' / name}")
        assert "it cannot be written" in message
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "seed00000000.png").write_text("")
    assert "no samples.json" in failing(f"--model={model}", f"--out={tmp_path / 'images'}")
    (tmp_path / "images" / "samples.json").write_bytes(b"\xff")
    message = failing(f"--model={model}", f"--out={tmp_path / 'images'}")
    assert f"out={tmp_path / 'images'}: images of another model are in it" in message
