"""Pictures of a study: metrics, stability, gradient norms, the range of what is generated."""

import textwrap

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from ladagan_tf import charts, decimals
from ladagan_tf.charts import COLOURS, KIMG, LEGEND, plain, styles
from ladagan_tf.studies import outcome

DARK = "#333333"
LETTER = 0.068  # inches, the width of one in a label
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
    titles = [textwrap.fill(name, 34) for name in groups]
    height += 0.25 + 0.15 * max(title.count("\n") for title in titles)
    figure, panels = charts.panels(
        len(groups), columns, WIDTH, height, margin, 0.7, sharex=True, sharey=True
    )
    for axes, title in zip(panels, titles, strict=True):
        axes.set_title(title, fontsize=8)
    for lowest in panels[-columns:]:  # also those above an empty place
        lowest.xaxis.set_tick_params(labelbottom=True)
    return figure, panels


def better(lower_is_better):
    """Which direction is better, in words."""
    return "lower is better" if lower_is_better else "higher is better"


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
        charts.logarithmic(axes)
    axes.set_xlabel("learning rates of G and D; crosses above: runs that diverged", fontsize=8)
    axes.set_ylabel(f"{metric}, {better(lower)}", fontsize=8)
    plain(axes)
    figure.legend(**{**LEGEND, "loc": "outside right upper"})
    return figure


def _by_row(rows, names):
    """A panel per metric, a horizontal row per system."""
    groups = outcome.by_setting(rows)
    labels = [_with_divergence(setting.label, part) for setting, part in groups.items()]
    margin = 0.3 + LETTER * max(map(len, labels))
    height = 0.75 + 0.27 * len(groups)
    figure, panels = charts.panels(len(names), min(3, len(names)), 2.1, height, margin, sharey=True)
    for axes, (name, lower) in zip(panels, names.items(), strict=True):
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
    return figure


def _over_number(rows, names, name_of_number, number):
    """A panel per metric, a line per system over a number."""
    ordered = sorted({number(row) for row in rows})
    systems = list(dict.fromkeys(row["system"] for row in rows))
    legend = 0.5 + 0.18 * -(-len(systems) // 3)
    figure, panels = charts.panels(len(names), min(3, len(names)), 2.7, 2.3, 0.4, legend)
    for axes, (name, lower) in zip(panels, names.items(), strict=True):
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
        axes.set_xticks(ordered, [decimals.plain(at) for at in ordered])
        axes.set_xlabel(name_of_number, fontsize=8)
        axes.set_title(f"{name}, {better(lower)}", fontsize=8)
        plain(axes)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND, ncols=3)
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


NETWORKS = {"g_grad": ("G", COLOURS[0]), "d_grad": ("D", COLOURS[1])}
OF_BLOCKS = "g_grad_norm/"
ABOVE = {"ha": "center", "va": "bottom", "fontsize": 7, "color": DARK}


def gradients(rows):
    """Gradient norms of both networks over training, a panel per system, all of one scale.

    Lines are medians over seeds, bands reach from the least to the greatest, and a line above says
    how many spikes a run had.

    Args:
        rows: list of dict.

    Returns:
        matplotlib.figure.Figure, or None if no run has a trace.
    """
    groups = _first_settings([row for row in rows if row["traces"]["kimg"]])
    if not groups:
        return None
    figure, panels = small_multiples(groups, 2.1)
    for axes, part in zip(panels, groups.values(), strict=False):
        for network, (letter, colour) in NETWORKS.items():
            _draw_over_seeds(axes, part, f"{network}_norm", colour, letter)
        axes.set_yscale("log")
        axes.text(0.5, 1.01, _spikes(part), transform=axes.transAxes, **ABOVE)
        axes.set_title(axes.get_title(), fontsize=8, pad=14)
        plain(axes)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND, ncols=2)
    figure.supxlabel(KIMG, fontsize=8)
    figure.supylabel("gradient norm, mean over tensors", fontsize=8)
    return figure


def clipped(rows):
    """The share of generated values beyond what a picture holds over training, a panel per system.

    Lines are medians over seeds, bands reach from the least to the greatest.

    Args:
        rows: list of dict.

    Returns:
        matplotlib.figure.Figure, or None if no run recorded it.
    """
    groups = _first_settings([row for row in rows if row["traces"].get("clipped")])
    if not groups:
        return None
    figure, panels = small_multiples(groups, 1.2)
    for axes, part in zip(panels, groups.values(), strict=False):
        _draw_over_seeds(axes, part, "clipped", COLOURS[0])
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        plain(axes)
    panels[0].set_ylim(bottom=0.0)  # of all, once all are drawn
    figure.supxlabel(KIMG, fontsize=8)
    figure.supylabel("clipped values", fontsize=8)
    return figure


