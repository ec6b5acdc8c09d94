"""The built-in set `shapes`: antialiased coloured shapes on grey, at any resolution, from a seed.

It needs no download, has labels one can check by eye, and is small enough for a laptop, so every
other part of the project can be tried and tested with it.
"""

import numpy as np

_TAU = 2.0 * np.pi


# Each shape is a function of coordinates (x, y), scaled so that the shape fits in the unit circle.
# It returns a signed distance to the outline, negative inside. The distance has to be exact only
# within half a pixel of the outline, where it becomes the coverage of the pixel.


def _circle(x, y):
    return np.hypot(x, y) - 0.9


def _square(x, y):
    return np.maximum(np.abs(x), np.abs(y)) - 0.7


def _triangle(x, y):
    # Half-planes at 0, 120 and 240 degrees, each half the circumscribed radius from the centre.
    slope = np.abs(x) * np.sqrt(0.75)
    return np.maximum(slope - 0.5 * y, y) - 0.5


def _star(x, y):
    # Fold the plane onto one tenth of a five-pointed star; there its outline is one straight line
    # from the tip at angle 0 to the notch at angle 36 degrees.
    sector = _TAU / 5.0
    angle = np.abs((np.arctan2(y, x) + sector / 2.0) % sector - sector / 2.0)
    radius = np.hypot(x, y)
    notch_x, notch_y = 0.42 * np.cos(sector / 2.0), 0.42 * np.sin(sector / 2.0)
    along_x, along_y = notch_x - 1.0, notch_y
    px, py = radius * np.cos(angle) - 1.0, radius * np.sin(angle)
    return (along_y * px - along_x * py) / np.hypot(along_x, along_y)


def _ring(x, y):
    return np.abs(np.hypot(x, y) - 0.68) - 0.24


def _cross(x, y):
    longer, shorter = np.maximum(np.abs(x), np.abs(y)), np.minimum(np.abs(x), np.abs(y))
    return np.maximum(longer - 0.92, shorter - 0.3)


_SHAPES = (
    ("circle", _circle),
    ("square", _square),
    ("triangle", _triangle),
    ("star", _star),
    ("ring", _ring),
    ("cross", _cross),
)
_COLOURS = (  # RGB in [0, 1]
    ("red", (0.86, 0.16, 0.16)),
    ("yellow", (0.95, 0.80, 0.12)),
    ("green", (0.16, 0.66, 0.26)),
    ("blue", (0.14, 0.34, 0.88)),
    ("purple", (0.60, 0.22, 0.74)),
)

CLASSES = tuple(f"{colour} {shape}" for shape, _ in _SHAPES for colour, _ in _COLOURS)


def shapes_image(seed, index, resolution):
    """Draws one image of the set.

    The scene is described in fractions of the side, so the same `(seed, index)` shows the same
    scene at every resolution.

    Args:
        seed: int. Chooses the set.
        index: int >= 0. Chooses the image within the set.
        resolution: int >= 1, side of the image in pixels.

    Returns:
        uint8 array (resolution, resolution, 3) in [0, 255] and its label, an int that indexes
        `CLASSES`.
    """
    # Raw Philox words rather than a Generator's methods: NumPy promises that only the former
    # never change, and the content hash of a prepared set rests on them.
    key = np.array([seed % 2**64, index], dtype=np.uint64)
    label_draw, *draws = np.random.Philox(key=key).random_raw(7) / 2.0**64
    label = min(int(label_draw * len(CLASSES)), len(CLASSES) - 1)
    shape, colour = divmod(label, len(_COLOURS))

    radius = 0.18 + 0.24 * draws[0]
    margin = radius + 0.05
    centre_x, centre_y = (margin + (1.0 - 2.0 * margin) * draw for draw in draws[1:3])
    rotation = _TAU * draws[3]
    background = 0.08 + 0.84 * draws[4]
    brightness = 0.85 + 0.15 * draws[5]

    grid = (np.arange(resolution) + 0.5) / resolution
    x = (grid[None, :] - centre_x) / radius  # (1, S)
    y = (grid[:, None] - centre_y) / radius  # (S, 1)
    cos, sin = np.cos(rotation), np.sin(rotation)
    distance = _SHAPES[shape][1](cos * x + sin * y, cos * y - sin * x)  # (S, S), in radii
    coverage = np.clip(0.5 - distance * radius * resolution, 0.0, 1.0)[..., None]  # (S, S, 1)
    foreground = brightness * np.array(_COLOURS[colour][1])
    image = background + coverage * (foreground - background)  # (S, S, 3)
    return np.rint(255.0 * image).astype(np.uint8), label
