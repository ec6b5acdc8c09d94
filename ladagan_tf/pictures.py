"""Pictures people look at: image grids and attention sheets, as uint8 arrays and PNG files."""

import io
import math

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ladagan_tf.errors import NotFiniteError
from ladagan_tf.files import atomic_path

MARGIN = 2  # pixels between tiles
HEADER = 14  # pixels for a line of text
CAPTION = 22  # of a larger one
COLOURS = 64  # of a drawing
TILE = 96  # smallest side of a tile of an attention sheet, in pixels
WIDE = 640  # pixels, of a sheet that fits on a page


def to_levels(images):
    """Float images, nominally in [-1, 1], to float32 grey levels in [0, 255]: clipped, as uint8.

    Raises:
        NotFiniteError: for images that are not finite, which uint8 would show as black.
    """
    images = np.asarray(images, np.float32)
    if not np.isfinite(images).all():
        raise NotFiniteError(
            "the model makes images that are NaN or infinite, of weights that are, or of a "
            "guidance or psi far outside of what it was made for"
        )
    return (np.clip(images, -1.0, 1.0) + 1.0) * 127.5


def to_uint8(images):
    """Float images, nominally in [-1, 1], to uint8: clipped and rounded; see `to_levels`."""
    return np.rint(to_levels(images)).astype(np.uint8)


def enlarged(images, factor):
    """Repeats pixels by a whole factor, which blurs nothing.

    Args:
        images: uint8 array (..., H, W, 3).
        factor: int, at least 1.

    Returns:
        uint8 array (..., factor * H, factor * W, 3).
    """
    return images.repeat(factor, axis=-3).repeat(factor, axis=-2)


def factor_within(width, pixels):
    """The largest whole factor, 1 at least, that keeps a `width` within so many `pixels`."""
    return max(1, pixels // width)


def square_columns(count):
    """Columns of a sheet of so many images that is as square as possible: int."""
    return math.isqrt(count - 1) + 1


def grid(images, columns):
    """Tiles images row by row.

    Args:
        images: uint8 array (N, H, W, 3).
        columns: int, images per row; a last incomplete row is filled with white.

    Returns:
        uint8 array (rows * (H + 2) - 2, columns * (W + 2) - 2, 3).
    """
    count, height, width, channels = images.shape
    rows = -(-count // columns)
    sheet = np.full((rows * (height + MARGIN), columns * (width + MARGIN), channels), 255, np.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * (height + MARGIN), i % columns * (width + MARGIN)
        sheet[top : top + height, left : left + width] = image
    return sheet[:-MARGIN, :-MARGIN]


def enlarged_grid(images, columns, scale=None):
    """A `grid` of enlarged images.

    Args:
        images, columns: see `grid`.
        scale: int, the whole factor; None: the largest that keeps the grid within `WIDE` pixels.
    """
    scale = scale or factor_within(columns * images.shape[2], WIDE - (columns - 1) * MARGIN)
    return grid(enlarged(images, scale), columns)


def attention_sheet(images, maps):
    """Each image beside where every head looked at every resolution, as in the official figures.

    Args:
        images: uint8 array (N, S, S, 3).
        maps: list of float arrays (N, H, T), one per resolution; T tokens of a square grid.

    Returns:
        uint8 array: a row per image; the image, then one overlay per resolution and head, dark
        where the weight is smallest and bright where it is largest within the map.
    """
    images = enlarged(images, -(-TILE // images.shape[1]))
    side = images.shape[1]
    titles, rows = ["image"], []
    for weights in maps:
        tokens = round(weights.shape[2] ** 0.5)
        titles += [f"{tokens}x{tokens} head {head + 1}" for head in range(weights.shape[1])]
    for i, image in enumerate(images):
        overlays = [_overlay(image, head) for weights in maps for head in weights[i]]
        rows += [image, *overlays]
    body = grid(np.stack(rows), len(titles))
    return np.concatenate([_header(titles, side, body.shape[1]), body])


def _overlay(image, weights):
    tokens = round(len(weights) ** 0.5)
    low, high = weights.min(), weights.max()
    heat = (weights - low) / (high - low if high > low else 1.0)
    heat = _resized((heat.reshape(tokens, tokens) * 255).astype(np.uint8), image.shape[0])
    colour = matplotlib.colormaps["inferno"](heat)[..., :3] * 255
    grey = image.mean(axis=2, keepdims=True)
    return (0.35 * grey + 0.65 * colour).astype(np.uint8)


def _resized(image, side):
    return np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.NEAREST))


def _header(titles, side, width):
    header = Image.new("RGB", (width, HEADER), "white")
    draw = ImageDraw.Draw(header)
    for i, title in enumerate(titles):
        draw.text((i * (side + MARGIN) + 2, 1), title, fill="black")
    return np.asarray(header)


def captioned(sheet, text):
    """A uint8 sheet (H, W, 3) with a line of text (str) on white below: (H + 22, W, 3)."""
    strip = Image.new("RGB", (sheet.shape[1], CAPTION), "white")
    font = ImageFont.load_default(CAPTION - 8)
    ImageDraw.Draw(strip).text((2, 2), text, fill="#333333", font=font)
    return np.concatenate([sheet, np.asarray(strip)])


def save_png(path, image):
    """Writes a uint8 array (H, W, 3) as PNG, atomically."""
    with atomic_path(path) as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def drawing(figure):
    """A matplotlib figure of lines and text as PNG bytes, a third of those of full colour."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas, palette = FigureCanvasAgg(figure), io.BytesIO()
    canvas.draw()  # `savefig` draws twice, for the layout and for the file
    image = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    image = image.quantize(COLOURS, dither=Image.Dither.NONE)
    image.save(palette, format="PNG", optimize=True)
    return palette.getvalue()
