"""Rows are compared only if they can be, and a system's largest stable learning rate is found."""

import json
import pathlib

import pytest
from study_rows import MEASURED_HOW, row

from ladagan_tf.errors import InputError
from ladagan_tf.studies import outcome

STUDIES = pathlib.Path(__file__).resolve().parents[2] / "docs" / "studies"
RECORD = {
    "generated": {"model": "runs/a", "checkpoint": "step-1", "kimg": 2.0, "ema": True},
    "reference": {"images": "/home/me/data/shapes-32", "content_sha256": "b" * 64},
    "features": {"file": "/home/me/shapes.keras", "sha256": "a" * 64},
    "engine": "ours",
    "environment": {"date": "2026-11-21"},
}


def test_the_protocol_keeps_how_it_was_measured_and_not_what():
    assert outcome.comparable(RECORD) == {
        "generated": {"ema": True},
        "reference": {"images": "shapes-32", "content_sha256": "b" * 64},
        "features": {"sha256": "a" * 64},
        "engine": "ours",
    }


def test_rows_that_were_measured_differently_are_refused_with_the_field_and_both_runs():
    other = {**MEASURED_HOW, "features": {**MEASURED_HOW["features"], "sha256": "c" * 64}}
    rows = [row(seed=0, fcd=None), row(seed=1), row(seed=2, protocol=other)]
    with pytest.raises(InputError) as error:
        outcome.check_protocols(rows)
    message = str(error.value)
    assert "features.sha256 is aaa" in message and "and ccc" in message
    assert "runs/Lada_None_1" in message and "runs/Lada_None_2" in message


def test_rows_of_one_protocol_pass_and_diverged_ones_have_none():
    outcome.check_protocols([row(seed=0), row(seed=1, fcd=None), row(seed=2)])


def test_systems_without_classes_stand_beside_those_with_but_labels_must_be_of_one_kind():
    def labelled(seed, labels):
        generated = {**MEASURED_HOW["generated"], "labels": labels}
        record = {**MEASURED_HOW, "generated": generated, "environment": {}}
        return row(seed=seed, protocol=outcome.comparable(record))

    outcome.check_protocols([labelled(0, "none"), labelled(1, "balanced"), labelled(2, "none")])
    rows = [labelled(0, "none"), labelled(1, "balanced"), labelled(2, "random")]
    with pytest.raises(InputError, match=r"generated\.labels is balanced in .* and random in"):
        outcome.check_protocols(rows)


def test_systems_of_several_kinds_stand_in_one_table():
    kinds = (
        {"psi": 1.0, "guidance": 1.0},
        {"paper": "CAT"},
        {"sampler": "heun", "sampler_steps": 8, "psi": None, "guidance": None},
    )
    generated = [MEASURED_HOW["generated"] | kind for kind in kinds]
    protocols = [{**MEASURED_HOW, "generated": about} for about in generated]
    protocols[0]["unlike_gats_authors"] = "psi 1.0 instead of 0.7"
    rows = [row(seed=i, protocol=one) for i, one in enumerate(protocols)]
    outcome.check_protocols(rows)
    rows[1]["protocol"]["generated"]["psi"] = 0.7
    with pytest.raises(InputError, match=r"generated\.psi is None in .* and 0\.7 in"):
        outcome.check_protocols(rows)


def rungs(*scales, factor=2.0):
    """Rungs of (scale, FCDs of the seeds)."""
    rows = [row(seed=i, fcd=fcd, lr_scale=s) for s, fcds in scales for i, fcd in enumerate(fcds)]
    return outcome.climb(rows, factor)


def test_the_largest_stable_scale_is_below_the_first_divergence():
    climbed = rungs((1.0, [60.0, 62.0]), (2.0, [50.0, 52.0]), (4.0, [51.0, None]), (8.0, [50.0]))
    assert [rung.diverged for rung in climbed] == [[False, False]] * 2 + [[False, True], [False]]
    assert outcome.largest_stable(climbed) == 2.0


def test_nothing_is_stable_if_the_lowest_scale_is_not():
    assert outcome.largest_stable(rungs((1.0, [60.0, None]), (2.0, [50.0, 50.0]))) is None


def test_a_slow_low_rate_is_not_unstable_because_a_higher_one_learns_more():
    climbed = rungs((1.0, [200.0]), (2.0, [50.0]), (4.0, [99.0]), (8.0, [101.0]))
    assert [rung.diverged for rung in climbed] == [[False], [False], [False], [True]]


def test_where_higher_is_better_worse_is_lower():
    rows = [
        row(lr_scale=s, metrics={"is": v}, lower_is_better={"is": False})
        for s, v in ((1.0, 6.0), (2.0, 3.1), (4.0, 2.9))
    ]
    assert [r.diverged for r in outcome.climb(rows, 2.0)] == [[False], [False], [True]]


def test_beside_an_estimate_below_zero_no_factor_is_worse():
    found = rungs((1.0, [-0.001, -0.0012]), (2.0, [-0.0005]))
    assert [rung.diverged for rung in found] == [[False, False], [False]]


def test_results_are_read_from_the_file_or_its_folder(tmp_path):
    rows = [row(seed=0), row(seed=1, fcd=None)]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    assert outcome.read_results(tmp_path) == outcome.read_results(tmp_path / "results.jsonl")
    assert outcome.read_results(tmp_path) == rows
    with pytest.raises(InputError, match="no results of a study"):
        outcome.read_results(tmp_path / "none.jsonl")


@pytest.mark.parametrize(
    "path", sorted(STUDIES.glob("*/results.jsonl")), ids=lambda p: p.parent.name
)
def test_results_that_come_with_a_page_are_those_that_were_written(path):
    rows = outcome.read_results(path)
    assert len(rows) == len(path.read_text().splitlines()) > 0
    outcome.check_protocols(rows)
