"""Files of runs are read as they were written, also while they are being written."""

import json

import numpy as np
import pytest
from PIL import Image
from run_lines import lines_of, measurement

from ladagan_tf.errors import InputError
from ladagan_tf.runs import results

WINDOW = {"d_loss": 1.0, "g_loss": 2.0, "r1": 0.1, "real_logits": 0.5, "fake_logits": -0.5}
SPEED = {"d_grad_norm": 0.6, "g_grad_norm": 0.7, "img_per_s": 50.0}


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    stats = [{"step": i, "kimg": float(i), **WINDOW, **SPEED} for i in (1, 2, 3)]
    stats.insert(2, {"step": 2, "kimg": 2.0, "fcd_classifier_1k": 90.0, "metric_seconds": 3.0})
    (folder / "stats.jsonl").write_text(lines_of(*stats))
    (folder / "metrics.jsonl").write_text(lines_of(measurement()))
    return folder


def test_windows_and_measurements_are_told_apart(run):
    windows, measured = results.read_stats(run)
    assert [line["step"] for line in windows] == [1, 2, 3]
    assert [line["fcd_classifier_1k"] for line in measured] == [90.0]


def test_a_column_passes_over_lines_without_the_field(run):
    windows, measured = results.read_stats(run)
    kimg, values = results.column(windows + measured, "fcd_classifier_1k")
    np.testing.assert_array_equal([kimg, values], [[2.0], [90.0]])
    assert [len(part) for part in results.column(windows, "no_such_field")] == [0, 0]


@pytest.mark.parametrize("length", range(1, 60, 7))
def test_a_line_that_is_being_written_is_left_out(run, length):
    before = results.read_stats(run), results.read_metrics(run)
    for name in ("stats.jsonl", "metrics.jsonl"):
        with open(run / name, "a") as file:
            file.write(json.dumps({"step": 4, "kimg": 4.0, **WINDOW})[:length])
    assert (results.read_stats(run), results.read_metrics(run)) == before


def test_a_run_that_has_just_started_has_no_lines(tmp_path):
    assert results.read_stats(tmp_path) == ([], [])
    assert results.read_metrics(tmp_path) == results.sample_grids(tmp_path) == []
    results.plot_curves([tmp_path], tmp_path / "curves.png")
    assert "evaluate.py" in results.metrics_table([tmp_path])


def test_a_missing_folder_is_named(tmp_path):
    for function in (results.read_stats, results.read_metrics, results.sample_grids):
        with pytest.raises(InputError, match="nowhere"):
            function(tmp_path / "nowhere")


def test_sample_grids_come_in_the_order_of_training(run):
    (run / "samples").mkdir()
    for name in ("samples_000010.000kimg", "samples_000005.008kimg", "attention_000005.008kimg"):
        (run / "samples" / f"{name}.png").touch()
    assert [kimg for kimg, _ in results.sample_grids(run)] == [5.008, 10.0]


def test_curves_show_what_was_logged(run, tmp_path):
    figure = results.plot_curves([run], tmp_path / "curves.png")
    axes = {a.get_ylabel(): a for a in figure.axes if a.get_ylabel()}
    assert list(axes) == [
        "loss",
        "mean logit",
        "gradient norm",
        "R1 penalty times its weight",
        "speed in images/s",
        "fcd_classifier_1k of EMA samples",
    ]
    d_line, g_line = axes["loss"].lines
    np.testing.assert_array_equal(d_line.get_xydata(), [[1, 1], [2, 1], [3, 1]])
    np.testing.assert_array_equal(g_line.get_ydata(), [2, 2, 2])
    assert all("kimg" in a.get_xlabel() for a in axes.values())
    assert Image.open(tmp_path / "curves.png").width > 800


