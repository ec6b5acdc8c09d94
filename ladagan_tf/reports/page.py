"""A run, or several side by side, as one HTML file that loads nothing from anywhere.

Pictures over a slider of thousands of images (kimg), curves, metrics with their protocols, flags
and environment. Columns are runs everywhere. Without scripts the newest pictures are shown.
"""

import base64
import datetime
import functools
import html
import io
import json
import pathlib

from PIL import Image

from ladagan_tf.decimals import plain
from ladagan_tf.files import write_text
from ladagan_tf.pictures import WIDE
from ladagan_tf.reports import curves, gathering, tables

MOST_PICTURES = 40  # in a page, of what the slider moves through
HIGH = 4096  # pixels of a picture's height at most
QUALITY = 85  # of WebP
HERE = pathlib.Path(__file__).parent
MOVING = ("samples",)  # kinds of sheets that the slider shows over training, by their beginnings
CAPTIONS = {
    "samples": "Samples",
    "samples_psi0.5": "Samples half way to the means of their classes (psi 0.5)",
    "attention": "Where each head looks",
}
# Nothing is loaded, whatever a run's files hold.
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'"


def write(paths, out):
    """Writes the page of runs, atomically.

    Args:
        paths: sequence of run directories.
        out: path of the HTML file to write or replace; its folder must exist.

    Raises:
        InputError: if one of them is no run.
    """
    write_text(out, render(gathering.read_runs(paths), datetime.datetime.now(datetime.UTC)))


def render(runs, now):
    """The page as text.

    Args:
        runs: list of `gathering.Run`.
        now: datetime.datetime, when it is written.
    """
    title = ", ".join(run.name for run in runs)
    figures, moving = _pictures(runs)
    stops = sorted({kimg for shown in moving.values() for kimg, _ in shown})
    data = {"stops": stops, "end": curves.last_kimg(runs), "moving": moving}
    parts = [
        ("", _summary(runs)),
        ("Pictures", _slider(stops) + figures if figures else ""),
        ("Curves", _curves(runs)),
        ("Metrics", tables.metrics(runs)),
        ("Flags", tables.flags(runs)),
        ("Environment", tables.of_runs({run.name: gathering.environment(run) for run in runs})),
    ]
    sections = "\n".join(
        f"<section>{f'<h2>{heading}</h2>' if heading else ''}\n{body}</section>"
        for heading, body in parts
        if body
    )
    return f"""\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{html.escape(title)} - ladagan_tf</title>
<style>
{_part("page.css")}</style>
</head>
<body>
<main>
<header>
<h1>{html.escape(title)}</h1>
<p class="quiet">Written {now:%Y-%m-%d %H:%M} UTC. Reload it to see how a run goes on.</p>
</header>
{sections}
</main>
<script type="application/json" id="data">{_json(data)}</script>
<script>
{_part("page.js")}</script>
</body>
</html>
"""


@functools.cache
def _part(name):
    return (HERE / name).read_text(encoding="utf-8")


def _json(value):
    """JSON that no markup in it can end."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def spread(items, most):
    """At most so many of a list, evenly, the first and the last among them.

    What is kept of a list is kept of its beginnings too, but for their last: pictures of a run
    that goes on are encoded once.

    Args:
        items: list.
        most: int, at least 2.
    """
    step = 1
    while len(items[::step]) + 1 > most and step < len(items):
        step *= 2
    kept = items[::step]
    return kept if kept[-1:] == items[-1:] else [*kept, items[-1]]


def embedded(path):
    """A picture for a page: bounded in size, enlarged by a whole factor where it is small.

    Args:
        path: of an image file.

    Returns:
        (data URI, width, height); None if it cannot be read.
    """
    return _embedded(path, path.stat().st_mtime_ns) if path.exists() else None


@functools.lru_cache(maxsize=4 * MOST_PICTURES)
def _embedded(path, _changed):
    image = gathering.picture(path)
    if image is None:
        return None
    scale = min(2 * WIDE / image.width, HIGH / image.height)
    if scale < 1:
        image = image.resize([max(1, round(side * scale)) for side in image.size])
    factor = max(1, min(WIDE // image.width, HIGH // image.height))
    image = image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, "WEBP", quality=QUALITY, method=2)
    uri = f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"
    return uri, image.width, image.height


def _pictures(runs):
    """Figures as HTML, and what the slider moves: dict from a figure's id to [kimg, data URI]s."""
    most = max(2, MOST_PICTURES // max(1, len(runs)))
    still, figures, moving = [], [], {}
    for number, run in enumerate(runs):
        if run.reals and (picture := embedded(run.reals)):
            name = run.flags.get("dataset", "the set")
            words = f"Real images of {name}"
            figures.append(_figure(*picture, "Real images", f"{words}, {run.name}", runs, number))
        for kind, drawn in run.sheets.items():
            moves = kind.startswith(MOVING)
            drawn = spread(drawn, most) if moves else drawn[-1:]
            known = [(kimg, found) for kimg, path in drawn if (found := embedded(path))]
            if not known:
                continue
            kimg, picture = known[-1]
            caption = CAPTIONS.get(kind, kind)
            alt = f"{caption}, {run.name}{_of_what(run) if moves else ''}"
            if moves:
                place = f"p{len(moving)}"
                moving[place] = [[at, uri] for at, (uri, *_) in known[:-1]] + [[kimg, None]]
                figures.append(_figure(*picture, caption, alt, runs, number, kimg, place))
            else:
                still.append(_figure(*picture, caption, alt, runs, number, kimg))
    found = f'<div class="pictures">\n{"".join(figures)}</div>\n' if figures else ""
    found += f'<div class="wide">\n{"".join(still)}</div>\n' if still else ""
    return found, moving


def _of_what(run):
    """The seed of a run's sample grids and the classes of their rows, where they are known."""
    seed, rows = run.flags.get("seed"), gathering.names_of_rows(run)
    return (f", seed {seed}" if seed else "") + (f", rows: {rows}" if rows else "")


def _figure(uri, width, height, caption, alt, runs, number, kimg=None, place=None):
    whose = f"{curves.key_of_run(number, runs[number].name)} " if len(runs) > 1 else ""
    after = "" if kimg is None else f' <span class="at">after {plain(kimg, 4)} kimg</span>'
    said = "" if kimg is None else f", after {plain(kimg, 4)} kimg"
    moves = f' id="{place}" data-alt="{html.escape(alt)}"' if place else ""
    return (
        f"<figure><figcaption>{whose}{html.escape(caption)}{after}</figcaption>"
        f'<img{moves} src="{uri}" width="{width}" height="{height}" '
        f'alt="{html.escape(alt + said)}"></figure>\n'
    )


def _slider(stops):
    """Shown by the script, without which it could move nothing."""
    if len(stops) < 2:
        return ""
    last = len(stops) - 1
    return (
        '<div class="slider" hidden><label for="kimg">Real images seen '
        f'<output for="kimg">{plain(stops[-1], 4)} kimg</output></label>'
        f'<input type="range" id="kimg" min="0" max="{last}" step="1" value="{last}"></div>\n'
    )


def _summary(runs):
    return tables.of_runs({run.name: gathering.facts(run) for run in runs})


def _curves(runs):
    panels = curves.panels(runs)
    if not panels:
        return ""
    keys = "".join(curves.key_of_run(i, run.name) for i, run in enumerate(runs))
    keys = f'<p class="keys">{keys}</p>\n' if len(runs) > 1 else ""
    return f'{keys}<div class="panels">\n{"".join(panels)}</div>\n'
