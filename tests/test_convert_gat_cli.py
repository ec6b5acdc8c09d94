"""`python -m ladagan_tf.convert` of GAT: to a run that is trained further."""

import contextlib
import shutil
import sys

import keras
import latents_of_shapes
import numpy as np
import pytest
from fake_hub import FakeHub
from in_process import command, error_line
from safetensors.numpy import save_file
from train_processes import run_each, stats

from ladagan_tf import convert
from ladagan_tf.flags import convert as convert_flags
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.official import gat as official_gat
from ladagan_tf.runs.directory import read_flags
from ladagan_tf.sampling import opening

SIZES = {"latent_size": 8, "width": 16, "num_heads": 2, "num_classes": 30}
pytestmark = pytest.mark.slow


@pytest.fixture
def main():
    with converting() as call:
        yield call


@contextlib.contextmanager
def converting():
    keras.utils.clear_session(free_memory=False)
    with command(convert, convert_flags.define) as call:
        yield call


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A prepared set of latents, and official weights of as many classes without a teacher."""
    path = latents_of_shapes.fill(tmp_path_factory.mktemp("small"), 8)
    generator = GatGenerator(**SIZES, depth=4, noise_dim=8)
    discriminator = GatDiscriminator(**SIZES, depth=1, class_dim=8, teacher_dim=None)
    (path / "official").mkdir()
    parts = {"generator": generator, "ema": generator, "discriminator": discriminator}
    for part, network in parts.items():
        state = official_gat.official_state(network)
        state = {name: np.ascontiguousarray(array) for name, array in state.items()}
        save_file(state, path / "official" / f"{part}.safetensors", {"steps": "3"})
    return path


def test_a_converted_run_is_trained_further(small, tmp_path, capsys):
    out = tmp_path / "run"
    options = [f"--dataset={small / 'latents'}", "--batch_size=4", "--log_kimg=0.004", "--grid=2"]
    with converting() as main:
        main(f"--official={small / 'official'}", f"--out={out}", *options)
    assert "gat, 0.012 kimg, step 3, without the optimizers" in capsys.readouterr().out
    before = read_flags(out / "flags.cfg")

    flags = [f"--flagfile={out}/flags.cfg", "--total_kimg=0.016"]
    (output,) = run_each([flags], eagerly=True, reports=False)
    assert output.endswith("code 0\n"), output
    after = read_flags(out / "flags.cfg")
    assert {k for k, v in after.items() if before.get(k) != v} == {"total_kimg"}
    assert [line["step"] for line in stats(out)] == [4]
    with converting() as main:
        main(f"--run_dir={out}", f"--out={tmp_path / 'new.keras'}")
    assert "averaged, 16 px from latents of 8 x 8 x 4" in capsys.readouterr().out


def test_a_generator_of_diffusers_is_converted_from_the_hub(
    small, main, tmp_path, capsys, monkeypatch
):
    variant = tmp_path / "repository" / "GAT-XL-2-256"
    (variant / "generator").mkdir(parents=True)
    weights = "diffusion_pytorch_model.safetensors"
    shutil.copy(small / "official" / "ema.safetensors", variant / "generator" / weights)
    fake = FakeHub(tmp_path / "repository", tmp_path / "local")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    out = tmp_path / "gat.keras"
    arguments = ("--official=hf:BiliSakura/GAT-diffusers/GAT-XL-2-256", f"--out={out}")
    main(*arguments, f"--vae={small / 'vae.keras'}")
    assert "averaged, 16 px from latents of 8 x 8 x 4" in capsys.readouterr().out
    assert opening.open_model(out).num_classes == 30
    assert "it exists already" in error_line(main, arguments, capsys)
    assert len(fake.asked) == 1  # nothing is downloaded that could not be written
    fake.local = tmp_path / "empty"
    for address, told in (
        (tmp_path / "repository", f"perhaps {tmp_path}/repository/GAT-XL-2-256"),
        ("hf:BiliSakura/GAT-diffusers", "of the hub give hf:USER/REPO/SUBFOLDER"),
    ):
        line = error_line(main, (f"--official={address}", f"--out={tmp_path / 'x.keras'}"), capsys)
        assert line.startswith(f"error: official={address}: no weight file") and told in line
    line = error_line(main, (f"--official={variant}", f"--out={tmp_path / 'run'}"), capsys)
    assert "no state dict 'generator', only ema; that makes a .keras file, but no run" in line
    assert not (tmp_path / "run").exists()


def test_flags_of_the_other_system_are_one_line(small, main, capsys):
    arguments = (f"--official={small / 'official'}", "--out=x.keras", "--g_widths=8,8,8")
    line = error_line(main, arguments, capsys)
    assert line == "error: --g_widths: there is no such flag with --system=gat"


def test_flags_that_a_run_has_no_use_for_are_one_line(tiny_gat_run, main, capsys):
    for flag in ("--official_quirks=True", "--vae=v", "--cache_dir=c"):
        for way in (["--out=x.keras"], ["--out=x", "--to_official"]):
            line = error_line(main, (f"--run_dir={tiny_gat_run}", *way, flag), capsys)
            assert line.startswith(
                f"error: {flag}: only a run directory that is made of --official"
            )


def test_networks_that_the_checkpoint_has_not_are_one_line(small, main, tmp_path, capsys):
    arguments = (f"--official={small / 'official'}", f"--out={tmp_path / 'run'}")
    line = error_line(main, (*arguments, "--attention=additive"), capsys)
    assert line.startswith("error: --attention=additive: ") and line.endswith("on=dot_product")
    assert not list(tmp_path.iterdir())
