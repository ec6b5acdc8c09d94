"""A study in words: results.jsonl, a Markdown table, and figures beside them."""

import collections
import functools
import math
import shlex

import numpy as np

from ladagan_tf import pictures
from ladagan_tf.decimals import plain
from ladagan_tf.files import atomic_path, write_text
from ladagan_tf.reports import gathering
from ladagan_tf.runs import results
from ladagan_tf.runs.directory import RunDirectory, read_integer
from ladagan_tf.runs.json_lines import sealed
from ladagan_tf.studies import figures, outcome, plan

NETWORKS = ("generator", "discriminator")
LINES = 4  # shown of a sample grid


def write(folder, study, rows, arguments):
    """Writes results.jsonl, table.md and the figures.

    Args:
        folder: pathlib.Path; made.
        study: plan.Study.
        rows: list of dict, at least one.
        arguments: list of str, those of the command, for the page.

    Returns:
        List of pathlib.Path, the files written.

    Raises:
        InputError: if rows were not measured in the same way.
    """
    outcome.check_protocols(rows)
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "results.jsonl", folder / "table.md"]
    write_text(written[0], "".join(map(sealed, rows)))
    write_text(written[1], page(study, rows, arguments))
    drawn = {
        "metrics.png": figures.metrics,
        "quick.png": figures.quick,
        "gradients.png": figures.gradients,
        "blocks.png": figures.blocks,
        "clipped.png": figures.clipped,
        "stress.png": functools.partial(figures.stress, factor=study.diverged_factor),
        "samples.jpeg": samples,
    }
    for name, draw in drawn.items():
        figure = draw(rows)
        if figure:
            written.append(folder / name)
            with atomic_path(written[-1]) as temporary:
                if written[-1].suffix == ".png":
                    temporary.write_bytes(pictures.drawing(figure))
                else:
                    figure.savefig(temporary, format="jpeg")
    return written


def page(study, rows, arguments):
    """The table with its title, and what one has to know to read it, as Markdown.

    Args:
        study: plan.Study.
        rows: list of its results, dicts.
        arguments: list of str, of the command.
    """
    parts = [
        f"# {study.title}",
        f"`{shlex.join(['python', '-m', 'ladagan_tf.study', *arguments])}`",
        "\n".join(_circumstances(study, rows)),
        table(rows),
        "\n".join(_notes(rows)),
    ]
    if _has_scales(rows):
        parts += ["## Largest stable learning rates", stress_table(rows, study.diverged_factor)]
        parts.append(
            "Diverged: a loss that is not finite, or a first metric worse by a factor of "
            f"{study.diverged_factor:g} than the system's best mean at this rate or a lower one. "
            "A system that learns at no rate passes as stable: compare the metrics above."
        )
    return "\n\n".join(parts) + "\n"


def table(rows):
    """A line per system and value: sizes, speed, metrics over seeds, gradients.

    Args:
        rows: list of dict.

    Returns:
        str, a Markdown table; the best mean of each metric is bold.
    """
    groups, names = outcome.by_setting(rows), outcome.metric_names(rows)
    flags = list(dict.fromkeys(flag for setting in groups for flag, _ in setting.axes))
    scales = ["learning rates"] if _has_scales(rows) else []
    arrows = [f"{name} {'↓' if lower else '↑'}" for name, lower in names.items()]
    header = ["system", *flags, *scales, "G parameters", "G multiply-adds", "D parameters"]
    header += ["ms per step", *arrows, "G gradient norm", "D gradient norm", "G spikes", "D spikes"]
    clips = any(row["gradients"].get("clipped") is not None for row in rows)  # older runs: unknown
    header += ["clipped", "runs"] if clips else ["runs"]
    best = {name: _best(groups.values(), name, lower) for name, lower in names.items()}
    lines = []
    for setting, part in groups.items():
        measured = [_measured(part, name, best[name]) for name in names]
        axes = dict(setting.axes)
        line = [setting.system, *(axes.get(flag, "-") for flag in flags)]
        line += [f"x{setting.lr_scale:g}"] if scales else []
        clipped = [_clipped(part)] if clips else []
        lines.append([*line, *_costs(part), *measured, *_gradients(part), *clipped, _counts(part)])
    return results.markdown_table(header, lines)


