"""What the systems of a study generate, side by side."""

import collections

import numpy as np
from PIL import Image

from ladagan_tf.pictures import MARGIN
from ladagan_tf.runs import results
from ladagan_tf.runs.directory import RunDirectory, read_integer
from ladagan_tf.studies import outcome
from ladagan_tf.studies.figures import small_multiples

LINES = 4  # shown of a sample grid


def samples(rows):
    """The top of the last sample grid of the first run in each setting: the same latents in all.

    Args:
        rows: list of dict; their run directories must still be there to be shown.

    Returns:
        matplotlib.figure.Figure, or None if no run directory has a sample grid.
    """
    tops = {}
    for setting, part in outcome.by_setting(rows).items():
        run = RunDirectory(part[0]["run_dir"])
        grids = results.sample_grids(run.path) if run.samples.is_dir() else []
        if grids:
            tops[setting] = _top(grids[-1][1], read_integer(run.flags_file, "grid"))
    if not tops:
        return None
    # A line per system, where all have as many values and they fit.
    counts = set(collections.Counter(setting.system for setting in tops).values())
    columns = max(counts) if len(counts) == 1 and 1 < max(counts) <= 6 else 4
    labels = [setting.label for setting in tops]
    figure, panels = small_multiples(labels, 1.25, margin=0.0, columns=columns)
    for axes, top in zip(panels, tops.values(), strict=True):
        axes.imshow(top)
        axes.set_axis_off()
    return figure


def _top(path, columns):
    """The first lines of a grid, uint8 (H, W, 3)."""
    sheet = np.asarray(Image.open(path))
    tile = (sheet.shape[1] + MARGIN) // columns
    return sheet[: LINES * tile - MARGIN]
