"""`ladagan average` and `--average` in this process, on runs of both systems."""

import json
import shutil

import numpy as np
import pytest
from in_process import command, error_line
from small_generators import SIZES

from ladagan_tf import evaluate
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.flags import evaluate as evaluate_flags
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official import lada_runs
from ladagan_tf.runs.checkpoints import Checkpoints, average_part
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.runs.snapshots import Snapshots
from ladagan_tf.sampling import opening


def store(folder, weights):
    """Two snapshots: of twice and thrice a network's weights, and of four and five times these."""
    for step, factors in ((1, (2, 3)), (2, (4, 5))):
        pairs = zip((0.05, 0.1), factors, strict=True)
        averages = {s: [np.float32(f * w) for w in weights] for s, f in pairs}
        Snapshots(folder, averages).save(step, 250 * step)


def opened(path):
    return opening.open_model(path).network.get_weights()


@pytest.mark.usefixtures("eagerly")
def test_averages_are_made_measured_and_the_best_is_said_to_be_chosen(
    main,
    run,
    small,
    tmp_path,
    capsys,
):
    store(run.averages, small.network.get_weights())
    main(f"--run_dir={run.path}", "--sigma_rel=0.1,0.15", "--metric=swd", "--metric_images=4",
         f"--out={tmp_path / 'made'}")  # fmt: skip
    printed = capsys.readouterr().out.splitlines()
    content = json.loads((tmp_path / "made" / "averages.json").read_text())
    stored, longer = content["averages"]
    for ours, first in zip(
        opened(tmp_path / "made" / stored["file"]), small.network.get_weights(), strict=True
    ):
        np.testing.assert_allclose(ours, np.float16(5 * first), rtol=1e-6)
    assert stored["kimg"] == 0.5 and stored["profile_error"] < 1e-6 < longer["profile_error"]
    best = min((stored, longer), key=lambda record: record["swd_4"])
    (line,) = (line for line in printed if "best: chosen on this metric" in line)
    assert line.startswith(f"{best['sigma_rel']:g} ")
    assert "warning: sigma_rel 0.15: the stored averages do not make this profile" in printed[-2]


@pytest.mark.usefixtures("eagerly")
def test_lengths_that_are_alike_in_six_digits_have_files_of_their_own(
    main, run, small, tmp_path, capsys
):
    store(run.averages, small.network.get_weights())
    out = tmp_path / "made"
    main(f"--run_dir={run.path}", "--sigma_rel=0.0700001,0.07000011", f"--out={out}")
    files = ["averages.json", "sigma_rel_0.0700001.keras", "sigma_rel_0.07000011.keras"]
    assert sorted(path.name for path in out.iterdir()) == files
    first, second = (line.split()[0] for line in capsys.readouterr().out.splitlines()[1:3])
    assert (first, second) == ("0.0700001", "0.07000011")


def test_a_gat_s_average_has_its_autoencoder_and_the_last_mean_styles(
    main, tiny_gat, tiny_gat_run, tmp_path
):
    shutil.copytree(tiny_gat_run, tmp_path / "run")
    weights = tiny_gat.generator.get_weights()
    styles = [i for i, w in enumerate(tiny_gat.generator.weights) if not w.trainable]
    for step in (1, 2):
        averages = {s: [np.float32(step * w) for w in weights] for s in (0.05, 0.1)}
        Snapshots(tmp_path / "run" / "averages", averages, styles, styles).save(step, 250 * step)
    main(f"--run_dir={tmp_path / 'run'}", "--sigma_rel=0.07", f"--out={tmp_path / 'made'}")
    network = opening.open_model(tmp_path / "made" / "sigma_rel_0.07.keras").network
    np.testing.assert_allclose(
        network.mean_style.numpy(), 2 * tiny_gat.mean_style.numpy(), rtol=1e-6
    )
    np.testing.assert_array_equal(
        network.vae.post_quant_conv.get_weights()[0], tiny_gat.vae.post_quant_conv.get_weights()[0]
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sigma_rel=0.3"], "--sigma_rel=0.3: give numbers from 0.001 to below 0.2887"),
        (["--kimg=0.6"], "kimg=0.6: give a number from 0.001, one image, up to the last "),
        (["--kimg=1e-320"], "kimg=1e-320: give a number from 0.001"),
        (["--run_dir=none"], "run_dir=none: no models.json in it, so it is not a run"),
        (["--out=run"], "out=run: it exists already"),
    ],
)
def test_what_cannot_be_averaged_is_one_line(
    main,
    run,
    small,
    tmp_path,
    monkeypatch,
    capsys,
    arguments,
    message,
):
    monkeypatch.chdir(tmp_path)
    store(run.averages, small.network.get_weights())
    given = ["--run_dir=run", "--sigma_rel=0.1", "--out=made", *arguments]
    assert message in error_line(main, given, capsys)
    assert not (tmp_path / "made").exists()


