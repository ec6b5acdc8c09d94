"""Figures show every run, in the panel and at the place that its row says."""

import numpy as np
import pytest
from study_rows import LAYERS, row

from ladagan_tf import pictures
from ladagan_tf.studies import figures, report

SYSTEMS = ("Lada", "Lada without convolutions, ViTGAN modulation", "Swin")


@pytest.fixture
def rows():
    return [row(s, seed, 50.0 + 9 * i + seed) for i, s in enumerate(SYSTEMS) for seed in range(3)]


def points(axes, marker):
    """(x, y) of all that is drawn with a marker."""
    drawn = [line.get_xydata() for line in axes.lines if line.get_marker() == marker]
    return sorted(map(tuple, np.concatenate(drawn).tolist()))


def test_metrics_have_a_dot_per_seed_and_a_tick_for_each_mean(rows):
    fcd, precision = figures.metrics(rows).axes[:2]
    expected = [(50.0 + 9 * i + seed, float(i)) for i in range(3) for seed in range(3)]
    assert points(fcd, "o") == sorted(expected)
    assert points(fcd, "|") == [(51.0, 0.0), (60.0, 1.0), (69.0, 2.0)]
    assert fcd.get_title() == "fcd, lower is better"
    assert precision.get_title() == "precision, higher is better"
    assert [label.get_text() for label in fcd.get_yticklabels()] == list(SYSTEMS)


def test_the_best_mean_has_a_colour_of_its_own(rows):
    fcd, precision = figures.metrics(rows).axes[:2]
    for axes in (fcd, precision):
        ticks = [line.get_color() for line in axes.lines if line.get_marker() == "|"]
        assert [colour == figures.BEST for colour in ticks] == [True, False, False]


def test_a_system_without_a_number_is_a_row_that_says_how_many_diverged(rows):
    gone = [row("Fastformer", seed, None) for seed in range(2)]
    axes = figures.metrics(rows + gone).axes[0]
    assert axes.get_yticklabels()[3].get_text() == "Fastformer (2 of 2 diverged)"


def test_one_varied_number_becomes_the_axis_and_systems_become_lines():
    rows = [row(s, axes={"subset": v}, fcd=50 / float(v)) for s in ("A", "B") for v in ("0.1", "1")]
    axes = figures.metrics(rows).axes[0]
    assert axes.get_xlabel() == "subset"
    lines = [line for line in axes.lines if line.get_label() in ("A", "B")]
    assert [line.get_xydata().tolist() for line in lines] == [[[0.1, 500.0], [1.0, 50.0]]] * 2


def test_gradients_are_medians_over_seeds_with_their_range(rows):
    figure = figures.gradients(rows)
    panels = [axes for axes in figure.axes if axes.lines]
    assert [axes.get_title().replace("\n", " ") for axes in panels] == list(SYSTEMS)
    generator, discriminator = panels[0].lines
    np.testing.assert_array_equal(generator.get_ydata(), [1.0, 1.5])
    np.testing.assert_array_equal(discriminator.get_ydata(), [0.3, 0.2])
    band = panels[0].collections[0].get_paths()[0].vertices
    assert band[:, 1].min() == 0.5 and band[:, 1].max() == 2.5
    assert panels[0].texts[0].get_text() == "spikes per run: G 1"


def test_the_share_of_clipped_values_is_shown_of_systems_that_recorded_it(rows):
    for seed, share in enumerate((0.1, 0.3, 0.4)):
        rows[seed]["traces"]["clipped"] = [0.02, share]
    (axes,) = [axes for axes in figures.clipped(rows).axes if axes.lines]
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [0.02, 0.3])
    assert axes.get_ylim()[0] == 0.0 and axes.yaxis.get_major_formatter()(0.3, 0) == "30%"


def test_the_quick_metric_is_drawn_over_time_for_every_run_and_named_once_per_system(rows):
    quick = {"metric": "fcd1000", "kimg": [2.0, 4.0], "seconds": [10.0, 20.0]}
    for i, measured in enumerate(rows[:6]):
        measured["traces"]["quick"] = {**quick, "values": [200.0, 100.0 - i]}
    figure = figures.quick(rows)
    (axes,) = figure.axes
    assert [line.get_ydata()[-1] for line in axes.lines] == [100.0 - i for i in range(6)]
    assert axes.lines[0].get_xdata().tolist() == [10.0, 20.0]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(SYSTEMS[:2])
    assert axes.get_ylabel() == "fcd1000"


