"""JSON of a run: an object per line of a file that may be unfinished, and objects with a seal.

A sealed object carries the hash of its own content: a changed one is not believed.
"""

import hashlib
import json

from ladagan_tf.files import json_line

SEAL = "content_sha256"
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


def sealed(content):
    """An object as text with the SHA-256 of what it says.

    Args:
        content: dict of plain values.

    Returns:
        str, of one line.
    """
    content = json.loads(json_line(content))
    return json_line({**content, SEAL: _digest(content)})


def unsealed(text):
    """The object of a text; one without a seal, as they were before, is taken as it is.

    Args:
        text: str.

    Returns:
        dict, without the seal.

    Raises:
        ValueError: if it is no object, or another one than was written.
    """
    try:
        content = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(content, dict):
        raise ValueError("it is no object")
    if SEAL in content and content.pop(SEAL) != _digest(content):
        raise ValueError("it has changed")
    return content


def _digest(content):
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
