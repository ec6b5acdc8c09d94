"""What a source of images is, whichever kind it is."""

import collections.abc
import dataclasses
import io
import warnings

from PIL import Image, UnidentifiedImageError

from ladagan_tf.data.conversion import UnusableImageError

TFDS_PREFIX = "tfds:"
# What is tried, whatever a file is called: Pillow also knows formats that are programs.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF", "JPEG2000", "TGA")
MOST_BYTES = 2**29  # of one encoded image: 16 bits of every pixel that `MOST_PIXELS` allows
MOST_PIXELS = Image.MAX_IMAGE_PIXELS  # Pillow's 89 million, where it warns of bombs


@dataclasses.dataclass(frozen=True)
class Item:
    """One image of a source: its name, its label (None without classes) and what `read` needs."""

    name: str
    label: int | None
    payload: object


@dataclasses.dataclass(frozen=True)
class Source:
    """Images with names and labels.

    Attributes:
        count: number of items.
        classes: tuple of class names that labels index; empty for a source without labels.
        items: function of no arguments that returns an iterator of `Item`, in the fixed order in
            which records are written.
        read: picklable function from an item's payload to a Pillow image. It may raise anything
            for a broken image.
    """

    count: int
    classes: tuple[str, ...]
    items: collections.abc.Callable
    read: collections.abc.Callable


def open_encoded(data):
    """Opens an encoded image held in bytes as a Pillow image.

    Raises:
        UnusableImageError: if it is in none of `FORMATS`, or has more than `MOST_PIXELS`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return Image.open(io.BytesIO(data), formats=FORMATS)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        raise UnusableImageError(f"more than {MOST_PIXELS} pixels") from None
    except UnidentifiedImageError:  # its message is the address of the buffer
        raise UnusableImageError("not an image in a format that Pillow reads") from None


def check_encoded(size):
    """Raises UnusableImageError if an encoded image has more than `MOST_BYTES`, before reading."""
    if size > MOST_BYTES:
        raise UnusableImageError(f"{size} bytes; an image may have {MOST_BYTES}")