def test_runs_share_panels_but_different_metrics_do_not(run, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    window = {"step": 1, "kimg": 1.0, **WINDOW, "d_loss": float("nan"), "bcr": 0.2}
    measured = {"step": 1, "kimg": 1.0, "fid_inception_1k": 50.0, "metric_seconds": 3.0}
    (other / "stats.jsonl").write_text(lines_of(window, measured))
    labels = [a.get_ylabel() for a in results.plot_curves([run, other]).axes]
    assert labels[3] == "penalty times its weight"  # R1 and bCR
    assert labels[5:7] == ["fcd_classifier_1k of EMA samples", "fid_inception_1k of EMA samples"]


def test_curves_of_gat_show_its_margin_both_penalties_and_the_alignment(tmp_path):
    values = {"d_loss": 1.0, "r1": 0.1, "r2": 0.2, "margin": 0.3, "alignment": 0.9, **SPEED}
    (tmp_path / "stats.jsonl").write_text(lines_of({"step": 1, "kimg": 1.0, **values}))
    axes = {a.get_ylabel(): a for a in results.plot_curves([tmp_path]).axes if a.get_ylabel()}
    assert list(axes)[1:5] == [
        "real - fake mean logit",
        "gradient norm",
        "penalty times its weight",
        "loss of alignment with the teacher",
    ]
    r1, r2 = axes["penalty times its weight"].lines
    assert (r1.get_ydata(), r2.get_ydata()) == (0.1, 0.2)


def test_curves_of_cat_show_how_its_stages_approach_the_last(tmp_path):
    """As notebook 3 and a run's page have them."""
    names = [f"stage_{name}_{k}" for name in ("distance", "rewrite") for k in (1, 2, 3)]
    values = dict.fromkeys([*names, "stage_cosine_1", "stage_cosine_2", "consistency"], 0.5)
    (tmp_path / "stats.jsonl").write_text(lines_of({"step": 1, "kimg": 1.0, **values}))
    axes = {a.get_ylabel(): a for a in results.plot_curves([tmp_path]).axes if a.get_ylabel()}
    assert {label: len(a.lines) for label, a in axes.items()} == {
        "consistency of the stages, unweighted": 1,
        "distance from the last stage": 3,
        "rewritten by the next stage": 3,
        "cosine of rewrite and remainder": 2,
    }


def test_numbers_of_truncated_samples_say_so(run):
    generated = {"checkpoint": "best", "kimg": 2.5, "ema": True, "count": 9, "psi": 0.7}
    record = measurement(generated={**generated, "guidance": 1.0})
    (run / "metrics.jsonl").write_text(lines_of(record))
    assert "| 2.5 kimg, EMA, psi 0.7 |" in results.metrics_table([run])
    del generated["psi"]
    swept = {"sweep": {"over": "truncation_z", "values": [0.5, 1.0]}}
    record = measurement(generated={**generated, "truncation_z": 0.5}, **swept)
    (run / "metrics.jsonl").write_text(lines_of(record))
    assert "| 2.5 kimg, EMA, truncation_z 0.5, of a sweep |" in results.metrics_table([run])


def test_the_table_states_the_protocol_of_each_number(run):
    header, rule, row = results.metrics_table([run]).splitlines()
    assert header.count("|") == rule.count("|") == row.count("|")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells == [
        "run",
        "fcd",
        "12.35",
        "lower",
        "1000",
        "10000 of shapes-32",
        "classifier on shapes-32 (01234567)",
        "10 kimg, EMA",
    ]


def test_the_table_keeps_the_last_of_equal_measurements_and_all_different_ones(run):
    again = measurement(value=11.0, environment={"date": "2026-11-22"})
    by_other_code = measurement(value=10.0, engine="tfgan")
    ours = {**measurement("recall", value=0.5, engine="tfgan"), "definition": "Kynkaanniemi"}
    three = {**measurement(value=9.0, sets=3), "spread": 0.5, "spread_over": "3 seeds"}
    file = run / "metrics.jsonl"
    file.write_text(file.read_text() + lines_of(again, by_other_code, ours, three))
    rows = results.metrics_table([run]).splitlines()[2:]
    assert [row.split(" | ")[1:3] for row in rows] == [
        ["fcd", "11"],
        ["fcd by tfgan", "10"],
        ["recall", "0.5"],
        ["fcd", "9 ± 0.5 (3 seeds)"],
    ]
    assert "3 sets of 1000" in rows[-1]


def test_progress_names_the_best_value_of_the_quick_metric(run, tmp_path):
    later = {"step": 3, "kimg": 3.0, "fcd_classifier_1k": 95.0, "metric_seconds": 3.0}
    with open(run / "stats.jsonl", "a") as file:
        file.write(lines_of(later))
    (tmp_path / "new").mkdir()
    rows = results.progress_table([run, tmp_path / "new"]).splitlines()[2:]
    assert rows == ["| run | 3 | 50 | fcd_classifier_1k | 90 | 2 |", "| new | 0 | - | - | - | - |"]


def test_runs_of_the_same_name_are_told_apart(tmp_path):
    runs = [tmp_path / "a" / "run", tmp_path / "b" / "run"]
    assert results.run_names(runs) == [str(run) for run in runs]
    assert results.run_names(runs[:1]) == ["run"]
