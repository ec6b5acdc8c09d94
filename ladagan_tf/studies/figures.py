"""Pictures of a study: metrics and stability here, gradient norms in `gradient_figures`."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, NullLocator

from ladagan_tf.studies import outcome
from ladagan_tf.studies.gradient_figures import blocks, gradients
from ladagan_tf.studies.panels import DARK, LEGEND, LETTER, better, hide_rest, plain, styles

__all__ = ["blocks", "gradients", "metrics", "stress"]
SEED, BEST = "#9aa7b8", "#d55e00"


def metrics(rows):
    """Every metric of every run: dots are seeds, ticks their means, orange the best mean.

    Systems are rows; where one number was varied, or learning rates, systems are lines over it.

    Args:
        rows: list of dict, of `outcome.read_results`.

    Returns:
        matplotlib.figure.Figure, or None if nothing was measured.
    """
    names = outcome.metric_names(rows)
    if not names:
        return None
    varied = _varied_number(rows)
    return _over_number(rows, names, *varied) if varied else _by_row(rows, names)


def stress(rows, factor=2.0):
    """The first metric against the scale of the learning rates, a line per system.

    Dots are seeds and lines their means; crosses at the top are runs that diverged.

    Args:
        rows: list of dict.
        factor: float, see `outcome.climb`.

    Returns:
        matplotlib.figure.Figure, or None if nothing was measured or no learning rate scaled.
    """
    names = outcome.metric_names(rows)
    if not names or rows[0]["lr_scale"] is None:
        return None
    metric, lower = next(iter(names.items()))
    groups = outcome.by_setting(rows, scales=False)
    longest = max(len(setting.label) for setting in groups)
    size = (5.6 + LETTER * longest, max(3.6, 0.6 + 0.18 * len(groups)))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    axes = figure.subplots()
    # Side by side, so that crosses of several systems can be told apart.
    offsets = (np.arange(len(groups)) - (len(groups) - 1) / 2) * min(0.08, 0.6 / len(groups))
    for (setting, part), style, offset in zip(groups.items(), styles(), offsets, strict=False):
        means, crosses = [], []
        for rung in outcome.climb(part, factor):
            at = rung.scale * 2**offset
            stable = [r for r, bad in zip(rung.rows, rung.diverged, strict=True) if not bad]
            found = outcome.values(stable, metric)
            axes.plot([at] * len(found), found, ".", color=style["color"], ms=5, alpha=0.6)
            means += [(at, found.mean())] if len(found) else []
            crosses += [(at, rank) for rank in range(sum(rung.diverged))]
        line = np.asarray(means).reshape(-1, 2)
        axes.plot(*line.T, **style, lw=1.4, label=setting.label)
        for at, rank in crosses:
            height = {"transform": axes.get_xaxis_transform(), "clip_on": False}
            axes.plot(at, 1.02 + 0.025 * rank, "x", color=style["color"], ms=5, mew=1.4, **height)
    scales = sorted({row["lr_scale"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(scales, [f"x{scale:g}" for scale in scales])
    if all(value > 0 for value in outcome.values(rows, metric)):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(LogFormatter())
        axes.yaxis.set_minor_formatter(LogFormatter(minor_thresholds=(1.5, 0.5)))
    axes.set_xlabel("learning rates of G and D; crosses above: runs that diverged", fontsize=8)
    axes.set_ylabel(f"{metric}, {better(lower)}", fontsize=8)
    plain(axes)
    figure.legend(**{**LEGEND, "loc": "outside right upper"})
    return figure


def _by_row(rows, names):
    """A panel per metric, a horizontal row per system."""
    groups = outcome.by_setting(rows)
    labels = [_with_divergence(setting.label, part) for setting, part in groups.items()]
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    margin = 0.3 + LETTER * max(map(len, labels))
    size = (margin + 2.1 * columns, lines * (0.75 + 0.27 * len(groups)))
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).flat
    for axes, (name, lower) in zip(panels, names.items(), strict=False):
        means = [outcome.values(part, name) for part in groups.values()]
        means = [found.mean() if len(found) else np.nan for found in means]
        best = (min if lower else max)(mean for mean in means if np.isfinite(mean))
        for height, (part, mean) in enumerate(zip(groups.values(), means, strict=True)):
            found = outcome.values(part, name)
            axes.plot(found, np.full(len(found), height), "o", color=SEED, ms=4.5, mew=0)
            colour = BEST if mean == best and len(groups) > 1 else DARK
            axes.plot(mean, height, "|", color=colour, ms=13, mew=2)
        axes.set_title(f"{name}, {better(lower)}", fontsize=8)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.margins(x=0.08)
        plain(axes)
    hide_rest(panels)
    return figure


def _over_number(rows, names, name_of_number, number):
    """A panel per metric, a line per system over a number."""
    columns = min(3, len(names))
    lines = -(-len(names) // columns)
    ordered = sorted({number(row) for row in rows})
    systems = list(dict.fromkeys(row["system"] for row in rows))
    size = (0.4 + 2.7 * columns, 0.5 + 0.18 * -(-len(systems) // 3) + 2.3 * lines)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    panels = figure.subplots(lines, columns, squeeze=False).flat
    for axes, (name, lower) in zip(panels, names.items(), strict=False):
        for system, style in zip(systems, styles(), strict=False):
            means = []
            for at in ordered:
                part = [r for r in rows if r["system"] == system and number(r) == at]
                found = outcome.values(part, name)
                axes.plot([at] * len(found), found, ".", color=style["color"], ms=5, alpha=0.6)
                means.append(found.mean() if len(found) else np.nan)
            axes.plot(ordered, means, **style, lw=1.3, label=system)
        if min(ordered) > 0 and max(ordered) > 5 * min(ordered):
            axes.set_xscale("log")
            axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xticks(ordered, [f"{at:g}" for at in ordered])
        axes.set_xlabel(name_of_number, fontsize=8)
        axes.set_title(f"{name}, {better(lower)}", fontsize=8)
        plain(axes)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND, ncols=3)
    hide_rest(panels)
    return figure


def _varied_number(rows):
    """(name, function of a row) of the only thing that was varied, if it is numbers; or None."""
    flags = {flag for row in rows for flag in row["axes"]}
    if any(row["lr_scale"] is not None for row in rows):
        return None if flags else ("scale of the learning rates", lambda row: row["lr_scale"])
    if len(flags) != 1:
        return None
    (flag,) = flags
    try:
        different = {float(row["axes"][flag]) for row in rows}
    except ValueError:
        return None
    return (flag, lambda row: float(row["axes"][flag])) if len(different) > 1 else None


def _with_divergence(label, rows):
    diverged = sum(row["status"] == outcome.DIVERGED for row in rows)
    return f"{label} ({diverged} of {len(rows)} diverged)" if diverged else label
