"""What a source of images is, whichever kind it is."""

import collections.abc
import dataclasses
import hashlib
import io
import os
import warnings

from PIL import Image, UnidentifiedImageError

from ladagan_tf.data.conversion import UnusableImageError
from ladagan_tf.errors import reason

TFDS_PREFIX = "tfds:"
MOST_BYTES = 2**29  # of one encoded image: 16 bits of every pixel that `MOST_PIXELS` allows
MOST_PIXELS = Image.MAX_IMAGE_PIXELS  # Pillow's 89 million, where it warns of bombs
MOST_NAMES = 100  # of files left out, for each reason
# Formats that begin with a signature, and others that only a suffix tells. Left out are those that
# Pillow reads by running a program, or knows by name only.
SIGNED_FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "AVIF", "JPEG2000")
FORMATS = (
    *SIGNED_FORMATS, "PPM", "TGA", "DDS", "DIB", "ICO", "PCX", "PSD", "QOI", "SGI", "SUN", "XBM",
    "XPM",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Item:
    """One image of a source.

    Attributes:
        name: str, unique in the source.
        label: int, None without classes.
        payload: what `read` needs.
        stamp: str that changes with the content, as far as can be told without reading it.
        damage: dict, what is done to its pixels on purpose, see `corruption.damaged`.
    """

    name: str
    label: int | None
    payload: object
    stamp: str = ""
    damage: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """Files of a source that are not used, by what they have in common.

    Attributes:
        reason: str.
        count: int, how many.
        names: tuple of str, the first of them, printable.
    """

    reason: str
    count: int
    names: tuple[str, ...]

    @classmethod
    def of(cls, reason, names):
        """Of a list of file names, of which the first `MOST_NAMES` in order are kept."""
        return cls(reason, len(names), tuple(map(printable, sorted(names)[:MOST_NAMES])))


def printable(name):
    """A file name with what cannot be printed, or is not UTF-8, as backslash escapes."""
    if name.isprintable():
        return name
    text = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


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
        left_out: tuple of `LeftOut`, files that are no items.
        split: str, the folder of several splits that the items are from; None without splits.
    """

    count: int
    classes: tuple[str, ...]
    items: collections.abc.Callable
    read: collections.abc.Callable
    left_out: tuple[LeftOut, ...] = ()
    split: str | None = None

    def files_sha256(self):
        """Hex digest that changes with the items' names, labels and stamps."""
        digest = hashlib.sha256()
        for item in self.items():
            digest.update(f"{item.name}\0{item.label}\0{item.stamp}\0".encode())
        return digest.hexdigest()


def file_stamp(folder, name):
    """The stamp of an `Item` that is the file `name` in `folder`: size and time of its change."""
    try:
        status = os.stat(os.path.join(folder, name))
    except OSError as error:  # it went since it was listed: reading it will say so
        return reason(error)
    return f"{status.st_size} {status.st_mtime_ns}"


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
