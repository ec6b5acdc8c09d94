"""Sizes and tensors that do not fit, in words that name the field and the value."""

SHOWN = 3  # names of each kind of problem


def check(condition, message):
    """Raises ValueError(message) unless `condition`."""
    if not condition:
        raise ValueError(message)


def check_widths(field, widths, count, why):
    """Raises ValueError, naming `field` and `why`, unless `widths` are `count` positive ints."""
    check(
        len(widths) == count and all(isinstance(w, int) and w > 0 for w in widths),
        f"{field}={list(widths)}: give {count} positive integers {why}",
    )


def check_positive(**fields):
    """Raises ValueError, naming the field, unless each value is a positive integer."""
    for name, value in fields.items():
        check(isinstance(value, int) and value > 0, f"{name}={value!r}: give a positive integer")


def check_shape(name, tensor, *sides):
    """Raises ValueError unless a tensor is (B, *sides), as far as a graph knows.

    For what is reshaped: another size could become a batch of another length.
    """
    given = tuple(tensor.shape)
    known = zip(given[1:], sides, strict=False)
    check(
        len(given) == 1 + len(sides) and 0 not in given and all(a in (None, b) for a, b in known),
        f"{name} of shape {given}: give (B, {', '.join(map(str, sides))}), one or more of them",
    )


def tensor_problems(given, shapes, unknown=True):
    """How tensors differ from those that a network needs.

    Args:
        given: mapping, name -> array.
        shapes: mapping, name -> tuple, the tensors there should be.
        unknown: bool, whether names that the network does not have are a problem.

    Returns:
        str, one line with the first few of each kind: missing, of another shape, unknown; "" if
        there are none.
    """
    found = {"missing": [], "of another shape": [], "unknown": []}
    if unknown:
        found["unknown"] = sorted(given.keys() - shapes.keys())
    for name, shape in shapes.items():
        if name not in given:
            found["missing"].append(name)
        elif tuple(given[name].shape) != tuple(shape):
            theirs = tuple(given[name].shape)
            found["of another shape"].append(f"{name} is {theirs}, expected {tuple(shape)}")
    parts = []
    for kind, entries in found.items():
        if entries:
            more = f"; and {len(entries) - SHOWN} more" if len(entries) > SHOWN else ""
            parts.append(f"{len(entries)} {kind} ({'; '.join(entries[:SHOWN])}{more})")
    return ", ".join(parts)


def is_one(strength):
    """Whether a strength is the plain number 1; a tensor's value may not be known yet."""
    return isinstance(strength, int | float) and strength == 1
