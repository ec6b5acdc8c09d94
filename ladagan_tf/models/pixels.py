"""Pixels as files hold them, on the scale that networks work on."""

from keras import ops

VISIBLY = 5  # grey levels of 255


def scale_images(images, dtype="float32"):
    """uint8, or float in [0, 255], to [-1, 1].

    Args:
        images: tensor of any shape.
        dtype: str, of the result.

    Returns:
        Float tensor of the same shape.
    """
    return ops.cast(images, dtype) / 127.5 - 1.0


def clipped_share(images):
    """The share of values that writing a picture clips by more than `VISIBLY` grey levels.

    Args:
        images: float tensor of any shape, nominally in [-1, 1].

    Returns:
        float32 scalar in [0, 1].
    """
    return ops.mean(ops.cast(ops.abs(images) > 1.0 + VISIBLY / 127.5, "float32"))
