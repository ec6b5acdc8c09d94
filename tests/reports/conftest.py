"""Runs as `train.py` leaves them, but for checkpoints."""

import json

import numpy as np
import pytest
from PIL import Image
from run_lines import lines_of, measurement

from ladagan_tf.pictures import save_png

SIDE = 20  # of a sheet, in pixels
COLOURS = {0.0: (200, 0, 0), 5.0: (0, 200, 0), 10.008: (0, 0, 200)}  # of sheets by kimg


def plain(colour, side=SIDE):
    return np.broadcast_to(np.uint8(colour), (side, side, 3))


@pytest.fixture
def make_run(tmp_path):
    """`make_run(name, **flags)`: the path of a run that has three grids, curves and metrics."""

    def make(name="run", **flags):
        folder = tmp_path / name
        (folder / "samples").mkdir(parents=True)
        flags = {"system": "lada", "total_kimg": "20.0", "dataset": "shapes", **flags}
        (folder / "flags.cfg").write_text("".join(f"--{k}={v}\n" for k, v in flags.items()))
        start = {"date": "2026-11-26T14:58:34+00:00", "command": ["train.py"], "cpu": "a CPU"}
        (folder / "environment.json").write_text(json.dumps([start, {**start, "cores": 2}]))
        stats = [
            {"step": i, "kimg": 1.0 * i, "d_loss": 0.5, "g_loss": 1.0 * i, "img_per_s": 50.0}
            for i in range(1, 11)
        ]
        stats.append({"step": 10, "kimg": 10.0, "fcd_classifier_1k": 90.0, "metric_seconds": 3.0})
        (folder / "stats.jsonl").write_text(lines_of(*stats))
        (folder / "metrics.jsonl").write_text(lines_of(measurement(), measurement("is", 5.0)))
        for kimg, colour in COLOURS.items():
            save_png(folder / "samples" / f"samples_{kimg:010.3f}kimg.png", plain(colour))
        return folder

    return make


@pytest.fixture
def run(make_run):
    return make_run()


def read(path):
    return np.asarray(Image.open(path).convert("RGB"))
