"""JSON objects that carry the hash of their own content: a changed one is not believed."""

import hashlib
import json

from ladagan_tf.files import json_line

SEAL = "content_sha256"


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
