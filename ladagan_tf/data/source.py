"""What a source of images is, whichever kind it is."""

import collections.abc
import dataclasses
import io

from PIL import Image, UnidentifiedImageError

from ladagan_tf.data.conversion import UnusableImageError

TFDS_PREFIX = "tfds:"


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
        UnusableImageError: if it is in no format that Pillow reads.
    """
    try:
        return Image.open(io.BytesIO(data))
    except UnidentifiedImageError:  # its message is the address of the buffer
        raise UnusableImageError("not an image in a format that Pillow reads") from None
