"""What the pictures of a study share: panels, colours and words."""

import itertools
import textwrap

from matplotlib.figure import Figure

from ladagan_tf.runs.results import COLOURS, STYLES

DARK = "#333333"
LETTER = 0.068  # inches, the width of one in a label
LEGEND = {"loc": "outside upper center", "frameon": False, "fontsize": 8}
WIDTH = 2.5  # inches, of a panel


def small_multiples(groups, height, margin=0.4, columns=4):
    """A figure with a panel per group, all of one scale, titled by the groups' names.

    Args:
        groups: iterable of names, with a length.
        height: float, inches of a panel.
        margin: float, inches beside the panels for labels.
        columns: int, at most so many panels beside each other.

    Returns:
        (figure, panels), the latter an array of len(groups) axes.
    """
    columns = min(columns, len(groups))
    lines = -(-len(groups) // columns)
    titles = [textwrap.fill(name, 34) for name in groups]
    height += 0.15 * max(title.count("\n") for title in titles)
    size = (margin + WIDTH * columns, 0.7 + (height + 0.25) * lines)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for i, (axes, title) in enumerate(itertools.zip_longest(panels.flat, titles)):
        if title is None:
            axes.set_axis_off()
            panels.flat[i - columns].xaxis.set_tick_params(labelbottom=True)
        else:
            axes.set_title(title, fontsize=8)
    return figure, panels.ravel()[: len(groups)]


def plain(axes):
    """No frame, a faint grid behind the data, small figures."""
    axes.tick_params(labelsize=8, which="both")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e4e4e4", linewidth=0.6)
    axes.set_axisbelow(True)


def hide_rest(panels):
    """Switches off panels that nothing was drawn in."""
    for axes in panels:
        if not axes.has_data():
            axes.set_axis_off()


def styles():
    """Endless colours, with another kind of line once all were used."""
    pairs = itertools.product(STYLES, COLOURS)
    return ({"color": colour, "linestyle": style} for style, colour in itertools.cycle(pairs))


def better(lower_is_better):
    """Which direction is better, in words."""
    return "lower is better" if lower_is_better else "higher is better"
