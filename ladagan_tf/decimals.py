"""Numbers as people read and write them: without exponents where they are large."""


def plain(value, digits=6):
    """A number in decimals: at least so many digits, and all of those before the point.

    Args:
        value: float.
        digits: int, significant ones.

    Returns:
        str, as 12346 of 12345.67 in four digits; below 0.0001 with an exponent, above 1e15 too.
    """
    text = f"{value:.{digits}g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e15 else text


def in_kimg(images):
    """Images in thousands, exactly: each number has a text of its own, as 1234567.5.

    Args:
        images: int, or a float that is a whole number.
    """
    return f"{images / 1000:.3f}".rstrip("0").rstrip(".")
