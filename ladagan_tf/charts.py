"""How charts look: panels, colours and lines, axes. What they show is with what they are of."""

import itertools

from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from ladagan_tf.files import atomic_path

STYLES = ("-", "--", ":", "-.")  # of lines
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
LEGEND = {"loc": "outside upper center", "frameon": False, "fontsize": 8}
KIMG = "real images seen, thousands (kimg)"  # the axis of a training


def panels(count, columns, width, height, beside=0.0, above=0.0, dpi=110, **shared):
    """A figure with so many panels, all of one size, and room for labels beside and above them.

    Args:
        count: int; places of the last line that are left over stay empty.
        columns: int, panels beside each other.
        width, height: floats, inches of a panel.
        beside, above: floats, inches.
        dpi: int.
        **shared: "sharex" and "sharey" of `Figure.subplots`.

    Returns:
        (figure, panels), the latter an array of `count` axes.
    """
    lines = -(-count // columns)
    size = (beside + width * columns, above + height * lines)
    figure = Figure(figsize=size, dpi=dpi, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, **shared).ravel()
    for empty in axes[count:]:
        empty.set_axis_off()
    return figure, axes[:count]


def plain(axes):
    """No frame, a faint grid behind the data, small figures."""
    axes.tick_params(labelsize=8, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def logarithmic(axes):
    """A logarithmic y axis with whole numbers, more of them where it spans little."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(LogFormatter())
    axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))


def styles():
    """Endless colours, with another kind of line once all were used."""
    pairs = itertools.product(STYLES, COLOURS)
    return ({"color": colour, "linestyle": style} for style, colour in itertools.cycle(pairs))


def save(path, figure, **how):
    """Writes a figure as PNG, atomically; `how`: as of `Figure.savefig`."""
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png", **how)
