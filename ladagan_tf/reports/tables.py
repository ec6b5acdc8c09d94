"""Tables of a page as HTML: columns are runs, or what was measured of them."""

import html
import json

from ladagan_tf.decimals import plain
from ladagan_tf.runs import results

COMPARES = (
    "↑ higher is better, ↓ lower is better. Only numbers of the same real images, counts and "
    "features compare."
)


def of_runs(columns):
    """A table of a row per name and a column per run, without headings where there is one run.

    Args:
        columns: dict from a run's name to a dict of texts.

    Returns:
        str, HTML; "" where there is nothing to tell.
    """
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    if not names:
        return ""
    rows = [[column.get(name, "") for column in columns.values()] for name in names]
    return _table(names, rows, list(columns) if len(columns) > 1 else (), "what")


def _table(names, rows, heads, corner, kind="words"):
    """A table with a heading per row, and per column if there are `heads`, of one line or more."""
    body = "".join(
        f'<tr><th scope="row">{_text(name)}</th>'
        f"{''.join(f'<td>{_text(cell)}</td>' for cell in row)}</tr>\n"
        for name, row in zip(names, rows, strict=True)
    )
    top = "".join(f'<th scope="col">{_lines(head)}</th>' for head in heads)
    top = f"<thead><tr><td>{corner}</td>{top}</tr></thead>\n" if heads else ""
    return (
        f'<div class="scroll" tabindex="0" role="group" aria-label="table of {corner}">\n'
        f'<table class="{kind}">\n{top}<tbody>\n{body}</tbody>\n</table>\n</div>\n'
    )


def _lines(head):
    first, *others = head.split("\n")
    return _text(first) + "".join(f"<small>{_text(line)}</small>" for line in others)


def _text(value):
    return html.escape(str(value))


def metrics(runs):
    """What was measured: a column per run and protocol, a row per metric; the protocols below.

    Of numbers that were measured in the same way more than once, the last one counts.

    Args:
        runs: list of `gathering.Run`.

    Returns:
        str, HTML.
    """
    measured = {}  # (run, protocol) -> records by metric
    for run in runs:
        for record in run.metrics:
            protocol = json.dumps(results.protocol_of(record), sort_keys=True)
            metric, _, better = results.number_in_words(record)
            row = f"{metric} {'↓' if better == 'lower' else '↑'}"
            measured.setdefault((run.name, protocol), {})[row] = record
    if not measured:
        return '<p class="quiet">Nothing is measured yet: evaluate.py does, with --run_dir.</p>\n'
    heads, protocols = [], []
    for (name, text), records in measured.items():
        protocol = json.loads(text)
        count, real, features, checkpoint = map(str, results.protocol_in_words(protocol))
        heads.append("\n".join([name, checkpoint, f"{count} and {real}", features]))
        protocols.append(_protocol(f"{name}, {checkpoint}", protocol, records))
    names = list(dict.fromkeys(name for records in measured.values() for name in records))
    rows = [
        [results.number_in_words(r[name])[1] if name in r else "" for r in measured.values()]
        for name in names
    ]
    note = f'<p class="quiet">{COMPARES}</p>\n'
    return _table(names, rows, heads, "metric", "numbers") + note + "".join(protocols)


def _protocol(title, protocol, records):
    """What the numbers of a column are, folded."""
    fields = {}
    for part, about in protocol.items():
        inner = about if isinstance(about, dict) else {"": about}
        fields |= {f"{part}: {name}" if name else part: value for name, value in inner.items()}
    fields |= {f"definition: {r['metric']}": r.get("definition", "") for r in records.values()}
    table = _table(fields, [[value] for value in fields.values()], (), "protocol")
    return _folded(f"Protocol of {title}", table + _by_class(records))


def _by_class(records):
    """A table of the classes for each metric that has a value of each."""
    tables = []
    for metric, record in records.items():
        details = record.get("details")
        found = details.get("by_class") if isinstance(details, dict) else None
        if isinstance(found, dict) and all(isinstance(about, dict) for about in found.values()):
            rows = [
                [_short(about.get(k)) for k in ("value", "generated", "real")]
                for about in found.values()
            ]
            heads = [metric, "generated images", "real images"]
            tables.append(_table(found, rows, heads, "class", "numbers"))
    return "".join(tables)


def _short(value):
    return plain(value, 4) if isinstance(value, float) else value


def flags(runs):
    """The flags of runs, folded; those that differ are open.

    Args:
        runs: list of `gathering.Run`.

    Returns:
        str, HTML.
    """
    names = sorted({name for run in runs for name in run.flags})
    differ = [name for name in names if len({run.flags.get(name) for run in runs}) > 1]
    equal = [name for name in names if name not in differ]
    first = f"{len(differ)} that differ", differ, True
    rest = f"{len(equal)} that are equal" if len(runs) > 1 else f"All {len(equal)}", equal, False
    return "".join(
        _folded(title, of_runs(_chosen(runs, some)), opened)
        for title, some, opened in (first, rest)
        if some
    )


def _chosen(runs, names):
    return {run.name: {name: run.flags.get(name, "") for name in names} for run in runs}


def _folded(title, body, opened=False):
    start = "<details open>" if opened else "<details>"
    return f"{start}<summary>{_text(title)}</summary>\n{body}</details>\n"
