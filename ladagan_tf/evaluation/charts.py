"""Charts of evaluations."""

import numpy as np
from matplotlib.figure import Figure

from ladagan_tf.files import atomic_path


def class_chart(path, classes, real_counts, generated_counts):
    """Draws the share of every class among real and generated images, as a PNG.

    Args:
        path: file to write, atomically.
        classes: sequence of C names.
        real_counts, generated_counts: (C,) images per class.
    """
    rows = np.arange(len(classes))
    figure = Figure(figsize=(7, 1 + 0.22 * len(classes)), layout="constrained")
    axes = figure.subplots()
    for offset, counts, label, colour in (
        (-0.2, real_counts, "real", "#7a8aa0"),
        (0.2, generated_counts, "generated", "#d1603d"),
    ):
        share = 100 * np.asarray(counts) / np.sum(counts)
        axes.barh(rows + offset, share, 0.4, label=label, color=colour)
    axes.set_yticks(rows, classes, fontsize=7)
    axes.set_ylim(len(classes) - 0.5, -0.5)
    axes.set_xlabel("share of images, % (class by the classifier)")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
