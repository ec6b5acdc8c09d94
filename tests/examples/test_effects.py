"""Effects of a study's flags, on rows whose metric is made of known ones."""

import math
import pathlib

import numpy as np
import pytest
from in_process import command, error_line

from examples import effects
from ladagan_tf.errors import InputError
from ladagan_tf.studies.outcome import read_results

ROOT = pathlib.Path(__file__).resolve().parents[2]
DEEP, WIDE, FAST = "--depth=2", "--width=8", "--rate=1"


def rows(*systems, noise=0.0):
    """Rows of systems, tuples of flags, with two seeds: 50, doubled if deep, halved if wide."""
    rng, found = np.random.default_rng(1), []
    for given in systems:
        for seed in (0, 1):
            fcd = 50 * (2 if DEEP in given else 1) * (0.5 if WIDE in given else 1)
            fcd *= math.exp(noise * rng.standard_normal())
            train = ["--depth=1", "--policy=color", *given, f"--seed={seed}"]
            found.append({"arguments": {"train": train}, "metrics": {"fcd": fcd, "recall": 0}})
    return found


def test_effects_are_the_factors_that_the_metric_is_made_of():
    given = rows((), (DEEP,), (WIDE, FAST), (DEEP, WIDE, FAST))
    has = effects.factors(given)
    assert list(has) == [DEEP, f"{WIDE} {FAST}"]  # what always comes together is one
    found, spread = effects.effects(given, has, "fcd")
    assert spread == pytest.approx(0, abs=1e-6)
    assert np.exp([found[name][0] for name in has]) == pytest.approx([2, 0.5], rel=1e-6)


def test_intervals_are_two_standard_errors_of_comparing_two_samples():
    given = rows((), (DEEP,), noise=0.3)
    logs = np.log([row["metrics"]["fcd"] for row in given]).reshape(2, 2)
    error = math.sqrt(logs.var(axis=1, ddof=1).mean() * (1 / 2 + 1 / 2))  # pooled
    found, _ = effects.effects(given, effects.factors(given), "fcd")
    difference = logs[1].mean() - logs[0].mean()
    assert found[DEEP] == pytest.approx(
        (difference, difference - 2 * error, difference + 2 * error)
    )


def test_factors_that_runs_do_not_tell_apart_are_refused():
    given = rows((), (DEEP,))[::2]
    with pytest.raises(InputError, match="2 runs do not tell 1 factors apart"):
        effects.effects(given, effects.factors(given), "fcd")


def test_of_two_systems_the_table_has_the_ratio(capsys):
    folder = ROOT / "docs" / "studies" / "architecture64"
    logs = {}
    for row in read_results(folder):
        logs.setdefault(row["system"], []).append(math.log(row["metrics"]["fcd"]))
    base, *others = (np.mean(values) for values in logs.values())
    with command(effects, effects.define) as main:
        main(f"--study={folder}")
        lines = capsys.readouterr().out.splitlines()[2:-2]
        assert [line.split(" | ")[2] for line in lines] == [
            f"{math.exp(other - base):.2f}" for other in others
        ]
        line = error_line(main, [f"--study={folder}", "--metric=fid"], capsys)
        assert line.startswith("error: metric=fid: it must be measured, and above 0, in every run")
