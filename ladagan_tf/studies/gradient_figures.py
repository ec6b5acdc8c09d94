"""Pictures of gradient norms over training, a panel per system."""

import numpy as np
from matplotlib.colors import LogNorm

from ladagan_tf.runs.results import COLOURS
from ladagan_tf.studies import outcome
from ladagan_tf.studies.panels import DARK, LEGEND, LETTER, plain, small_multiples

NETWORKS = {"g_grad": ("G", COLOURS[0]), "d_grad": ("D", COLOURS[1])}
OF_BLOCKS = "g_grad_norm/"
CORNER = {"ha": "right", "va": "top", "fontsize": 7, "color": DARK, "linespacing": 1.3}
CORNER["bbox"] = {"color": "white", "alpha": 0.7, "pad": 1}  # over lines that come that high


def gradients(rows):
    """Gradient norms of both networks over training, a panel per system, all of one scale.

    Lines are medians over seeds, bands reach from the least to the greatest, and the corner says
    how many spikes a run had.

    Args:
        rows: list of dict.

    Returns:
        matplotlib.figure.Figure, or None if no run has a trace.
    """
    groups = _first_settings([row for row in rows if row["traces"]["kimg"]])
    if not groups:
        return None
    figure, panels = small_multiples(groups, 2.0)
    for axes, part in zip(panels, groups.values(), strict=False):
        for network, (letter, colour) in NETWORKS.items():
            traces = [row["traces"] for row in part]
            kimg, norms = _aligned([(trace["kimg"], trace[f"{network}_norm"]) for trace in traces])
            if kimg.size:
                axes.fill_between(
                    kimg, np.nanmin(norms, 0), np.nanmax(norms, 0), color=colour, alpha=0.22, lw=0
                )
                axes.plot(kimg, np.nanmedian(norms, 0), color=colour, lw=1.3, label=letter)
        axes.set_yscale("log")
        axes.text(0.97, 0.95, _spikes(part), transform=axes.transAxes, **CORNER)
        plain(axes)
    figure.legend(*panels[0].get_legend_handles_labels(), **LEGEND, ncols=2)
    figure.supxlabel("real images seen, thousands (kimg)", fontsize=8)
    figure.supylabel("gradient norm, mean over tensors", fontsize=8)
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
    figure.supxlabel("real images seen, thousands (kimg); grey: no such layer", fontsize=8)
    return figure


def _first_settings(rows):
    """The rows of each system at the first values of its axes and its first learning rate."""
    found = {}
    for setting, part in outcome.by_setting(rows).items():
        found.setdefault(setting.system, (setting, part))
    return {setting.label: part for setting, part in found.values()}


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
    return f"spikes per run\n{', '.join(means)}" if means else ""