def quick(rows):
    """The quick metric against the seconds that a run's steps took, a line per run.

    Args:
        rows: list of dict.

    Returns:
        matplotlib.figure.Figure, or None if no run measured one.
    """
    groups = _first_settings([row for row in rows if row["traces"].get("quick")])
    if not groups:
        return None
    figure = Figure(figsize=(7.0, 3.4), dpi=110, layout="constrained")
    axes = figure.subplots()
    for (label, part), style in zip(groups.items(), styles(), strict=False):
        for row in part:
            trace = row["traces"]["quick"]
            drawn = {**style, "marker": ".", "ms": 4, "lw": 1.2}
            axes.plot(trace["seconds"], trace["values"], **drawn, label=label)
            label = None  # once, of all seeds
    charts.logarithmic(axes)
    axes.set_xlabel("seconds of training, measuring left out", fontsize=8)
    axes.set_ylabel(trace["metric"], fontsize=8)
    axes.set_xlim(left=0.0)
    plain(axes)
    figure.legend(**{**LEGEND, "loc": "outside right upper"})
    return figure


def blocks(rows):
    """The generator's gradient norm by layer over training, a panel per system.

    Args:
        rows: list of dict.

    Returns:
        matplotlib.figure.Figure, or None if no run recorded them.
    """
    groups = _first_settings([row for row in rows if _layers(row)])
    if not groups:
        return None
    layers = _merged([_layers(part[0]) for part in groups.values()])
    maps = [_heat_map(part, layers) for part in groups.values()]
    seen = np.concatenate([values[np.isfinite(values) & (values > 0)] for _, values in maps])
    scale = LogNorm(max(seen.min(), seen.max() / 1e5), seen.max())
    figure, panels = small_multiples(groups, 0.6 + 0.15 * len(layers), len(layers[0]) * LETTER)
    for axes, (kimg, values) in zip(panels, maps, strict=False):
        edges = np.concatenate([[0.0], kimg])
        borders = np.arange(len(layers) + 1) - 0.5
        drawn = axes.pcolormesh(edges, borders, values, norm=scale, cmap="viridis", rasterized=True)
        axes.set_facecolor("#eeeeee")
        axes.set_yticks(np.arange(len(layers)), layers)
        axes.set_ylim(len(layers) - 0.5, -0.5)
        axes.tick_params(labelsize=7)
    bar = figure.colorbar(drawn, ax=list(panels), fraction=0.03, pad=0.01)
    bar.set_label("gradient norm, median over seeds", fontsize=8)
    bar.ax.tick_params(labelsize=7, which="both")
    figure.supxlabel(f"{KIMG}; grey: no such layer", fontsize=8)
    return figure


def _first_settings(rows):
    """The rows of each system at the first values of its axes and its first learning rate."""
    found = {}
    for setting, part in outcome.by_setting(rows).items():
        found.setdefault(setting.system, (setting, part))
    return {setting.label: part for setting, part in found.values()}


def _draw_over_seeds(axes, rows, name, colour, label=None):
    """Draws a trace of seeds: the median, and a band from the least to the greatest."""
    traces = [row["traces"] for row in rows]
    kimg, values = _aligned([(trace["kimg"], trace[name]) for trace in traces])
    if kimg.size:
        low, high = np.nanmin(values, 0), np.nanmax(values, 0)
        axes.fill_between(kimg, low, high, color=colour, alpha=0.22, lw=0)
        axes.plot(kimg, np.nanmedian(values, 0), color=colour, lw=1.3, label=label)


def _aligned(traces):
    """Traces of seeds on one axis.

    Args:
        traces: list of (kimg, values), two lists each.

    Returns:
        kimg (T,) and values (len(traces), T), NaN where a run has ended or has nothing.
    """
    known = [dict(zip(kimg, values, strict=False)) for kimg, values in traces]
    kimg = sorted({at for points in known for at in points})
    values = [[points.get(at, np.nan) for at in kimg] for points in known]
    return np.asarray(kimg), np.asarray(values, np.float64)


def _heat_map(rows, layers):
    """kimg (T,) and medians over seeds (layers, T), NaN for a layer that there is not."""
    traces = [row["traces"] for row in rows]
    kimg = np.unique(np.concatenate([trace["kimg"] for trace in traces]))
    found = np.full((len(layers), len(kimg)), np.nan)
    for i, layer in enumerate(layers):
        name = OF_BLOCKS + layer
        at, norms = _aligned([(trace["kimg"], trace["blocks"].get(name, [])) for trace in traces])
        if at.size:
            found[i, np.searchsorted(kimg, at)] = np.nanmedian(norms, 0)
    return kimg, found


def _layers(row):
    names = row["traces"]["blocks"]
    return [name.removeprefix(OF_BLOCKS) for name in names if name.startswith(OF_BLOCKS)]


def _merged(lists):
    """All names once; one that the lists before do not have follows its own predecessor."""
    merged = []
    for names in lists:
        at = 0
        for name in names:
            if name in merged:
                at = merged.index(name) + 1
            else:
                merged.insert(at, name)
                at += 1
    return merged


def _spikes(rows):
    """Mean spikes per run of both networks, in words; "" for runs that did not count them."""
    counts = {
        letter: [row["gradients"][f"{network}_spikes"] for row in rows]
        for network, (letter, _) in NETWORKS.items()
    }
    known = {k: [v for v in found if v is not None] for k, found in counts.items()}
    means = [f"{letter} {round(np.mean(found), 1):g}" for letter, found in known.items() if found]
    return f"spikes per run: {', '.join(means)}" if means else ""