def stress_table(rows, factor):
    """The largest learning rates that each system is stable at, as a Markdown table.

    Args:
        rows: list of dict, of a study with learning rate scales.
        factor: float, see `outcome.climb`.
    """
    lines = []
    for setting, part in outcome.by_setting(rows, scales=False).items():
        rungs = outcome.climb(part, factor)
        stable = outcome.largest_stable(rungs)
        label, tried = setting.label, f"x{rungs[-1].scale:g}"
        if stable is None:
            lines.append((label, "none", "-", "-", tried))
            continue
        arguments = next(r["arguments"]["train"] for r in part if r["lr_scale"] == stable)
        rates = [f"{plan.learning_rate(arguments, name):.3g}" for name in ("g_lr", "d_lr")]
        lines.append((label, f"x{stable:g}", *rates, tried))
    header = (
        "system",
        "largest stable scale",
        "G learning rate",
        "D learning rate",
        "highest tried",
    )
    return results.markdown_table(header, lines)


def spread(values):
    """Mean, sample standard deviation and number of values, rounded by the deviation.

    Args:
        values: float array (N,).

    Returns:
        str, as "55.6 ± 1.2 (3)"; "-" for none.
    """
    if not len(values):
        return "-"
    deviation = np.std(values, ddof=1) if len(values) > 1 else 0.0
    if not deviation:
        return f"{plain(np.mean(values), 4)} ({len(values)})"
    digits = max(1 - math.floor(math.log10(deviation)), 0)
    if digits > 6:  # zeros only
        return f"{plain(np.mean(values))} ± {plain(deviation, 2)} ({len(values)})"
    return f"{np.mean(values):.{digits}f} ± {deviation:.{digits}f} ({len(values)})"


def _mean(rows, name):
    """Mean of a metric, or None."""
    found = outcome.values(rows, name)
    return found.mean() if len(found) else None


def _best(groups, name, lower):
    """The best mean of a metric, or None if there is nothing to compare."""
    means = [mean for mean in (_mean(part, name) for part in groups) if mean is not None]
    return (min if lower else max)(means) if len(means) > 1 else None


def _measured(rows, name, best):
    text = spread(outcome.values(rows, name))
    return f"**{text}**" if best is not None and _mean(rows, name) == best else text


def _has_scales(rows):
    return any(row["lr_scale"] is not None for row in rows)


def _costs(rows):
    generator, discriminator = (rows[0][network] for network in NETWORKS)
    seconds = [r["seconds_per_step"] for r in rows if r["seconds_per_step"] is not None]
    return (
        f"{generator['parameters']:,}",
        f"{generator['multiply_adds'] / 1e6:,.4g} M",
        f"{discriminator['parameters']:,}" if discriminator else "-",
        f"{1000 * np.median(seconds):.3g}" if seconds else "-",
    )


def _gradients(rows):
    """Median over runs of their median norms, and mean spikes per run, G before D."""
    found = [row["gradients"] for row in rows]
    norms = [
        [about[name]["median"] for about in found if about[name]]
        for name in ("g_grad_norm", "d_grad_norm")
    ]
    spikes = [
        [about[name] for about in found if about[name] is not None]
        for name in ("g_grad_spikes", "d_grad_spikes")
    ]
    return (
        *(plain(np.median(part), 3) if part else "-" for part in norms),
        *(plain(round(np.mean(part), 1)) if part else "-" for part in spikes),
    )


