"""Sizes that do not fit, refused in words that name the field and the value."""


def check(condition, message):
    """Raises ValueError(message) unless `condition`."""
    if not condition:
        raise ValueError(message)


def check_widths(field, widths, count, why):
    """Raises ValueError, naming `field`, unless `widths` are `count` positive integers."""
    check(
        len(widths) == count and all(isinstance(w, int) and w > 0 for w in widths),
        f"{field}={list(widths)}: give {count} positive integers {why}",
    )
