"""`evaluate.py` as users run it: what is measured, what is printed and written, what is refused."""

import errno
import functools
import json
import re
import shutil
import signal
import unittest.mock

import numpy as np
import pytest
import tensorflow as tf
from in_process import command, outcome
from paper_sizes import zero_weights
from rule_weights import rule_weights

from ladagan_tf import errors, evaluate
from ladagan_tf.cost import speed
from ladagan_tf.data.preparation import prepare
from ladagan_tf.evaluation import metrics
from ladagan_tf.evaluation.classifier import train_classifier
from ladagan_tf.flags import evaluate as evaluate_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.features.inception import Inception
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.reports import keeping
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def eagerly():
    """Few images are made, and one step is trained, before the graph of a network is traced."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="module")
def place(eagerly, tmp_path_factory):
    """A run on sixty shapes with a random generator, a classifier, Inception weights by rule."""
    place = tmp_path_factory.mktemp("evaluate")
    prepare("shapes", place / "shapes", resolution=32, num_images=120, workers=1)
    train_classifier(place / "shapes", place / "shapes.classifier.keras", kimg=0.064)
    sizes = {"noise_dim": 8, "widths": (64, 16, 4), "mlp_widths": (8, 8, 8)}
    sizes |= {"modulation": "layer_norm", "conv": False}  # the fewest layers
    generator = Generator(**sizes)
    run = RunDirectory(place / "run")
    run.start({"dataset": str(place / "shapes"), "resolution": "32"}, [generator])
    state = {f"averaged/{i:03d}/{v.path}": v for i, v in enumerate(generator.weights)}
    checkpoints = Checkpoints(run.checkpoints, state)
    checkpoints.save(10, 80, score=1.0, metric="fcd")
    checkpoints.save(20, 160, score=2.0, metric="fcd")
    (run.path / "report.html").touch()
    damaged = place / "damaged"
    prepare("shapes", damaged, resolution=32, num_images=8, workers=1, corrupt=["noise:0.5"])
    shutil.copytree(run.path, place / "of_damaged")
    (place / "of_damaged" / "flags.cfg").write_text(f"--dataset={damaged}\n--resolution=32\n")
    generator.save(place / "generator.keras")
    with shapes_only():
        shapes = Inception().tensor_shapes()
    np.savez(place / "inception.npz", **rule_weights(shapes, gain=2.0))
    return place


@pytest.fixture(scope="module")
def results(place, tiny_gat, tiny_gat_run):
    tiny_gat.generator.save(place / "latents.keras")
    real = np.random.default_rng(0).integers(0, 256, (10, 16, 16, 3), np.uint8)
    np.savez(place / "real.npz", arr_0=real)
    moments = {"mu": np.zeros(3), "sigma": np.eye(3)}
    np.savez(place / "adm.npz", arr_0=np.repeat(np.repeat(real, 2, 1), 2, 2), **moments)
    none, lost = "--features=none", f"--out={place / 'lost.jsonl'}"
    gat = [f"--run_dir={tiny_gat_run}", f"--dataset={place / 'real.npz'}", "--features=none"]
    shapes, cache = f"--dataset={place / 'shapes'}", f"--cache_dir={place / 'cache'}"
    run, classifier = f"--run_dir={place / 'run'}", "--features=classifier"
    out = f"--out={place / 'out' / 'metrics.jsonl'}"
    few = ["--num_samples=10", "--batch_size=10"]
    fewest = [*few, "--num_real=10"]
    keras_file = f"--model={place / 'generator.keras'}"
    (place / "full.jsonl").symlink_to("/dev/full")
    commands = {
        "full": [keras_file, shapes, "--features=none", f"--out={place / 'full.jsonl'}", *fewest],
        "nowhere": [keras_file, shapes, "--out=/dev/null/metrics.jsonl", *few],
        "too_much": [
            keras_file,
            shapes,
            "--features=none",
            f"--save_samples={place / 'x.npz'}",
            "--num_samples=1000000000000",
            out,
        ],
        "run": [run, classifier, "--save_samples=npz", cache, *few],
        "again": [run, classifier, "--checkpoint=latest", "--metrics=fcd", cache, *few],
        "inception": [
            keras_file,
            shapes,
            f"--inception_weights={place / 'inception.npz'}",
            "--metrics=kid",
            "--num_real=3",
            "--num_samples=2",
            cache,
            out,
        ],
        "repeats": [keras_file, shapes, "--features=none", "--repeats=2", out, *fewest],
        "real": [f"--images={place / 'shapes'}", shapes, classifier, "--metrics=fcd", cache, out],
        "ppl": [
            keras_file,
            f"--features=classifier:{place / 'shapes.classifier.keras'}",
            "--metrics=ppl,is",
            "--num_samples=10",
            out,
        ],
        "no_path": [f"--images={place / 'shapes'}", shapes, classifier, "--metrics=ppl", out],
        "half_path": [run, classifier, "--metrics=ppl", "--precision=mixed_bfloat16", *few],
        "cost": ["--cost"],
        "speed": ["--cost", keras_file],
        "adm": [keras_file, f"--dataset={place / 'adm.npz'}", none, "--metrics=swd", lost, *few],
        "gat": [*gat, "--psi=0.5", "--guidance=1.5", "--labels=random", out, *few],
        "sweep": [
            keras_file,
            shapes,
            none,
            "--sweep_truncation_z=1,0.5",
            f"--out={place / 'swept' / 'm.jsonl'}",
            *fewest,
        ],
        "two_sweeps": [*gat, "--sweep_psi=1,0.5", "--sweep_guidance=1,2"],
        "sweep_psi": [run, "--sweep_psi=1,0.5"],
        "sweep_guidance": [run, classifier, "--sweep_guidance=1,2"],
        "sweep_beyond": [run, "--sweep_psi=1,2"],
        "sweep_word": [run, "--sweep_truncation_z=a"],
        "sweep_and": [*gat, "--psi=0.5", "--sweep_psi=0,1"],
        "gat_cost": [gat[0], "--cost"],
        "cost_images": ["--cost", f"--images={place / 'shapes'}"],
        "cost_metrics": ["--cost", keras_file, "--metrics=fid,kid"],
        "cost_preset": ["--cost", "--preset=cifar10_32", "--precision=mixed_bfloat16"],
        "cost_swept": ["--cost", run, "--sweep_psi=1,0.5"],
        "cost_two": ["--cost", keras_file, "--preset=cifar10_32"],
        "of_generator": [f"--images={place / 'shapes'}", shapes, none, "--noema"],
        "preset": [keras_file, shapes, "--preset=cifar10_32"],
        "split": [keras_file, shapes, "--virtual_cpus=2"],
        "of_run": [keras_file, shapes, none, "--checkpoint=latest"],
        "gat_vae": [f"--model={place / 'latents.keras'}", "--cost"],
        "psi": [run, "--psi=0.5"],
        "by_class": [run, classifier, "--by_class", *few],
        "nothing": [shapes],
        "no_reference": [keras_file, *few],
        "damaged": [f"--run_dir={place / 'of_damaged'}", none, *few],
        "clean": [f"--run_dir={place / 'of_damaged'}", shapes, none, *fewest],
        "labels": [keras_file, shapes, classifier, "--labels=random", *few],
        "few": [keras_file, shapes, classifier, "--num_samples=1", out, cache],
        "k": [keras_file, shapes, classifier, "--num_samples=3", "--metrics=prdc", out, cache],
        "no_weights": [keras_file, shapes, "--inception_weights=none.pth"],
        "other": [keras_file, shapes, classifier, "--metrics=fid"],
        "unknown": [keras_file, shapes, "--inception_weights=none.pth", "--metrics=fud"],
        "checkpoint": [run, classifier, "--checkpoint=7"],
        "archive": [keras_file, shapes, classifier, "--save_samples=x.png"],
        "own_set": [gat[0], gat[1], none, f"--save_samples={place / 'real.npz'}", out],
        "other_file": [keras_file, shapes, none, f"--out={place / 'generator.keras'}"],
        "extra": [keras_file, "more"],
    }
    # What is measured was saved: initial weights, of the sizes of --cost too, may be zero.
    with (
        zero_weights(),
        command(evaluate, evaluate_flags.define) as call,
        pytest.MonkeyPatch.context() as patch,
    ):
        # How often and with how many images speed is measured: cost/test_speed.py.
        once = functools.partial(speed.measure_speed, batch_sizes=(1, 2), repeats=1)
        patch.setattr(speed, "measure_speed", once)
        found = {name: outcome(call, arguments) for name, arguments in commands.items()}
        patch.setattr(metrics, "mode_coverage", lambda *_: 1 / 0)
        arguments = [f"--images={place / 'shapes'}", shapes, classifier, cache, lost]
        found["lost"] = outcome(call, [*arguments, "--metrics=modes,fcd"])
        patch.setattr(evaluate.report, "table", unittest.mock.Mock(side_effect=BrokenPipeError))
        patch.setattr(errors, "leave_pipe", lambda: None)
        unheard = [*commands["adm"], f"--out={place / 'unheard.jsonl'}"]
        found["unheard"] = outcome(call, unheard)
    return found


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_run_is_measured_with_its_own_data_and_best_checkpoint(results, place):
    status, out, _ = results["run"]
    assert status == 0, results["run"]
    found = {record["metric"]: record for record in lines(place / "run" / "metrics.jsonl")[:9]}
    assert set(found) == {
        "fcd", "is", "precision", "recall", "f_score", "density", "coverage", "modes", "swd",
    }  # fmt: skip
    assert found["fcd"]["name"] == "fcd_classifier_10_vs_120" and found["fcd"]["name"] in out
    generated = found["fcd"]["protocol"]["generated"]
    assert generated["checkpoint"] == "step-00000010" and generated["ema"] is True
    assert (place / "run" / "classes.png").exists()


def test_the_report_of_a_run_shows_what_was_measured(results, place):
    text = (place / "run" / "report.html").read_text()
    assert "<summary>Protocol of run, 0.08 kimg, EMA" in text and "fcd ↓" in text


def test_a_report_that_cannot_be_written_is_a_warning(tmp_path, monkeypatch, capsys):
    """Of somebody else's run: the numbers are in --out."""
    (tmp_path / "report.html").touch()
    read_only = unittest.mock.Mock(side_effect=OSError(errno.EROFS, "Read-only file system"))
    monkeypatch.setattr(keeping, "write_report", read_only)
    with command(evaluate, evaluate_flags.define):
        read_flags(["evaluate", f"--run_dir={tmp_path}"])
        evaluate.write_report_again()
    said = f"run_dir={tmp_path}/report.html: it cannot be written (Read-only file system)"
    assert capsys.readouterr().err == f"warning: {said}\n"