def _clipped(rows):
    """Mean share of generated values that pictures cannot hold, at the end of the runs."""
    known = [row["gradients"].get("clipped") for row in rows]
    known = [share for share in known if share is not None]
    return f"{np.mean(known):.0%}" if known else "-"


def _counts(rows):
    diverged = sum(row["status"] == outcome.DIVERGED for row in rows)
    done = len(rows) - diverged
    return f"{done} of {len(rows)}, {diverged} diverged" if diverged else done


def _circumstances(study, rows):
    """List items: on what, when, from which revision, how long, and measured how."""
    about = [row["environment"] for row in rows]
    machines = [
        ", ".join([f"{a['cpu']}, {a['cores']} cores", *(a["gpus"] or ["no GPU"])]) for a in about
    ]
    dates = sorted(a["date"][:10] for a in about if a["date"]) or ["an unknown day"]
    kimg = sorted({row["kimg"] for row in rows if row["status"] == outcome.FINISHED})
    protocol = next((row["protocol"] for row in rows if row["protocol"]), None)
    seeds = _distinct(row["seed"] for row in rows)
    lengths = " to ".join(plain(k) for k in dict.fromkeys((*kimg[:1], *kimg[-1:]))) or "no"
    return [
        f"- Hardware: {_distinct(machines, '; ')}",
        f"- Date: {' to '.join(dict.fromkeys((dates[0], dates[-1])))}; "
        f"revision {_distinct(a['revision'] for a in about)}; "
        f"TensorFlow {_distinct(a['tensorflow'] for a in about)}",
        f"- Runs: {len(rows)} of {len(study.runs)} done; seeds {seeds}; {lengths} kimg each",
        f"- Protocol: {_in_words(protocol) if protocol else 'nothing was measured'}",
    ]


def _notes(rows):
    jobs = _distinct(row["jobs"] for row in rows)
    return [
        "Metrics: mean ± sample standard deviation (number of seeds) of the runs whose "
        "losses stayed finite; the arrow says which direction is better, bold is the best mean. "
        f"Milliseconds per step: median, with {jobs} at a time on the machine. "
        "Gradient norm: median over the run of the mean norm per parameter tensor. "
        "Spikes: mean number per run."
    ]


def _distinct(values, separator=", "):
    return separator.join(str(value) for value in dict.fromkeys(values))


def _in_words(protocol):
    """A protocol in one line."""
    parts = []
    for name, about in protocol.items():
        if isinstance(about, dict):
            about = results.fields_in_words(about)
        parts.append(f"{name}: {about}")
    return "; ".join(parts)


def samples(rows):
    """The top of the last sample grid of the first run in each setting: the same latents in all.

    Args:
        rows: list of dict; their run directories must still be there to be shown.

    Returns:
        matplotlib.figure.Figure, or None if no run directory has a sample grid that is whole.
    """
    tops = {}
    for setting, part in outcome.by_setting(rows).items():
        run = RunDirectory(part[0]["run_dir"])
        grids = results.sample_grids(run.path) if run.samples.is_dir() else []
        sheet = gathering.picture(grids[-1][1]) if grids else None
        if sheet:
            tops[setting] = _top(sheet, read_integer(run.flags_file, "grid"))
    if not tops:
        return None
    # A line per system, where all have as many values and they fit.
    counts = set(collections.Counter(setting.system for setting in tops).values())
    columns = max(counts) if len(counts) == 1 and 1 < max(counts) <= 6 else 4
    labels = [setting.label for setting in tops]
    figure, panels = figures.small_multiples(labels, 1.25, margin=0.0, columns=columns)
    for axes, top in zip(panels, tops.values(), strict=True):
        axes.imshow(top)
        axes.set_axis_off()
    return figure


def _top(sheet, columns):
    """The first lines of a grid, a picture: uint8 (H, W, 3)."""
    sheet = np.asarray(sheet)
    tile = (sheet.shape[1] + pictures.MARGIN) // max(1, columns)
    return sheet[: LINES * tile - pictures.MARGIN]
