"""A sweep over how a generator is sampled: its numbers as a table and as curves."""

import numpy as np

from ladagan_tf import charts
from ladagan_tf.decimals import plain

CHOSEN = (
    "* the best of each column, chosen on this metric and these images: to report it, measure that "
    "point again with another --seed"
)
COLUMNS = 3  # of panels


def best(points, metric):
    """Where a metric is best: an index into `points`, the first of equal ones; None if nowhere.

    Args:
        points: list of (value, what `protocol.evaluate` returned).
        metric: str.
    """
    found = [(number, i) for i, number in enumerate(_column(points, metric)) if number is not None]
    if not found:
        return None
    lower = next(r for _, rs in points for r in rs if r["metric"] == metric)["lower_is_better"]
    return min(found, key=lambda pair: (pair[0] if lower else -pair[0], pair[1]))[1]


def metrics_of(points):
    """Names of what was measured at any point, in order."""
    return list(dict.fromkeys(record["metric"] for _, records in points for record in records))


def _column(points, metric):
    """A metric's values, None where it could not be computed."""
    return [
        next((r["value"] for r in records if r["metric"] == metric), None) for _, records in points
    ]


def table(name, points):
    """The numbers of all points, a row each, as text.

    Args:
        name: str, what was swept.
        points: see `best`.
    """
    columns = [[name, *(_text(value) for value, _ in points)]]
    for metric in metrics_of(points):
        chosen, column = best(points, metric), [metric]
        for i, number in enumerate(_column(points, metric)):
            shown = "-" if number is None else plain(number, 4)
            column.append(shown + ("*" if i == chosen else " "))
        columns.append(column)
    widths = [max(map(len, column)) for column in columns]
    rows = zip(*columns, strict=True)
    lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", CHOSEN])


def _text(value):
    return plain(value) if isinstance(value, int | float) else str(value)


def chart(path, name, points):
    """Draws each metric over what was swept, with a ring around its best point, as a PNG.

    Args:
        path: file to write, atomically.
        name, points: see `table`.
    """
    metrics, values = metrics_of(points), [value for value, _ in points]
    is_number = all(isinstance(value, int | float) for value in values)
    places = np.asarray(values if is_number else range(len(values)), float)
    order = np.argsort(places)
    figure, panels = charts.panels(len(metrics), COLUMNS, 3.4, 2.5, above=0.3, dpi=100)
    for axes, metric in zip(panels, metrics, strict=True):
        numbers = np.asarray([np.nan if n is None else n for n in _column(points, metric)])
        axes.plot(places[order], numbers[order], "-o", color="#0072b2", markersize=4)
        chosen = best(points, metric)
        axes.plot(
            places[chosen], numbers[chosen], "o", color="#d55e00", markersize=11, fillstyle="none"
        )
        axes.set_title(metric, fontsize=9)
        axes.set_xlabel(name, fontsize=8)
        if not is_number:
            axes.set_xticks(places, map(_text, values), fontsize=7)
        charts.plain(axes)
    figure.supxlabel("ring: the best, chosen on this metric", fontsize=8)
    charts.save(path, figure)