def test_a_run_without_stored_averages_and_one_with_damaged_ones_are_one_line(
    main,
    run,
    small,
    tmp_path,
    capsys,
):
    given = [f"--run_dir={run.path}", "--sigma_rel=0.1", f"--out={tmp_path / 'made'}"]
    assert "no stored averages in it; a run has them that was trained with --posthoc_ema" in (
        error_line(main, given, capsys)
    )
    store(run.averages, small.network.get_weights()[1:])
    assert "they do not fit models.json" in error_line(main, given, capsys)
    path = run.averages / "step-00000002.npz"
    path.write_bytes(path.read_bytes()[:-100])
    assert "step-00000002.npz: this npz archive cannot be read" in error_line(main, given, capsys)


def test_against_a_set_that_was_damaged_nothing_is_measured(main, run, small, tmp_path, capsys):
    store(run.averages, small.network.get_weights())
    prepare("shapes", tmp_path / "noisy", resolution=32, num_images=6, corrupt=["noise:0.5"])
    flags = run.flags_file.read_text()
    run.flags_file.write_text(f"{flags}--dataset={tmp_path / 'noisy'}\n")
    given = [f"--run_dir={run.path}", "--sigma_rel=0.1", "--metric=swd", "--metric_images=4"]
    line = error_line(main, [*given, f"--out={tmp_path / 'made'}"], capsys)
    assert "noisy: its images were damaged on purpose" in line
    assert line.endswith("nothing is measured against them; give --dataset, the set that is not")


def test_what_is_for_a_metric_needs_one(run, main, tmp_path, capsys):
    given = [f"--run_dir={run.path}", "--sigma_rel=0.1", f"--out={tmp_path / 'made'}"]
    for flag in ("--features=none", "--cache_dir=x"):
        assert error_line(main, [*given, flag], capsys) == f"error: {flag}: it needs --metric"


# ------------------------------------------------------------------- averages of a checkpoint


@pytest.fixture
def several(tmp_path, small):
    """A run whose averages are the small generator and twice that."""
    directory = RunDirectory(tmp_path / "several")
    directory.start({}, [small.network])
    other = Generator(**SIZES)
    other.set_weights([2 * w for w in small.network.get_weights()])
    state = {
        f"{part}/{i:03d}/{w.path}": w
        for part, network in ((average_part(0), small.network), (average_part(1), other))
        for i, w in enumerate(network.weights)
    }
    about = {"averages": ["0.999", "500kimg"]}
    Checkpoints(directory.checkpoints, state, about=about).save(step=5, images=2500)
    return directory.path


def test_an_average_is_chosen_by_its_name(several, small):
    first, named, other = (
        opening.open_source(several, None, average=name) for name in (None, "0.999", "500kimg")
    )
    for source, factor in ((first, 1), (named, 1), (other, 2)):
        pairs = zip(source.network.get_weights(), small.network.get_weights(), strict=True)
        for weight, saved in pairs:
            np.testing.assert_array_equal(weight, factor * saved)
    converted = lada_runs.open_run_part(several, "latest", "averaged", "500kimg")
    for weight, saved in zip(converted.get_weights(), other.network.get_weights(), strict=True):
        np.testing.assert_array_equal(weight, saved)
    assert first.about == named.about and "average" not in first.about
    assert other.about == first.about | {"average": "500kimg"}


@pytest.mark.usefixtures("eagerly")
def test_a_sweep_measures_each_average_and_knows_all_before(several, tmp_path, capsys):
    images = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    np.savez(tmp_path / "real.npz", images=images)
    given = [f"--run_dir={several}", f"--dataset={tmp_path / 'real.npz'}", "--num_samples=4"]
    given += ["--metrics=swd", "--features=none", f"--out={tmp_path / 'm.jsonl'}"]
    with command(evaluate, evaluate_flags.define) as measure:
        line = error_line(measure, [*given, "--sweep_average=0.999,0.5"], capsys)
        assert "sweep_average=0.999,0.5: average=0.5: " in line and "has 0.999, 500kimg" in line
        assert not (tmp_path / "m.jsonl").exists()
        measure(*given, "--sweep_average=0.999,500kimg")
    records = [json.loads(text) for text in (tmp_path / "m.jsonl").read_text().splitlines()]
    assert [r["protocol"]["generated"].get("average") for r in records] == [None, "500kimg"]
    assert records[0]["value"] != records[1]["value"]
    assert (tmp_path / "sweep_average.png").is_file()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"average": "0.5"}, "average=0.5: .*step-00000005 has 0.999, 500kimg; leave --average"),
        ({"average": "0.999", "ema": False}, "average=0.999: --noema asks for weights that are no"),
        ({"average": "0.999", "checkpoint": "untrained"}, "--checkpoint=untrained asks for"),
    ],
)
def test_an_average_that_is_not_there_is_one_line(several, given, message):
    with pytest.raises(InputError, match=message):
        opening.open_source(several, None, **given)


def test_models_and_older_runs_have_no_averages_to_choose_from(run):
    with pytest.raises(InputError, match=r"average=0\.999: .* has one average, which has no name"):
        opening.open_run(run.path, average="0.999")
    with pytest.raises(InputError, match=r"average=0\.999: it chooses within --run_dir"):
        opening.open_source(None, "zoo:emoji64", average="0.999")
