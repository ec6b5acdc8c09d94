"""Several ways to sample one generator are measured against one reading of the real images."""

import dataclasses

import numpy as np
from PIL import Image

from ladagan_tf.evaluation import images, protocol, sweep


def record(metric, value, lower=False):
    return {"metric": metric, "value": value, "lower_is_better": lower}


POINTS = [
    (0.5, [record("fid", 9.0, True), record("precision", 0.75)]),
    (0.7, [record("fid", 4.0, True), record("precision", 0.5)]),
    (1.0, [record("fid", 4.0, True)]),
]


def test_the_best_of_a_column_is_chosen_by_its_direction_and_the_first_of_equal_ones():
    assert sweep.best(POINTS, "fid") == 1 and sweep.best(POINTS, "precision") == 0
    assert sweep.best(POINTS, "recall") is None
    lines = sweep.table("psi", POINTS).splitlines()
    assert lines[0].split() == ["psi", "fid", "precision"]
    assert [line.split() for line in lines[1:4]] == [
        ["0.5", "9", "0.75*"],
        ["0.7", "4*", "0.5"],
        ["1", "4", "-"],
    ]
    assert "chosen on this metric" in lines[-1]


def test_curves_of_numbers_and_of_words_are_drawn(tmp_path):
    sweep.chart(tmp_path / "psi.png", "psi", POINTS)
    sweep.chart(tmp_path / "words.png", "average", [("a", POINTS[0][1]), ("b", POINTS[1][1])])
    for name in ("psi.png", "words.png"):
        assert np.ptp(np.asarray(Image.open(tmp_path / name))) > 100


def test_the_real_images_are_read_once_for_all_points(noise, two_tone, means, tmp_path):
    real, reads = images.prepared(two_tone), []

    def batches(size):
        reads.append(size)
        return real.batches(size)

    limits = [0.5, 1.0, 2.0]
    found = protocol.evaluate_each(
        ([images.generated(noise.within(limit), 12)] for limit in limits),
        dataclasses.replace(real, batches=batches),
        means,
        ("fcd", "swd"),
        cache_dir=tmp_path,
        progress=False,
        sweep={"over": "truncation_z", "values": limits},
    )
    records = [point[0] for point in found]
    assert len(reads) == 1
    protocols = [r["protocol"] for r in records]
    assert [p["generated"]["truncation_z"] for p in protocols] == limits
    assert all(p["sweep"] == {"over": "truncation_z", "values": limits} for p in protocols)
    alone = protocol.evaluate(
        [images.generated(noise.within(1.0), 12)], real, means, ("fcd",), progress=False
    )
    assert alone[0]["value"] == records[1]["value"] and "sweep" not in alone[0]["protocol"]
    assert "guidance" not in protocols[0]["generated"]
