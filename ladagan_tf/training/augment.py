"""DiffAugment (Zhao et al. 2020) as pure functions of images and explicit draws.

Images are float tensors (B, S, S, C); every draw is a vector (B,), one value per image, so the same
draws give the same augmentation anywhere. All operations are differentiable in the images.
"""

from keras import ops

from ladagan_tf.training.draws import Draw

POLICIES = ("color", "translation", "cutout")
TRANSLATION = 0.125  # largest shift, as a share of the side
CUTOUT = 0.5  # side of the square, as a share of the side


def parse_policy(text):
    """Splits "color,translation" into its steps, in the given order; "" is no augmentation.

    Raises:
        ValueError: for an unknown step, naming it and what is accepted.
    """
    steps = tuple(step.strip() for step in text.split(",") if step.strip())
    for step in steps:
        if step not in POLICIES:
            raise ValueError(f"policy={text!r}: {step!r} is not one of {', '.join(POLICIES)}")
    return steps


def augmentation_draws(policy, size):
    """What `diff_augment` needs drawn.

    Args:
        policy: tuple of steps, see `parse_policy`.
        size: int, side of the images in pixels.

    Returns:
        Dict from draw name to `Draw`, in the order of the policy.
    """
    shift = int(size * TRANSLATION + 0.5)
    window = int(size * CUTOUT + 0.5)
    by_step = {
        "color": {
            "brightness": Draw.uniform(),
            "saturation": Draw.uniform(),
            "contrast": Draw.uniform(),
        },
        "translation": {
            "shift_rows": Draw.integers(-shift, shift + 1),
            "shift_columns": Draw.integers(-shift, shift + 1),
        },
        "cutout": {
            "cutout_row": Draw.integers(0, size + 1 - window % 2),
            "cutout_column": Draw.integers(0, size + 1 - window % 2),
        },
    }
    return {name: draw for step in policy for name, draw in by_step[step].items()}


def diff_augment(images, draws, policy):
    """Applies the steps of `policy` in order.

    Args:
        images: float tensor (B, S, S, C).
        draws: dict of (B,) tensors as `augmentation_draws` describes them.
        policy: tuple of steps.

    Returns:
        Float tensor (B, S, S, C).
    """
    steps = {"color": color, "translation": translation, "cutout": cutout}
    for step in policy:
        images = steps[step](images, draws)
    return images


def sometimes(augmented, images, draw, probability):
    """`augmented` where `draw` (B,), uniform in [0, 1), is below `probability`, else `images`.

    Args:
        augmented, images: float tensors (B, ...).
        probability: float or scalar tensor.
    """
    chosen = ops.reshape(draw < probability, (-1,) + (1,) * (len(images.shape) - 1))
    return ops.where(chosen, augmented, images)


def color(images, draws):
    """Brightness +-0.5, saturation x [0, 2] about the pixel's mean, contrast x [0.5, 1.5]."""

    def per_image(name):
        return ops.reshape(ops.cast(draws[name], images.dtype), (-1, 1, 1, 1))

    images = images + (per_image("brightness") - 0.5)
    grey = ops.mean(images, axis=3, keepdims=True)
    images = (images - grey) * (per_image("saturation") * 2.0) + grey
    mean = ops.mean(images, axis=(1, 2, 3), keepdims=True)
    return (images - mean) * (per_image("contrast") + 0.5) + mean


def translation(images, draws):
    """Moves each image by whole pixels; what comes in from outside is zero.

    Row i of the result is row i + shift_rows of the image, columns alike.
    """
    images = _shift_rows(images, draws["shift_rows"])
    columns = _shift_rows(ops.transpose(images, (0, 2, 1, 3)), draws["shift_columns"])
    return ops.transpose(columns, (0, 2, 1, 3))


def _shift_rows(images, shift):
    # A product with a 0/1 matrix instead of a gather: its gradient is a product too, not a
    # scatter, which is slow on accelerators and has no deterministic kernel everywhere.
    rows = ops.arange(images.shape[1])
    source = ops.expand_dims(rows, 0) + ops.expand_dims(ops.cast(shift, rows.dtype), 1)  # (B, S)
    taken = ops.expand_dims(source, 2) == ops.reshape(rows, (1, 1, -1))  # (B, S out, S in)
    flat = ops.reshape(images, (-1, images.shape[1], images.shape[2] * images.shape[3]))
    return ops.reshape(ops.matmul(ops.cast(taken, images.dtype), flat), (-1, *images.shape[1:]))


def cutout(images, draws):
    """Sets a square of half the side to zero, clipped at the border."""
    window = int(images.shape[1] * CUTOUT + 0.5)

    def covered(draw, size):
        """(B, size), true where the window about each image's centre lies."""
        first = ops.expand_dims(ops.cast(draw, "int32"), 1) - window // 2
        last = ops.clip(first + window - 1, 0, size - 1)
        index = ops.expand_dims(ops.arange(size, dtype="int32"), 0)
        return ops.logical_and(index >= ops.clip(first, 0, size - 1), index <= last)

    rows = ops.expand_dims(covered(draws["cutout_row"], images.shape[1]), 2)
    columns = ops.expand_dims(covered(draws["cutout_column"], images.shape[2]), 1)
    kept = ops.logical_not(ops.logical_and(rows, columns))  # (B, S, S)
    return images * ops.cast(ops.expand_dims(kept, 3), images.dtype)