def test_another_evaluation_is_appended_with_its_own_checkpoint(results, place):
    assert results["again"][0] == 0
    last = lines(place / "run" / "metrics.jsonl")[-1]
    assert last["protocol"]["generated"]["checkpoint"] == "step-00000020"


def test_the_samples_are_an_adm_archive(results, place):
    with np.load(place / "run" / "samples_10.npz") as archive:
        assert archive["arr_0"].shape == (10, 32, 32, 3) and archive["arr_0"].dtype == np.uint8


def test_a_metric_of_inception_names_it_and_calls_few_images_a_quick_look(results, place):
    status, out, _ = results["inception"]
    assert status == 0, results["inception"]
    assert "kid_inception_2_vs_3" in out and "a quick look" in out
    record = next(r for r in lines(place / "out" / "metrics.jsonl") if r["metric"] == "kid")
    features = record["protocol"]["features"]
    assert features["network"].startswith("Inception-2015-12-05") and len(features["sha256"]) == 64
    assert "TF1 bilinear" in features["resize"]


def test_a_file_of_moments_and_images_is_both(results):
    status, out, error = results["adm"]
    assert status == 0, error
    assert "swd_10_vs_10 " in out and "compared" in out


def test_repeats_give_a_spread_over_seeds(results):
    status, out, _ = results["repeats"]
    assert status == 0 and "(2 seeds)" in out


