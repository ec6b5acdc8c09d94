"""DINOv2 (Oquab et al. 2023) as a frozen network: uint8 images to one vector and a grid of them."""

import numpy as np
from keras import ops

from ladagan_tf.models.checks import check
from ladagan_tf.models.features.bicubic import bicubic_matrix, resize

SIDE = 224  # pixels of what the network sees: 16 x 16 patches of 14
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# The published network adds 0.1 to the number of patches when it resizes its positions.
OFFSET = 0.1


def prepared(images, antialias=False):
    """Images scaled, in units of ImageNet's deviation, and bicubic at 224 px.

    Args:
        images: uint8 or float tensor (B, S, S, 3) in [0, 255].
        antialias: bool, see `bicubic_matrix`; GAT's teacher does not.

    Returns:
        float32 tensor (B, 224, 224, 3); 0 is ImageNet's mean colour.
    """
    mean, deviation = (ops.convert_to_tensor(v, "float32") for v in (IMAGENET_MEAN, IMAGENET_STD))
    x = (ops.cast(images, "float32") / 255.0 - mean) / deviation
    return resize(x, SIDE, antialias)


class DinoV2:
    """A KerasHub `DINOV2Backbone` with the input and the positions of the PyTorch original.

    The learned positions, 37 x 37 as published, are resized anew. KerasHub does it with a = -0.5
    and without antialiasing; the published code with a = -0.75 and an offset; the official code
    of GAT, by timm, with a = -0.5 and antialiased. KerasHub would resize them back when it saves.

    Args:
        backbone: keras_hub.models.DINOV2Backbone in float32 for 224 px images, with or without
            registers.
        antialias_positions: bool, as for GAT's teacher; else as in the published network.
        antialias_images: bool, for images that are larger than the network's.
        dtype: dtype policy that the branches compute in: convolution, attention and MLP. Tokens,
            norms and scales stay float32, as under the autocast of the official code of GAT.

    Attributes:
        side: int, pixels of its input.
        features: int, F.
        grid: int, g; there are g g patches.

    Raises:
        ValueError: if the backbone is for other images.
    """

    def __init__(
        self, backbone, antialias_positions=False, antialias_images=False, dtype="float32"
    ):
        shape = tuple(backbone.image_shape)
        check(shape == (SIDE, SIDE, 3), f"image_shape={shape}: give {(SIDE, SIDE, 3)}")
        self.backbone = backbone
        self.side = SIDE
        self.features = backbone.hidden_dim
        self.grid = SIDE // backbone.patch_size
        self._antialias_images = antialias_images
        self._resize_positions(antialias_positions)
        backbone.trainable = False
        if dtype != "float32":
            self._compute_branches_in(dtype)

    def _compute_branches_in(self, dtype):
        blocks = self.backbone.encoder.layers
        branches = [branch for block in blocks for branch in (block.attention, block.mlp)]
        for branch in (self.backbone.embeddings.patch_embeddings, *branches):
            for layer in branch._flatten_layers():
                layer.dtype_policy = dtype

    def _resize_positions(self, antialias):
        learned = ops.convert_to_numpy(self.backbone.embeddings.position_embeddings)
        learned = learned.astype("float64")
        old = round((learned.shape[1] - 1) ** 0.5)
        grid = learned[0, 1:].reshape(old, old, -1)
        if old != self.grid:
            step = old / (self.grid if antialias else self.grid + OFFSET)
            matrix = bicubic_matrix(old, self.grid, antialias, step)
            grid = np.einsum("ih,jw,hwf->ijf", matrix, matrix, grid, optimize=True)
        patches = grid.reshape(1, self.grid**2, -1)
        positions = np.concatenate([learned[:, :1], patches], axis=1)
        self.backbone.embeddings.interpolated_position_embeddings.assign(positions)

    def prepared(self, images):
        """What the network takes, see `prepared`."""
        return prepared(images, self._antialias_images)

    def __call__(self, x):
        """The normalised tokens of the last block.

        Args:
            x: float tensor (B, 224, 224, 3), as `prepared` gives it.

        Returns:
            Class token (B, F), and patch tokens (B, g g, F) row by row; registers are left out.
        """
        tokens = self.backbone({"images": x}, training=False)  # (B, 1 + registers + g g, F)
        return tokens[:, 0], tokens[:, 1 + self.backbone.num_register_tokens :]