def test_a_run_that_ended_early_ends_early_in_the_figure(rows):
    rows[0]["traces"] |= {"kimg": [8.0], "g_grad_norm": [9.0], "d_grad_norm": [9.0]}
    generator = figures.gradients(rows[:2]).axes[0].lines[0]
    np.testing.assert_array_equal(generator.get_ydata(), [5.0, 1.5])


def test_a_layer_that_a_system_lacks_is_left_blank(rows):
    del rows[3]["traces"]["blocks"]["g_grad_norm/conv_16"]
    figure = figures.blocks([rows[0], rows[3]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == list(LAYERS)
    values = figure.axes[1].collections[0].get_array()
    np.testing.assert_array_equal(np.isnan(values.filled(np.nan)).any(1), [0, 0, 1, 0, 0])


def test_layers_of_all_systems_come_in_the_order_of_their_networks():
    merged = figures._merged([["a", "c", "e"], ["a", "b", "c"], ["c", "d", "e", "f"]])
    assert merged == ["a", "b", "c", "d", "e", "f"]


def test_stress_shows_stable_runs_below_and_crosses_for_those_that_diverged():
    fcds = {1.0: (50.0, 52.0), 2.0: (48.0, 200.0), 4.0: (None, None)}
    rows = [row("A", i, f, lr_scale=x) for x, part in fcds.items() for i, f in enumerate(part)]
    axes = figures.stress(rows).axes[0]
    assert points(axes, ".") == [(1.0, 50.0), (1.0, 52.0), (2.0, 48.0)]
    assert [x for x, _ in points(axes, "x")] == [2.0, 4.0, 4.0]
    assert next(line for line in axes.lines if line.get_label() == "A").get_ydata().tolist() == [
        51.0,
        48.0,
    ]


def test_nothing_to_show_is_no_figure():
    nothing = [row(fcd=None, traces={"kimg": [], "g_grad_norm": [], "blocks": {}})]
    of_traces = figures.gradients, figures.quick, figures.blocks, figures.clipped
    drawn = figures.metrics, figures.stress, *of_traces
    assert [draw(nothing) for draw in drawn] == [None] * 6


def test_without_scaled_learning_rates_there_is_no_stress(rows):
    assert figures.stress(rows) is None


def test_samples_are_the_top_of_the_last_grid_of_a_system_s_first_run(rows, tmp_path):
    rng = np.random.default_rng(0)
    for part in (rows[0], rows[3]):
        part["run_dir"] = tmp_path / part["system"]
        (part["run_dir"] / "samples").mkdir(parents=True)
        (part["run_dir"] / "flags.cfg").write_text("--grid=6\n")
        for kimg in (0, 12):
            tiles = rng.integers(0, 256, (36, 8, 8, 3), np.uint8)
            sheet = pictures.grid(tiles, columns=6)
            pictures.save_png(part["run_dir"] / f"samples/samples_{kimg:010.3f}kimg.png", sheet)
        part["expected"] = sheet[: 4 * 10 - 2]
    panels = [axes for axes in report.samples(rows).axes if axes.images]
    for axes, part in zip(panels, (rows[0], rows[3]), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), part["expected"])
    (rows[0]["run_dir"] / "samples/samples_000012.000kimg.png").write_bytes(b"damaged")
    [axes] = [axes for axes in report.samples(rows).axes if axes.images]
    np.testing.assert_array_equal(axes.images[0].get_array(), rows[3]["expected"])


def test_samples_of_a_system_are_a_line_where_all_have_as_many_values(tmp_path):
    settings = [("A", "0.1"), ("A", "0.2"), ("A", "1"), ("B", "0.1"), ("B", "0.2"), ("B", "1")]
    rows = [row(system, axes={"subset": value}) for system, value in settings]
    for i, part in enumerate(rows):
        part["run_dir"] = tmp_path / str(i)
        (part["run_dir"] / "samples").mkdir(parents=True)
        (part["run_dir"] / "flags.cfg").write_text("--grid=4\n")
        tiles = np.zeros((16, 8, 8, 3), np.uint8)
        sheet = pictures.grid(tiles, columns=4)
        pictures.save_png(part["run_dir"] / "samples/samples_000012.000kimg.png", sheet)
    axes = report.samples(rows).axes
    assert [a.get_title().split(",")[0] for a in axes] == ["A"] * 3 + ["B"] * 3
    assert axes[0].get_gridspec().ncols == 3


def test_without_run_directories_there_are_no_samples_to_show(rows):
    assert report.samples(rows) is None