def test_a_run_on_damaged_images_is_measured_against_others_alone(results, place):
    status, _, error = results["damaged"]
    assert status == 2 and "damaged on purpose (noise:0.5)" in error and "--dataset" in error
    assert results["clean"][0] == 0, results["clean"]
    assert not (place / "of_damaged" / "metrics.jsonl").read_text().count("damaged on purpose")


def test_the_real_images_are_at_distance_zero_from_themselves(results, place):
    assert results["real"][0] == 0
    record = next(r for r in lines(place / "out" / "metrics.jsonl") if r["metric"] == "fcd")
    assert abs(record["value"]) < 1e-6


def test_what_compares_with_nothing_needs_no_reference(results, place):
    status, out, error = results["ppl"]
    assert status == 0, error
    assert "ppl_classifier_10 " in out and "is_classifier_10 " in out
    record = next(r for r in lines(place / "out" / "metrics.jsonl") if r["metric"] == "ppl")
    assert record["value"] > 0 and record["details"]["pairs"] == 10
    assert record["protocol"]["reference"] == {"images": "none"}


def test_a_gat_is_measured_with_psi_guidance_and_labels_in_its_protocol(results, place):
    status, out, error = results["gat"]
    assert status == 0, error
    assert "psi 0.5, guidance 1.5" in out and "labels random" in out
    record = lines(place / "out" / "metrics.jsonl")[-1]
    generated = record["protocol"]["generated"]
    assert (generated["psi"], generated["guidance"], generated["labels"]) == (0.5, 1.5, "random")
    assert len(generated["vae_sha256"]) == 64


