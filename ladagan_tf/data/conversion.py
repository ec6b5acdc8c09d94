"""One image file becomes one training image: upright, opaque, RGB, 8 bits, square, one size.

It runs in the worker processes of `preparation`: Pillow and NumPy only.
"""

import dataclasses
import errno
import hashlib
import io
import os
import warnings

import numpy as np
from PIL import Image, ImageColor, ImageOps

from ladagan_tf.data.corruption import damaged
from ladagan_tf.errors import InputError

MOST_RESOLUTION = 16_384
CROPS = ("centre", "adm", "none")
RESIZE_FILTERS = {
    "lanczos": Image.Resampling.LANCZOS,
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "box": Image.Resampling.BOX,
}
# What says nothing about the file: a limit of this process, or a file server that is gone.
_NOT_OF_THE_FILE = (
    errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT,
    errno.EHOSTDOWN,
)  # fmt: skip
_LONGEST = 200  # characters of the reason why an image is unusable
_TRANSPARENT_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


class UnusableImageError(Exception):
    """One image of a source cannot be used; the message is the reason, without the name."""


@dataclasses.dataclass(frozen=True)
class Conversion:
    """How every image of a set is converted; recorded in its `dataset.json`.

    Args:
        resolution: int from 1 to `MOST_RESOLUTION`, side of the result in pixels.
        crop: `centre` keeps the largest centred square; `adm` is how ADM, and GAT after it, prepare
            ImageNet (see `_adm_crop`), which ignores EXIF orientation too; `none` stretches the
            whole image.
        background: (R, G, B), ints in [0, 255], seen through transparent pixels.
        resize_filter: a key of `RESIZE_FILTERS`; all are antialiased. None is `lanczos`, but for
            `adm`, which is always `bicubic`.
        min_side: int >= 1; an image whose shorter side has fewer pixels is unusable. None means
            a quarter of the resolution: beyond a fourfold enlargement there is little to learn.

    Raises:
        InputError: if a value is not one of the above.
    """

    resolution: int
    crop: str = "centre"
    background: tuple[int, int, int] = (255, 255, 255)
    resize_filter: str | None = None
    min_side: int | None = None

    def __post_init__(self):
        if not 1 <= self.resolution <= MOST_RESOLUTION:
            raise InputError(
                f"resolution={self.resolution}: it must be from 1 to {MOST_RESOLUTION} pixels"
            )
        if self.crop not in CROPS:
            raise InputError(f"crop={self.crop!r}: it must be one of {', '.join(CROPS)}")
        if self.resize_filter is None:
            default = "bicubic" if self.crop == "adm" else "lanczos"
            object.__setattr__(self, "resize_filter", default)
        if self.crop == "adm" and self.resize_filter != "bicubic":
            raise InputError(
                f"resize_filter={self.resize_filter}: crop=adm is bicubic; leave it out"
            )
        if self.resize_filter not in RESIZE_FILTERS:
            raise InputError(
                f"resize_filter={self.resize_filter!r}: it must be one of "
                f"{', '.join(RESIZE_FILTERS)}"
            )
        if self.min_side is None:
            object.__setattr__(self, "min_side", max(1, self.resolution // 4))
        if self.min_side < 1:
            raise InputError(f"min_side={self.min_side}: it must be at least 1 pixel")


def parse_background(text):
    """Reads a colour: `R,G,B` with integers in [0, 255], or a name such as `white` or `#ff0080`.

    Returns:
        Tuple of three ints.

    Raises:
        InputError: if it is neither.
    """
    try:
        if "," in text:
            red, green, blue = (int(part) for part in text.split(","))
            colour = (red, green, blue)
        else:
            colour = ImageColor.getrgb(text.strip())
    except ValueError:
        colour = ()
    if len(colour) != 3 or not all(0 <= channel <= 255 for channel in colour):
        raise InputError(
            f"background={text!r}: it must be R,G,B with integers from 0 to 255, "
            "or a colour name such as white or black"
        )
    return colour


def image_from_array(array):
    """Makes a Pillow image of an array (H, W), (H, W, 1), (H, W, 3) or (H, W, 4), uint8 or uint16.

    Raises:
        UnusableImageError: for another shape or dtype.
    """
    if array.dtype not in (np.uint8, np.uint16):
        raise UnusableImageError(f"dtype {array.dtype}; arrays must be uint8 or uint16")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and not (array.ndim == 3 and array.shape[2] in (3, 4)):
        raise UnusableImageError(f"shape {array.shape}; arrays must be (H, W) or (H, W, 1|3|4)")
    if array.dtype == np.uint16:
        array = _eight_bits(array)
    return Image.fromarray(np.ascontiguousarray(array))


def to_rgb(image, background=(255, 255, 255), upright=True):
    """Makes an opaque 8-bit RGB image of a Pillow image of any mode.

    EXIF orientation is applied if `upright`. Transparency is composited over `background`. Grey
    becomes RGB. 16-bit grey is scaled to 8 bits (65535 becomes 255), not clipped.

    Raises:
        UnusableImageError: for floating-point or 32-bit pixels, whose range is unknown.
    """
    with warnings.catch_warnings():
        # Pillow's own, with a line of its source, of EXIF data that are none or a file's end.
        warnings.simplefilter("ignore")
        return _to_rgb(image, background, upright)


def _to_rgb(image, background, upright):
    stored, image = image, _upright(image) if upright else image
    if image.mode.startswith("I"):
        image = _sixteen_bit_grey(image, stored)
    if image.mode == "F":
        raise UnusableImageError("floating-point pixels; only 8 and 16 bits per channel are read")
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        image = image.convert("RGBA")
        canvas = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(canvas, image)
    return image.convert("RGB")


def _upright(image):
    """`image` as its EXIF data turn it; as it is stored where they cannot be read."""
    image.load()  # what is wrong with the pixels is told here
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise  # says nothing about the file
    except Exception:  # of data that are none Pillow raises nearly anything
        return image


_BITS_PER_SAMPLE, _PHOTOMETRIC, _WHITE_IS_ZERO = 258, 262, 0  # of TIFF


def _sixteen_bit_grey(image, stored):
    """`image` scaled by what its file, `stored`, says its pixels are; not by how large they are."""
    if image.mode == "I" and stored.format != "PPM":  # Pillow scales a PPM's to 16 bits
        raise UnusableImageError("32-bit pixels; only 8 and 16 bits per channel are read")
    values = np.asarray(image).astype(np.int64)
    tags = getattr(stored, "tag_v2", {})  # Pillow leaves to us what these two say
    if tags.get(_BITS_PER_SAMPLE) == (12,):
        values = values * 65535 // 4095
    if tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 65535 - values
    grey = Image.fromarray(_eight_bits(values))
    if isinstance(image.info.get("transparency"), int):
        # A PNG may name one 16-bit grey as transparent.
        alpha = np.where(values == image.info["transparency"], np.uint8(0), np.uint8(255))
        grey.putalpha(Image.fromarray(alpha))
    return grey


def _eight_bits(values):
    """Scales [0, 65535] to [0, 255], rounding to nearest (65535 = 257 * 255)."""
    scaled = values.astype(np.uint32)  # in place: images may have 89 million pixels
    scaled += 128
    scaled //= 257
    return scaled.astype(np.uint8)


def convert_image(image, conversion):
    """Converts one image.

    Args:
        image: Pillow image of any size and mode.
        conversion: `Conversion`.

    Returns:
        uint8 array (resolution, resolution, 3) in [0, 255].

    Raises:
        UnusableImageError: if it is too small or cannot be decoded.
    """
    width, height = image.size
    if min(width, height) < conversion.min_side:
        raise UnusableImageError(
            f"{width} x {height} pixels; the shorter side must have at least "
            f"min_side={conversion.min_side}"
        )
    image = to_rgb(image, conversion.background, upright=conversion.crop != "adm")
    if conversion.crop == "adm":
        return _adm_crop(image, conversion.resolution)
    if conversion.crop == "centre":
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    size = (conversion.resolution, conversion.resolution)
    # Pillow widens the filter when it reduces, which is what antialiases; an image that already
    # has the size comes through untouched.
    return np.array(image.resize(size, RESIZE_FILTERS[conversion.resize_filter]))


def _adm_crop(image, resolution):
    """The centred square as `center_crop_arr` of ADM's evaluation and its heirs make it.

    The image is halved by averaging while it stays at least as large as the result, resized so that
    the shorter side fits, and cropped last.
    """
    while min(image.size) >= 2 * resolution:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = resolution / min(image.size)
    size = (round(image.width * scale), round(image.height * scale))
    pixels = np.array(image.resize(size, Image.Resampling.BICUBIC))
    top, left = ((side - resolution) // 2 for side in pixels.shape[:2])
    return pixels[top : top + resolution, left : left + resolution]


@dataclasses.dataclass(frozen=True)
class Converted:
    """The outcome of one item: either `png` and `digest`, or `problem` (the reason it is unusable).

    `digest` is the sha256 of the decoded pixels and the label; `label` is -1 for none; `stamp` is
    the item's.
    """

    name: str
    stamp: str
    label: int
    png: bytes = b""
    digest: bytes = b""
    problem: str = ""


def convert_items(read, conversion, items):
    """Reads and converts some items of a source: the work of one task in a worker process.

    Args:
        read: the source's `read`, from a payload to a Pillow image.
        conversion: `Conversion`.
        items: list of `source.Item`.

    Returns:
        List of `Converted`, in the order of `items`.

    Raises:
        InputError: where something else than an item is what keeps it from being read.
    """
    return [_convert_item(read, conversion, item) for item in items]


def _convert_item(read, conversion, item):
    label = -1 if item.label is None else item.label
    try:
        pixels = damaged(convert_image(read(item.payload), conversion), item.damage)
    except MemoryError:
        raise  # says nothing about the file
    except Exception as error:
        if getattr(error, "errno", None) in _NOT_OF_THE_FILE:
            raise InputError(
                f"{item.name}: it cannot be read now ({os.strerror(error.errno)}); once it can, "
                "run the same again, which goes on"
            ) from None
        # A broken file can make Pillow, zlib or zipfile raise nearly anything; whatever it was,
        # this item is what cannot be used.
        reason = str(error) or type(error).__name__
        problem = " ".join(reason.split())[:_LONGEST]
        return Converted(item.name, item.stamp, label, problem=problem)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    digest = hashlib.sha256(pixels.tobytes() + label.to_bytes(8, "little", signed=True)).digest()
    return Converted(item.name, item.stamp, label, png=buffer.getvalue(), digest=digest)
