"""Pixels as files hold them, on the scale that networks work on."""

from keras import ops


def scale_images(images, dtype="float32"):
    """uint8, or float in [0, 255], to [-1, 1].

    Args:
        images: tensor of any shape.
        dtype: str, of the result.

    Returns:
        Float tensor of the same shape.
    """
    return ops.cast(images, dtype) / 127.5 - 1.0