def test_a_sweep_writes_a_line_per_point_a_table_and_a_curve(results, place):
    status, out, error = results["sweep"]
    assert status == 0, error
    assert (
        re.search("truncation_z +swd\\n +1 ", out)
        and "* the best of each column, chosen on this metric" in out
    )
    found = lines(place / "swept" / "m.jsonl")
    assert [r["protocol"]["generated"]["truncation_z"] for r in found] == [1.0, 0.5]
    assert (place / "swept" / "sweep_truncation_z.png").read_bytes().startswith(b"\x89PNG")


def test_the_cost_of_a_gat_is_that_of_its_latents_and_of_decoding_them(results, tiny_gat):
    status, out, error = results["gat_cost"]
    assert status == 0, error
    assert f"{tiny_gat.generator.count_params():,} parameters" in out
    assert "VAE decoder" in out and "images/s" in out


def test_cost_stands_beside_the_papers_numbers(results):
    status, out, _ = results["cost"]
    assert status == 0
    assert "19,901,647" in out and "0.7 B" in out and "multiply-adds" in out
    status, out, _ = results["speed"]
    assert status == 0 and "images/s" in out and "peak memory" in out


def test_what_nobody_reads_is_written(results, place):
    assert results["unheard"] == (128 + signal.SIGPIPE, "", "")
    [line] = lines(place / "unheard.jsonl")
    assert line["metric"] == "swd"


def test_the_table_is_printed_whatever_fails_afterwards(results):
    for name, shown, message in (
        ("full", "swd_10_vs_10 ", "full.jsonl: it cannot be written (No space left on device)"),
        (
            "lost",
            "fcd_classifier_120_vs_120 ",
            "metrics=modes: ZeroDivisionError: ",
        ),
    ):
        status, out, error = results[name]
        assert status == 2 and shown in out
        assert error.splitlines()[-1].startswith("error: ") and message in error.splitlines()[-1]


@pytest.mark.parametrize(
    "name, message",
    [
        ("nowhere", "out=/dev/null/metrics.jsonl: it cannot be written ("),
        ("too_much", "it takes 3.07e+06 GB, and only"),
        ("gat_vae", "it generates latents; give --vae"),
        ("psi", "psi=0.5: this model has no mean style"),
        ("two_sweeps", "give one of --sweep_psi and --sweep_guidance"),
        ("sweep_psi", "psi=0.5: this model has no mean style"),
        ("sweep_guidance", "guidance=2: this model has no styles to guide"),
        ("sweep_beyond", "--sweep_psi=1,2: psi=2: give 0 (each class's mean) to 1"),
        ("sweep_word", "--sweep_truncation_z=a: give numbers, as 0.5,0.7,1"),
        ("sweep_and", "--psi=0.5: not with --sweep_psi"),
        ("by_class", "by_class: what is measured has no classes"),
        ("unknown", "metrics=fud: give fid, "),
        ("nothing", "give one of --run_dir, --model and --images"),
        ("no_reference", "--dataset is required"),
        ("no_path", "is images; give a generator, by --run_dir or --model"),
        ("half_path", "with --precision=mixed_bfloat16 the images of a step would hardly differ"),
        ("labels", "labels=random: "),
        ("few", "metrics=fcd: it needs at least 2 generated images; there are 1"),
        ("k", "metrics=prdc: it needs at least 4 generated images; there are 3"),
        ("no_weights", "--inception_weights=none.pth: no such file"),
        ("other", "fid is not defined with features=classifier"),
        ("checkpoint", "checkpoint=7: give best, latest or"),
        ("archive", "save_samples=x.png: give npz"),
        ("own_set", "real.npz: it is read, and would be lost; give another file"),
        ("other_file", "generator.keras: it holds no lines of numbers; give another file"),
        ("cost_images", "--cost: give one of --run_dir, --model and --preset"),
        ("cost_metrics", "--metrics=fid,kid: not with --cost"),
        ("cost_preset", "--precision=mixed_bfloat16: it is for a trained generator, by"),
        ("cost_swept", "--sweep_psi=1,0.5: not with --cost"),
        ("cost_two", "--cost: give one of --run_dir, --model and --preset"),
        ("preset", "--preset=cifar10_32: it needs --cost"),
        ("split", "virtual_cpus=2: it needs strategy=mirrored"),
        ("of_generator", "--noema: it is for a generator; --images are there already"),
        ("of_run", "--checkpoint and --ema choose within --run_dir"),
        ("extra", "unexpected argument 'more'"),
    ],
)
def test_bad_input_is_one_line(results, name, message):
    status, _, error = results[name]
    said = [line for line in error.splitlines() if line.startswith("error: ")]
    assert status == 2 and len(said) == 1 and message in said[0], error
    assert "Traceback" not in error
