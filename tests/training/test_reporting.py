"""What lies in a run folder to be opened: written in time, at little cost, and never in the way."""

import types

import numpy as np
import pytest
from PIL import Image

from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.training.callbacks import Schedule
from ladagan_tf.training.reporting import SHARE, Reporting, write_reals

STEPS = 10


@pytest.fixture
def reported(tmp_path):
    """`reported(cost)`: seconds at which a file that takes `cost` to write was written.

    A step takes a second, and a grid is due after each of ten.
    """

    def report(cost, fail=None, said=None):
        now, times = [0.0], []

        def writer(folder):
            assert folder == tmp_path
            times.append(now[0])
            now[0] += cost
            if fail:
                raise fail

        callback = Reporting(
            Schedule(1000, 0, STEPS),
            RunDirectory(tmp_path),
            1.0,
            {"page": writer},
            lambda: now[0],
            said.append if said is not None else None,
        )
        callback.on_train_begin()
        for step in range(1, STEPS + 1):
            now[0] += 1.0
            callback.after_step(step)
        callback.on_train_end()
        return times

    return report


def test_a_file_that_costs_little_is_written_with_every_grid(reported):
    assert len(reported(0.5 * SHARE)) == STEPS + 1  # at the start, after each step, once at the end


def test_one_that_costs_more_is_written_less_often_but_always_at_the_end(reported):
    times = reported(3.0 * SHARE)
    assert np.diff(times[:-1]).min() >= 3.0 and len(times) == 5


def test_what_fails_is_a_line_once_and_the_run_goes_on(reported, tmp_path):
    said = []
    times = reported(0.0, OSError(28, "No space left on device"), said)
    assert len(times) == STEPS + 1
    assert said == [
        f"warning: {tmp_path / 'page'}: not written ([Errno 28] No space left on device)"
    ]


SIDE, CLASSES = 4, 3


@pytest.fixture
def real_set(monkeypatch):
    """Nine images, each of one grey level: 10 times its number; classes 0, 0, 0, 1, 1, 1, ..."""
    info = types.SimpleNamespace(count=9, resolution=SIDE, latents=None)
    monkeypatch.setattr(dataset_info, "load_info", lambda folder: info)
    images = np.repeat(np.arange(9), SIDE * SIDE * 3).reshape(9, SIDE, SIDE, 3) * 10

    def read(folder, batch_size, first, count):
        for start in range(first, count, batch_size):
            part = slice(start, min(start + batch_size, count))
            yield images[part].astype(np.uint8), np.arange(9)[part] // 3

    monkeypatch.setattr(pipeline, "iterate_images", read)
    return info


def tiles(run):
    sheet = np.asarray(Image.open(run.path / "reals.png"))
    pitch = SIDE + 2
    return sheet[::pitch, ::pitch, 0].ravel().tolist()


def test_real_images_fill_a_grid_in_the_order_of_the_set(real_set, tmp_path):
    run = RunDirectory(tmp_path)
    write_reals(run, "set", columns=2, scale=1)
    assert tiles(run) == [0, 10, 20, 30]
    write_reals(run, "another", columns=1, scale=1)  # it is there
    assert tiles(run) == [0, 10, 20, 30]


def test_each_row_has_its_class_and_stays_white_where_there_is_none(real_set, tmp_path):
    run = RunDirectory(tmp_path)
    write_reals(run, "set", columns=2, labels=np.array([2, 2, 7, 7]), scale=1)
    assert tiles(run) == [60, 70, 255, 255]


def test_only_images_that_the_run_learns_from_are_shown(real_set, tmp_path):
    run = RunDirectory(tmp_path)
    write_reals(run, "set", columns=2, subset=0.5, scale=1)
    assert tiles(run) == [10 * i for i in pipeline.subset_indices(9, 0.5)]


def test_latents_without_images_have_no_picture(real_set, tmp_path):
    real_set.latents = types.SimpleNamespace(images=False)
    write_reals(RunDirectory(tmp_path), "set", columns=2)
    assert not list(tmp_path.iterdir())
