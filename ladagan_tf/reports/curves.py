"""Curves over training as SVG that follows the colours and the width of its page."""

import html
import math

import numpy as np

from ladagan_tf.decimals import plain
from ladagan_tf.runs import results

WIDTH, HEIGHT = 340, 200  # units of a panel; a unit is about a pixel
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 8, 22
PLOT = WIDTH - LEFT - RIGHT  # units from the first to the last image
BUCKETS = 150  # of a curve; each shows its lowest and its highest value
TICKS, TICKS_BELOW = 6, 4  # at most so many steps between them
COLOURS, DASHES = 6, 3  # that the style sheet knows


def panels(runs):
    """A figure for each group of statistics that a run has, and for each quick metric.

    One run has a colour per field. Of several each has a colour, and a field a kind of line.

    Args:
        runs: list of `gathering.Run`.

    Returns:
        List of str, HTML.
    """
    logged = {name for run in runs for line in run.windows for name in line}
    groups = [
        (label, {name: text for name, text in fields.items() if name in logged}, "windows")
        for label, fields in results.PANELS
    ]
    metrics = {metric for run in runs for metric in results.best_scores(run.measured)}
    groups += [(f"{name}, lower is better", {name: name}, "measured") for name in sorted(metrics)]
    end = last_kimg(runs)
    return [_panel(runs, *group, end) for group in groups if group[1]]


def last_kimg(runs):
    """Where the axes of all panels end: the furthest run's thousands of images; 1 at the start."""
    return max((run.kimg for run in runs), default=0.0) or 1.0


def _panel(runs, label, fields, part, end):
    series = []
    for of_run, run in enumerate(runs):
        for of_field, (name, text) in enumerate(fields.items()):
            kimg, values = results.column(getattr(run, part), name)
            finite = np.isfinite(values)
            look = (of_run, of_field) if len(runs) > 1 else (of_field, 0)
            words = f"{run.name}: {text}" if len(runs) > 1 else text
            if finite.any():
                series.append((words, look, thinned(kimg[finite], values[finite])))
    low, high = _limits([values for *_, (_, values) in series], label == "mean logit")
    title = label if len(fields) > 1 else _title(label, *fields.values())
    keys = [
        _key(text, *((0, i) if len(runs) > 1 else (i, 0)), several=len(runs) > 1)
        for i, text in enumerate(fields.values())
    ]
    said = "; ".join(
        f"{words} from {plain(values[0], 3)} to {plain(values[-1], 3)}"
        for words, _, (_, values) in series
    )
    return (
        f'<figure class="panel"><figcaption>{html.escape(title)}'
        f"{''.join(keys) if len(fields) > 1 else ''}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{html.escape(f"{title} over training. {said}")}">'
        f"{_axes(end, low, high)}"
        f"{''.join(_line(*points, look, end, low, high) for _, look, points in series)}"
        f'<line class="cursor" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>'
        "</svg></figure>"
    )


def _title(label, field):
    """As `runs.results` names an axis, "speed in images/s"; a metric's label says it all."""
    return label if label.startswith(field) else f"{field} {label}"


def thinned(kimg, values):
    """At most the first, the last, the lowest and the highest point of each of `BUCKETS` parts.

    Args:
        kimg, values: float arrays (N,), at least one.

    Returns:
        Two arrays of one length, in the same order: spikes stay as high as they were.
    """
    if len(values) <= 2 * BUCKETS:
        return kimg, values
    kept = {0, len(values) - 1}
    for part in np.array_split(np.arange(len(values)), BUCKETS):
        kept |= {int(part[np.argmin(values[part])]), int(part[np.argmax(values[part])])}
    kept = sorted(kept)
    return kimg[kept], values[kept]


def ticks(low, high, count=TICKS):
    """Numbers within [low, high] in steps of 1, 2 or 5 times a power of ten, `count` at most."""
    rough = (high - low) / count
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _limits(columns, signed):
    """Lowest and highest value of an axis, with 0 unless values are `signed` or below it."""
    if not columns:
        return 0.0, 1.0
    values = np.concatenate(columns)
    low, high = float(values.min()), float(values.max())
    if low >= 0.0 and not signed:
        low = 0.0
    space = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (low if low == 0.0 else low - space), high + space


def _axes(end, low, high):
    parts = []
    for value in ticks(low, high):
        y = _y(value, low, high)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" class="y">{_number(value)}</text>')
    at = ticks(0.0, end, TICKS_BELOW)
    for value in at:
        last = " kimg" if value == at[-1] else ""
        x, anchor = _x(value, end), ' class="last"' if last and value > 0.9 * end else ""
        x = WIDTH - RIGHT if anchor else x
        parts.append(f'<text x="{x}" y="{HEIGHT - 6}"{anchor}>{_number(value)}{last}</text>')
    bottom = HEIGHT - BOTTOM
    parts.append(
        f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    )
    return "".join(parts)


def _line(kimg, values, look, end, low, high):
    points = [f"{_x(k, end)},{_y(v, low, high)}" for k, v in zip(kimg, values, strict=True)]
    if len(points) == 1:  # a line of no length with round ends is a dot
        points *= 2
    colour, dash = look
    return f'<polyline class="{_look(colour, dash)}" points="{" ".join(points)}"/>'


def _look(colour, dash):
    return f"c{colour % COLOURS} d{dash % DASHES}"


def _key(text, colour, dash, several):
    look = f"d{dash % DASHES} plain" if several else _look(colour, dash)
    return f'<span class="key"><svg viewBox="0 0 22 8" aria-hidden="true"><polyline class="{look}" points="1,4 21,4"/></svg>{html.escape(text)}</span>'  # noqa: E501


def key_of_run(number, name):
    """The colour of a run, beside its name, as HTML.

    Args:
        number: int, its place among the runs.
        name: str.
    """
    return f'<span class="key"><i class="b{number % COLOURS}"></i>{html.escape(name)}</span>'


def _x(kimg, end):
    return round(LEFT + PLOT * kimg / end, 1)


def _y(value, low, high):
    return round(TOP + (HEIGHT - BOTTOM - TOP) * (high - value) / (high - low), 1)


def _number(value):
    """A tick in at most six characters or so: 0.05, 150, 12k, 2M, 1e-06."""
    size = abs(value)
    for factor, suffix in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if size >= factor:
            return f"{value / (1e3 if suffix == 'k' else factor):.4g}{suffix}"
    return "0" if size < 1e-15 else f"{value:.4g}"
