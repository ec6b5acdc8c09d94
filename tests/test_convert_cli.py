"""`python -m ladagan_tf.convert` of LadaGAN: to a file, and to a run that is trained further."""

import contextlib
import pathlib

import keras
import numpy as np
import pytest
from golden_sets import GOLDEN
from in_process import command, error_line
from train_processes import run_each

import ladagan_tf  # noqa: F401 - registers the classes that keras.saving.load_model needs
from ladagan_tf import convert
from ladagan_tf.data.preparation import prepare
from ladagan_tf.flags import convert as convert_flags
from ladagan_tf.official import lada_folder, lada_runs
from ladagan_tf.runs.checkpoints import find_checkpoint, read_part
from ladagan_tf.runs.directory import read_flags

pytestmark = pytest.mark.slow
OFFICIAL = [f"--official={GOLDEN / 'ladagan_checkpoint' / 'ckpt_32'}", "--out=nowhere"]

KERAS = [OFFICIAL[0], "--out=x.keras"]


@pytest.fixture
def checkpoint_folder():
    return GOLDEN / "ladagan_checkpoint" / "ckpt_32"


@pytest.fixture
def main():
    with converting() as call:
        yield call


@contextlib.contextmanager
def converting():
    # As in a process of its own, whose first layers have no numbers.
    keras.utils.clear_session(free_memory=False)
    with command(convert, convert_flags.define) as call:
        yield call


def test_it_writes_a_file_that_keras_loads(checkpoint_folder, main, tmp_path, capsys):
    expected = np.load(checkpoint_folder / "expected.npz")
    out = tmp_path / "made" / "averaged.keras"
    main(f"--official={checkpoint_folder}", f"--out={out}")
    assert "averaged" in capsys.readouterr().out
    images = keras.saving.load_model(out)(expected["z"])
    np.testing.assert_allclose(images, expected["ema_image"], rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--out=x.keras"], "give either --official, to convert it, or --run_dir"),
        (["--official=a", "--out=.keras"], "out=.keras: give a name before the ending"),
        (
            ["--official=nowhere", "--out=x.keras"],
            "official=nowhere: no weight file, and no folder of LadaGAN (config.json",
        ),
        (["--to_official", "--run_dir=r", "--out=x.keras"], "needs --run_dir and a folder"),
        (["--official=a", "--out=r", "--posthoc_ema"], "--posthoc_ema: what is converted has one"),
        (["--official=a", "--out=x.keras", "--average=0.9"], "--average=0.9: it chooses among the"),
        (
            ["--official=a", "--out=x.keras", "--checkpoint=latest"],
            "--checkpoint=latest: it chooses",
        ),
        (["--official=a", "--out=r", "--dry_run"], "--dry_run: it is for train, behind the --fl"),
        (["--official=a", "--out=x.keras", "--force"], "--force: it is for train"),
        (["--run_dir=r", "--out=x.keras", "--measure_seconds=1"], "--measure_seconds: it is for"),
        ([*OFFICIAL, "--g_widths=96,32,16"], "ckpt_32 has g_widths="),
        ([*OFFICIAL, "--attention=additive", "--d_norm=none"], "ckpt_32 has d_norm=batch"),
        ([*OFFICIAL, "--batch_size=0"], "--batch_size=0: it must be 1 or more"),
        (["--gpu_run=a", "--out=r", "--part=generator"], "--part=generator: it chooses what a .ke"),
        (
            ["--official=a", "--out=x.keras", "--nooptimizers"],
            "--nooptimizers: it is for a run dir",
        ),
        (["--run_dir=r", "--out=x.keras", "--batch_size=8"], "--batch_size=8: only a run direct"),
        (["--run_dir=r", "--out=o", "--to_official", "--cache_dir=c"], "--cache_dir=c: only a run"),
        ([*KERAS, "--precision=mixed_float16"], "--precision=mixed_float16: only a run directory"),
        ([*KERAS, "--cache_dir=c"], "--cache_dir=c: only a run directory that is made of --offic"),
        (
            ["--run_dir=r", "--out=x.keras", "--average=0.9", "--part=generator"],
            "--average=0.9: it",
        ),
    ],
)
def test_what_cannot_work_is_one_line(main, capsys, arguments, message):
    assert message in error_line(main, arguments, capsys)
    assert not pathlib.Path("x.keras").exists() and not pathlib.Path("nowhere").exists()


def test_what_the_authors_format_does_not_say_of_a_run_is_said(main, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    run.mkdir()
    recorded = {"loss": "rpgan", "r2_weight": "1.0", "epsilon": "1e-07", "bcr": "True"}
    (run / "flags.cfg").write_text("".join(f"--{n}={v}\n" for n, v in recorded.items()))
    monkeypatch.setattr(convert.lada_runs, "write_official", lambda *_: 7)
    main(f"--run_dir={run}", f"--out={tmp_path / 'back'}", "--to_official")
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "not in it, as their code trains without: --loss=rpgan, --r2_weight=1.0"


def test_a_converted_run_is_trained_further(checkpoint_folder, tmp_path):
    config = lada_folder.read_config(checkpoint_folder)
    arrays = lada_folder.read_arrays(checkpoint_folder)
    batch, images = config["batch_size"], int(arrays["n_images"])
    dataset = tmp_path / "shapes"
    prepare("shapes", dataset, resolution=config["img_size"], num_images=16, workers=1)
    run = tmp_path / "run"
    options = [f"--dataset={dataset}", "--log_kimg=0.001", "--grid=2"]
    with converting() as main:
        main(f"--official={checkpoint_folder}", f"--out={run}", *options)
    before = read_flags(run / "flags.cfg")

    flagfile = f"--flagfile={run}/flags.cfg"
    recorded = (run / "flags.cfg").read_text().splitlines()
    longer = f"--total_kimg={(images + batch) / 1000}"
    starts = [flagfile, "--dry_run"], [flagfile, longer]
    outputs = run_each(starts, eagerly=True, reports=False)
    assert all(output.endswith("code 0\n") for output in outputs), outputs
    assert [line for line in outputs[0].splitlines() if line.startswith("--")] == recorded
    after = read_flags(run / "flags.cfg")
    assert {k: v for k, v in after.items() if before[k] != v}.keys() == {"total_kimg"}
    checkpoint, state = find_checkpoint(run / "checkpoints", "latest")
    assert state["images"] == images + batch
    iteration = read_part(checkpoint, "g_optimizer")[0]
    assert iteration == arrays["g_optimizer/_iterations"] + 1

    lada_runs.write_official(run, tmp_path / "back", "latest")
    back = lada_folder.read_arrays(tmp_path / "back")
    assert back.keys() == arrays.keys()
    assert back["n_images"] == state["images"] and back["fid"] == lada_runs.UNMEASURED
    name = "ema_generator/ch_conv/kernel"
    moved = np.max(np.abs(back[name] - arrays[name]))
    assert 0 < moved < 1  # it went on from there, not from new weights
