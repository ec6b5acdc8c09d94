"""The files of a run that are drawn from its other files, each of which can be written again."""

import numpy as np
from PIL import Image

from ladagan_tf import pictures
from ladagan_tf.decimals import plain
from ladagan_tf.files import atomic_path
from ladagan_tf.reports import gathering, page
from ladagan_tf.runs import results
from ladagan_tf.sampling.image_files import write_gif

REPORT = "report.html"
MOST_FRAMES = 40
FPS = 5
HELD = 5  # frames that the last one stands
LARGEST = 720  # side of a frame in pixels


def write_report(folder):
    """Writes report.html of a run, see `page`."""
    page.write([folder], folder / REPORT)


def write_curves(folder):
    """Writes curves.png of a run, see `runs.results.plot_curves`; without statistics none."""
    if not any(results.read_stats(folder)):
        return
    drawn = pictures.drawing(results.plot_curves([folder]))
    with atomic_path(folder / "curves.png") as temporary:
        temporary.write_bytes(drawn)


def write_timelapse(folder):
    """Writes timelapse.gif of a run: its sample grids over training, of the same latents.

    Of many grids it shows some; those of another size than the last one, of earlier starts, are
    left out. A run with one grid has none.
    """
    chosen = page.spread(results.sample_grids(folder), MOST_FRAMES)
    drawn = [(gathering.picture(path), kimg) for kimg, path in chosen]
    drawn = [(image, kimg) for image, kimg in drawn if image]
    size = drawn[-1][0].size if drawn else None
    frames = [_frame(image, kimg) for image, kimg in drawn if image.size == size]
    if len(frames) > 1:
        with atomic_path(folder / "timelapse.gif") as temporary:
            write_gif(temporary, iter(frames + frames[-1:] * HELD), FPS)


def _frame(image, kimg):
    image.thumbnail((LARGEST, LARGEST))
    factor = pictures.factor_within(image.width, pictures.WIDE)
    sheet = pictures.enlarged(np.asarray(image), factor)
    sheet = pictures.captioned(sheet, f"{plain(kimg, 4)} kimg")
    # A hundred times as fast as what Pillow does by itself.
    return Image.fromarray(sheet).quantize(method=Image.Quantize.FASTOCTREE)


# By what they write; the cheapest first.
WRITERS = {
    REPORT: write_report,
    "curves.png": write_curves,
    "timelapse.gif": write_timelapse,
}
