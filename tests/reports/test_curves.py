"""Curves have their points where they belong, and axes with round numbers."""

import re

import numpy as np
import pytest

from ladagan_tf.reports import curves, gathering


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 30.0, [0, 5, 10, 15, 20, 25, 30]),
        (0.0, 1.0, [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        (-7.5, 3.1, [-6, -4, -2, 0, 2]),
        (0.0, 68096.0, [0, 20000, 40000, 60000]),
        (2e-7, 6e-7, [2e-7, 3e-7, 4e-7, 5e-7, 6e-7]),
    ],
)
def test_ticks_are_round_and_within_the_axis(low, high, expected):
    np.testing.assert_allclose(curves.ticks(low, high), expected, atol=1e-12)


def test_a_long_curve_keeps_its_spikes_its_ends_and_its_order():
    values = np.random.default_rng(0).normal(size=100_000)
    values[[31_415, 92_653]] = 50.0, -60.0
    kimg, kept = curves.thinned(np.arange(100_000.0), values)
    assert len(kept) <= 2 * curves.BUCKETS + 2 and np.all(np.diff(kimg) > 0)
    assert {0.0, 31_415.0, 92_653.0, 99_999.0} <= set(kimg)
    np.testing.assert_array_equal(values[kimg.astype(int)], kept)


def points(panel):
    found = re.findall(
        r'<polyline class="(c\d d\d)" points="([^"]*)"', panel.split("</figcaption>")[1]
    )
    return {look: np.array([p.split(",") for p in text.split()], float) for look, text in found}


def test_points_are_where_their_values_belong(run):
    loss, speed, metric = curves.panels(gathering.read_runs([run]))
    d, g = points(loss).values()
    end, top, bottom = 10.008, curves.TOP, curves.HEIGHT - curves.BOTTOM
    kimg = np.arange(1, 11)
    np.testing.assert_allclose(g[:, 0], curves.LEFT + curves.PLOT * kimg / end, atol=0.05)
    high = 10.0 * 1.05  # the greatest value, and a twentieth of space
    np.testing.assert_allclose(g[:, 1], bottom - (bottom - top) * kimg / high, atol=0.05)
    np.testing.assert_allclose(d[:, 1], bottom - (bottom - top) * 0.5 / high, atol=0.05)
    assert 'aria-label="loss over training. D from 0.5 to 0.5; G from 1 to 10"' in loss
    assert "speed in images/s" in speed and "fcd_classifier_1k, lower is better" in metric
    (dot,) = points(metric).values()
    assert len(dot) == 2 and np.all(dot[0] == dot[1])  # a measurement alone is a dot


def test_of_several_runs_each_has_a_colour_and_each_field_a_dash(make_run):
    loss, *_ = curves.panels(gathering.read_runs([make_run("a"), make_run("b")]))
    assert set(points(loss)) == {"c0 d0", "c0 d1", "c1 d0", "c1 d1"}


@pytest.mark.parametrize("value", ["NaN", "Infinity", "1e14", "-3", "0"])
def test_whatever_was_logged_can_be_drawn(run, value):
    line = f'{{"step": 1, "kimg": 1.0, "d_loss": {value}, "g_loss": {value}}}\n'
    (run / "stats.jsonl").write_text(line)
    text = "".join(curves.panels(gathering.read_runs([run])))
    assert "nan" not in text and "inf" not in text
