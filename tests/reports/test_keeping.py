"""What is drawn beside a run: its curves, and a film of its samples."""

import numpy as np
import pytest
from PIL import Image, ImageSequence
from reports.conftest import COLOURS, plain

from ladagan_tf.pictures import CAPTION, save_png
from ladagan_tf.reports import keeping


def frames(run):
    with Image.open(run / "timelapse.gif") as gif:
        shown = [
            (np.asarray(f.convert("RGB")).astype(int), f.info["duration"])
            for f in ImageSequence.Iterator(gif)
        ]
    return zip(*shown, strict=True)


def test_a_film_shows_the_grids_in_turn_and_stands_at_the_last(run):
    keeping.write_timelapse(run)
    pictures, durations = frames(run)
    for picture, colour in zip(pictures, COLOURS.values(), strict=True):
        assert picture.shape == (640 + CAPTION, 640, 3)
        np.testing.assert_allclose(picture[:640].mean((0, 1)), colour, atol=3)
        assert (picture[640:] < 128).any()  # a caption
    assert durations == (200, 200, 200 * (1 + keeping.HELD))


def test_grids_of_another_size_and_broken_ones_are_left_out(run):
    save_png(run / "samples" / "samples_000000.000kimg.png", plain((9, 9, 9), side=30))
    (run / "samples" / "samples_000007.000kimg.png").write_bytes(b"no picture")
    keeping.write_timelapse(run)
    pictures, _ = frames(run)
    assert len(pictures) == 2


def test_one_grid_makes_no_film(run):
    for name in ("000005.000", "000010.008"):
        (run / "samples" / f"samples_{name}kimg.png").unlink()
    keeping.write_timelapse(run)
    assert not (run / "timelapse.gif").exists()


def test_before_statistics_there_are_no_curves(tmp_path):
    keeping.write_curves(tmp_path)
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("name", keeping.WRITERS)
def test_each_writer_writes_its_file_and_nothing_else(run, name):
    before = {*run.iterdir()}
    keeping.WRITERS[name](run)
    assert {path.name for path in {*run.iterdir()} - before} == {name}
