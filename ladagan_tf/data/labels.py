"""Labels that are numbers: a `dataset.json` as StyleGAN's tools write it, and the classes."""

import json

import numpy as np

from ladagan_tf.errors import InputError, reason

LABELS_NAME = "dataset.json"
MOST_CLASSES = 1_000_000


def numbers_in(text, what):
    """The labels in a `dataset.json` by file, see `read_labels`.

    Args:
        text: str or bytes, what the file holds.
        what: str, where an error is.

    Returns:
        dict of file -> label, empty without labels; None if the file is something else.

    Raises:
        InputError: if it is no JSON, or its labels are no pairs.
    """
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_labels(what, error) from None
    if not isinstance(content, dict) or "labels" not in content:
        return None
    return read_labels(content["labels"] or (), what)


def read_labels(labels, what):
    """The "labels" of a `dataset.json` of StyleGAN's tools, by file.

    Args:
        labels: what the file holds under that name.
        what: str, where an error is.

    Returns:
        dict of file -> label, which may be anything.

    Raises:
        InputError: if it is no list of pairs, or a file has two labels.
    """
    try:
        entries = list(labels)
        numbers = dict(entries)
    except (ValueError, TypeError) as error:
        raise _no_labels(what, error) from None
    for name, label in entries if len(numbers) < len(entries) else ():
        if numbers[name] != label:
            raise InputError(f"{what}: {name} has two labels, {label} and {numbers[name]}")
    return numbers


def _no_labels(what, error):
    return InputError(f'{what}: it must hold {{"labels": [[file, class], ...]}} ({reason(error)})')


def labels_of(names, numbers, what):
    """The labels of files: a tuple of ints.

    Args:
        names: sequence of str, the files.
        numbers: what `read_labels` returned.
        what: str, where an error is.

    Raises:
        InputError: if a file has none, or one that is no integer from 0 on.
    """
    labels = tuple(numbers.get(name) for name in names)
    for name, label in zip(names, labels, strict=True):
        if type(label) is not int or not 0 <= label < 2**63:
            raise InputError(f"{what}: the label of {name} is {label}; it must be an integer >= 0")
    return labels


def numbered_classes(labels, num_classes, what):
    """The names of the classes that labels count: "0", "1", ...

    Args:
        labels: int array (N,), N >= 1, all >= 0.
        num_classes: int, how many there are; None is as many as the highest label says, of which
            each must have an image: a gap is where a number that stands for "no label" gives itself
            away, or where other classes would be generated without an example.
        what: str that names the labels, for messages.

    Returns:
        Tuple of str.

    Raises:
        InputError: if a label is none of the classes, or a class has no image.
    """
    found = np.unique(labels)
    highest = int(found[-1])
    if num_classes is None:
        if highest >= len(found):
            gap = int(np.flatnonzero(found != np.arange(len(found)))[0])
            raise InputError(
                f"{what}: {highest} is the highest, but none is {gap}. If {highest} means no "
                "label, leave those images out; num_classes=N allows N classes, some without images"
            )
        num_classes = len(found)
    if not highest < num_classes <= MOST_CLASSES:
        raise InputError(
            f"{what}: {highest} is the highest, with num_classes={num_classes}; the number must be "
            f"above it, and {MOST_CLASSES} at most"
        )
    return tuple(map(str, range(num_classes)))
