"""A small convolutional classifier, whose features stand in where Inception's cannot be had."""

import keras
from keras import layers, ops

from ladagan_tf.models.checks import check
from ladagan_tf.models.pixels import scale_images

WIDTHS = (32, 64, 128, 128, 128, 128)
LAST_SIDE = 4  # pixels; strided convolutions halve the side down to this
RESOLUTIONS = tuple(2 * LAST_SIDE << i for i in range(len(WIDTHS)))


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Classifier(keras.Model):
    """Strided 3x3 convolutions down to 4x4, their maximum over space, a dense layer.

    It is ours, not a published network: what is measured with its features compares generators of
    one data set with each other, and with nothing else.

    Args:
        resolution: int, side of the images: 8, 16, ... 256.
        classes: sequence of class names, at least 2.
        about: dict of plain values, what it was trained on; kept in the saved file.

    Call arguments:
        images: uint8 or float tensor (B, resolution, resolution, 3) in [0, 255].
        training: bool, batch norm uses the batch's statistics.

    Returns:
        Dict of float32 "features" (B, F) and "logits" (B, len(classes)).

    Raises:
        ValueError: for another resolution or fewer than 2 classes.
    """

    def __init__(self, resolution, classes, about=None, **kwargs):
        kwargs.setdefault("name", "classifier")
        super().__init__(**kwargs)
        self.resolution = resolution
        self.classes = tuple(classes)
        self.about = dict(about or {})
        sides = ", ".join(map(str, RESOLUTIONS))
        accepted = f"resolution={resolution}: the classifier takes one of {sides}"
        check(resolution in RESOLUTIONS, accepted)
        stages = RESOLUTIONS.index(resolution) + 1
        check(len(self.classes) >= 2, f"classes={list(self.classes)}: give at least 2")
        self.dimension = WIDTHS[stages - 1]
        self.convs = [
            layers.Conv2D(width, 3, 2, "same", use_bias=False, name=f"conv_{i}")
            for i, width in enumerate(WIDTHS[:stages])
        ]
        self.norms = [layers.BatchNormalization(name=f"norm_{i}") for i in range(stages)]
        self.to_logits = layers.Dense(len(self.classes), name="to_logits")
        self.build((None, resolution, resolution, 3))

    def build(self, input_shape):
        if self.built:
            return
        side, channels = self.resolution, 3
        for conv, norm in zip(self.convs, self.norms, strict=True):
            conv.build((None, side, side, channels))
            side, channels = side // 2, conv.filters
            norm.build((None, side, side, channels))
        self.to_logits.build((None, channels))
        self.built = True

    def last_map(self, images, training=False):
        """What `call` takes the maximum of: (B, 4, 4, F)."""
        x = scale_images(images, self.compute_dtype)  # (B, S, S, 3)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = ops.relu(norm(conv(x), training=training))  # (B, S/2, S/2, W)
        return x

    def call(self, images, training=False):
        x = self.last_map(images, training)
        # The maximum, not the mean: what a shape is shows in one place (96 against 85 % right).
        features = ops.max(x, axis=(1, 2))  # (B, F)
        return {"features": features, "logits": self.to_logits(features)}

    def get_config(self):
        return {
            **super().get_config(),
            "resolution": self.resolution,
            "classes": self.classes,
            "about": self.about,
        }
