"""Files of a JSON object per line, which their writer may not have finished."""

import json

LARGEST = 1e15  # of a number that a run can have: more would not be drawn


def read_lines(path):
    """The objects of a file; lines that hold none are left out.

    Args:
        path: pathlib.Path.

    Returns:
        (list of (str, dict), the lines and what they hold; int, how many lines hold no object). A
        last line without its end is not counted: its writer is writing it, or was killed.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    found, unreadable = [], 0
    for line in text.split("\n"):
        value = _object(line)
        if value is not None:
            found.append((line, value))
        elif line.strip():
            unreadable += 1
    unfinished = text.rpartition("\n")[2].strip()
    return found, unreadable - (bool(unfinished) and _object(unfinished) is None)


def _object(line):
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def is_number(value):
    """Whether a value of JSON is a finite number that can be drawn: bool is none."""
    return type(value) in (int, float) and -LARGEST < value < LARGEST
