"""The table's numbers are those of the rows."""

import json

import keras
import numpy as np
import pytest
from study_rows import row

from ladagan_tf.cost.flow import velocity_multiply_adds
from ladagan_tf.errors import InputError
from ladagan_tf.models.flow.networks import FlowGenerator
from ladagan_tf.studies import collecting, figures, outcome, plan, report

FCDS = {"Lada": (50.1, 52.3, 54.8), "Swin": (60.0, None, 66.0), "Linformer": (None, None, None)}


@pytest.fixture
def rows():
    return [row(s, seed, fcd) for s, fcds in FCDS.items() for seed, fcd in enumerate(fcds)]


def cells(markdown):
    """List of dicts from a Markdown table."""
    lines = [[c.strip() for c in line.strip("|").split("|")] for line in markdown.splitlines()]
    return [dict(zip(lines[0], line, strict=True)) for line in lines[2:]]


def test_metrics_are_mean_and_sample_deviation_over_the_seeds_that_did_not_diverge(rows):
    lada, swin, linformer = cells(report.table(rows))
    mean, deviation = np.mean(FCDS["Lada"]), np.std(FCDS["Lada"], ddof=1)
    assert (round(mean, 1), round(deviation, 1)) == (52.4, 2.4)
    assert lada["fcd ↓"] == "**52.4 ± 2.4 (3)**"
    assert swin["fcd ↓"] == "63.0 ± 4.2 (2)"  # 6 / sqrt(2)
    assert linformer["fcd ↓"] == linformer["precision ↑"] == "-"


def test_the_best_mean_is_bold_in_the_direction_of_each_metric(rows):
    lada, swin, _ = cells(report.table(rows))
    assert lada["precision ↑"].startswith("**0.1911 ±") and "**" not in swin["precision ↑"]


def test_costs_gradients_and_runs_are_in_their_columns(rows):
    lada, swin, linformer = cells(report.table(rows))
    assert lada["G parameters"] == "1,234,567"
    assert lada["G multiply-adds"] == "43.21 M"
    assert lada["D parameters"] == "7,654"
    assert lada["ms per step"] == "125"
    assert lada["G gradient norm"] == "1.5"  # the median of 0.5, 1.5 and 2.5
    assert lada["G spikes"] == "1"  # the mean of 0, 1 and 2
    assert [line["runs"] for line in (lada, swin, linformer)] == [
        "3",
        "2 of 3, 1 diverged",
        "0 of 3, 3 diverged",
    ]


def test_clipped_values_are_in_the_table_of_runs_that_counted_them(rows):
    assert "clipped" not in cells(report.table(rows))[0]
    for line, share in zip(rows[:2], (0.1, 0.3), strict=True):
        line["gradients"]["clipped"] = share
    lada, swin, _ = cells(report.table(rows))
    assert (lada["clipped"], swin["clipped"]) == ("20%", "-")


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ([], "-"),
        ([0.25], "0.25 (1)"),
        ([2.0, 2.0], "2 (2)"),
        ([0.2, 0.3], "0.250 ± 0.071 (2)"),
        ([100.0, 200.0], "150 ± 71 (2)"),
        ([1e-8, 2e-8], "1.5e-08 ± 7.1e-09 (2)"),
        ([0.25, 0.25 + 1e-8], "0.25 ± 7.1e-09 (2)"),
        ([12345.6], "12346 (1)"),
    ],
)
def test_a_mean_has_the_digits_that_its_deviation_allows(values, text):
    assert report.spread(np.asarray(values)) == text


def test_axes_have_columns_of_their_own(rows):
    varied = [row(seed=0, axes={"subset": v}, fcd=f) for v, f in (("0.1", 80.0), ("1", 50.0))]
    assert [(c["system"], c["subset"]) for c in cells(report.table(varied))] == [
        ("Lada", "0.1"),
        ("Lada", "1"),
    ]


def test_the_stress_table_names_the_largest_stable_rates():
    fcds = {"Lada": {1.0: 50.0, 2.0: 48.0, 4.0: 49.0}, "Swin": {1.0: 50.0, 2.0: None}}
    fcds["Linformer"] = {1.0: None}
    rows = [row(s, fcd=fcd, lr_scale=x) for s, part in fcds.items() for x, fcd in part.items()]
    lines = [list(c.values()) for c in cells(report.stress_table(rows, 2.0))]
    assert lines == [
        ["Lada", "x4", "0.0008", "0.0008", "x4"],
        ["Swin", "x1", "0.0002", "0.0002", "x2"],
        ["Linformer", "none", "-", "-", "x1"],
    ]


@pytest.fixture
def study(tmp_path):
    (tmp_path / "base.cfg").write_text("--batch_size=16\n")
    systems = [f"{name}:" for name in FCDS]
    return plan.make_study("attention", "A title", tmp_path / "base.cfg", systems, seeds=(0, 1, 2))


def test_what_is_written_says_how_it_was_made(rows, study, tmp_path):
    written = report.write(tmp_path / "out", study, rows, ["--study=a file.cfg"])
    names = ["results.jsonl", "table.md", "metrics.png", "gradients.png", "blocks.png"]
    assert [path.name for path in written] == names and all(p.is_file() for p in written)
    assert outcome.read_results(written[0]) == rows
    page = written[1].read_text()
    assert page.startswith("# A title\n")
    for expected in (
        "python -m ladagan_tf.study '--study=a file.cfg'",
        "A processor, 2 cores, no GPU",
        "revision abc1234",
        "9 of 9 done; seeds 0, 1, 2; 16 kimg each",
        f"sha256 {'a' * 12}\n",
        report.table(rows),
    ):
        assert expected in page


def test_mixed_protocols_write_nothing(rows, study, tmp_path):
    rows[1]["protocol"] = {**rows[1]["protocol"], "engine": "tfgan"}
    with pytest.raises(InputError, match=r"engine is None in .* and tfgan"):
        report.write(tmp_path / "out", study, rows, [])
    assert not (tmp_path / "out").exists()


def test_a_system_without_a_discriminator_has_dashes_where_others_have_one():
    flow = row("flow", discriminator=None)
    flow["gradients"] |= {"d_grad_norm": None, "d_grad_spikes": None}
    flow["traces"] |= {"d_grad_norm": []}
    _, ours = cells(report.table([row(), flow]))
    assert ours["D parameters"] == ours["D gradient norm"] == ours["D spikes"] == "-"
    assert ours["G parameters"] == "1,234,567"
    panels = figures.gradients([row(), flow]).axes
    assert [len(axes.lines) for axes in panels[:2]] == [2, 1]


def test_sizes_of_a_flow_are_those_of_its_samples():
    sizes = {"latent_size": 8, "width": 8, "depth": 1, "num_heads": 2, "steps": 3}
    network = FlowGenerator(**sizes)
    models = json.dumps({"generator": keras.saving.serialize_keras_object(network)})
    found = collecting.sizes(models)
    assert found["discriminator"] is None
    assert found["generator"] == {
        "parameters": network.count_params(),
        "multiply_adds": 6 * velocity_multiply_adds(network),
    }
