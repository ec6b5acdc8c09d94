"""The Inception network FID is measured with ("Inception-2015-12-05"), as data and one recursion.

It is an Inception v3 with peculiarities that change FID: TF1's bilinear resize, average pools that
do not count padding, a max pool in the last block, and 1008 logits. Sources: the graph used by
Heusel et al. (arXiv 1706.08500); block layout by Szegedy et al. (arXiv 1512.00567).
"""

from typing import NamedTuple

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.checks import tensor_problems

SIDE = 299
CLASSES = 1008
EPSILON = 1e-3
BATCH_NORM = ("weight", "bias", "running_mean", "running_var")
# sFID: channels of this stage's first convolution, mixed_6/conv in the graph of 2015.
SPATIAL_STAGE, SPATIAL_CHANNELS = "Mixed_6d", 7
# Stage -> the name of its spatial mean among the features.
MEANS_BEHIND = {"MaxPool_1": "64", "MaxPool_2": "192", "Mixed_6e": "768", "Mixed_7c": "2048"}


class Conv(NamedTuple):
    """A convolution without bias, its batch norm and a ReLU. `size`: (height, width)."""

    name: str
    filters: int
    size: tuple
    strides: int = 1
    padding: str = "same"


class Pool(NamedTuple):
    """A 3x3 pool; an average leaves padding out of the count."""

    apply: callable
    strides: int = 1
    padding: str = "same"


AVERAGE, MAX = Pool(ops.average_pool), Pool(ops.max_pool)
DOWN = Pool(ops.max_pool, 2, "valid")


def conv(name, filters, height=1, width=None):
    """A convolution `name` of stride 1 with so many `filters`, `height` x `width` or square."""
    return Conv(name, filters, (height, width or height))


def down(name, filters):
    """The 3x3 convolution that ends a branch of a block that halves the grid."""
    return Conv(name, filters, (3, 3), 2, "valid")


# In the tables below a list is a chain, a tuple is branches whose outputs are concatenated.


def block_35(pool_filters):
    """A block on the 35 x 35 grid."""
    return (
        conv("branch1x1", 64),
        [conv("branch5x5_1", 48), conv("branch5x5_2", 64, 5)],
        [conv("branch3x3dbl_1", 64), conv("branch3x3dbl_2", 96, 3), conv("branch3x3dbl_3", 96, 3)],
        [AVERAGE, conv("branch_pool", pool_filters)],
    )


def block_17(n):
    """A block on the 17 x 17 grid, `n` channels inside its chains."""
    return (
        conv("branch1x1", 192),
        [conv("branch7x7_1", n), conv("branch7x7_2", n, 1, 7), conv("branch7x7_3", 192, 7, 1)],
        [
            conv("branch7x7dbl_1", n),
            conv("branch7x7dbl_2", n, 7, 1),
            conv("branch7x7dbl_3", n, 1, 7),
            conv("branch7x7dbl_4", n, 7, 1),
            conv("branch7x7dbl_5", 192, 1, 7),
        ],
        [AVERAGE, conv("branch_pool", 192)],
    )


def block_8(pool):
    """A block on the 8 x 8 grid with this kind of pool."""

    def split(name):
        return conv(f"{name}a", 384, 1, 3), conv(f"{name}b", 384, 3, 1)

    return (
        conv("branch1x1", 320),
        [conv("branch3x3_1", 384), split("branch3x3_2")],
        [conv("branch3x3dbl_1", 448), conv("branch3x3dbl_2", 384, 3), split("branch3x3dbl_3")],
        [pool, conv("branch_pool", 192)],
    )


STAGES = {  # sides of the activations for a 299 x 299 image
    "Conv2d_1a_3x3": Conv("", 32, (3, 3), 2, "valid"),  # 149
    "Conv2d_2a_3x3": Conv("", 32, (3, 3), 1, "valid"),  # 147
    "Conv2d_2b_3x3": conv("", 64, 3),
    "MaxPool_1": DOWN,  # 73
    "Conv2d_3b_1x1": conv("", 80),
    "Conv2d_4a_3x3": Conv("", 192, (3, 3), 1, "valid"),  # 71
    "MaxPool_2": DOWN,  # 35
    "Mixed_5b": block_35(32),
    "Mixed_5c": block_35(64),
    "Mixed_5d": block_35(64),
    "Mixed_6a": (  # 17
        down("branch3x3", 384),
        [conv("branch3x3dbl_1", 64), conv("branch3x3dbl_2", 96, 3), down("branch3x3dbl_3", 96)],
        DOWN,
    ),
    "Mixed_6b": block_17(128),
    "Mixed_6c": block_17(160),
    "Mixed_6d": block_17(160),
    "Mixed_6e": block_17(192),
    "Mixed_7a": (  # 8
        [conv("branch3x3_1", 192), down("branch3x3_2", 320)],
        [
            conv("branch7x7x3_1", 192),
            conv("branch7x7x3_2", 192, 1, 7),
            conv("branch7x7x3_3", 192, 7, 1),
            down("branch7x7x3_4", 192),
        ],
        DOWN,
    ),
    "Mixed_7b": block_8(AVERAGE),
    "Mixed_7c": block_8(MAX),  # a slip of 2015 that every published FID contains
}


def module_name(stage, convolution):
    """The canonical (PyTorch) name of a convolution, e.g. "Mixed_5b.branch1x1"."""
    return f"{stage}.{convolution.name}" if convolution.name else stage


def resize_bilinear_tf1(images, height, width):
    """TF1's `resize_bilinear`: corners aligned at the top left only, no antialiasing.

    Output pixel i reads the source at i * in / out, without the half-pixel offset of every later
    resize; FID was defined with it, and half pixels move its features by 1e-2.

    Args:
        images: float tensor (B, H, W, C) with static H and W.
        height, width: ints, the output size.

    Returns:
        Tensor (B, height, width, C), the bits of `tf.compat.v1.image.resize_bilinear` in float32.
    """

    def resize(x, axis, size):
        source = x.shape[axis]
        # float32 throughout, as in TF's kernel: float64 positions would change the last bits.
        position = np.arange(size, dtype="float32") * (np.float32(source) / np.float32(size))
        low = np.floor(position)
        fraction = np.expand_dims(position - low, tuple(range(1, 4 - axis)))  # (size, 1, ..)
        low = low.astype("int32")
        a = ops.take(x, low, axis=axis)
        b = ops.take(x, np.minimum(low + 1, source - 1), axis=axis)
        return a + (b - a) * ops.cast(fraction, x.dtype)

    return resize(resize(images, 2, width), 1, height)


def fold_batch_norm(kernel, weight, bias, mean, variance):
    """Kernel (HWIO) and bias of the convolution that equals `kernel` (OIHW) and its batch norm.

    Computed in float64 and rounded once, which costs less accuracy than a batch norm in float32.

    Args:
        kernel: array (O, I, h, w) of the convolution.
        weight, bias, mean, variance: arrays (O,) of the batch norm.
    """
    with np.errstate(all="ignore"):  # the caller checks that the result is finite
        factor = weight.astype("float64") / np.sqrt(variance.astype("float64") + EPSILON)
        folded = kernel.transpose(2, 3, 1, 0) * factor
        return folded.astype("float32"), (bias - mean * factor).astype("float32")


class Inception(keras.Model):
    """FID's Inception: images of any size to the features that FID, KID and IS are made of.

    Inference only: every batch norm (eps 1e-3) is folded into its convolution when weights are
    loaded, so the network is convolution + bias + ReLU. Always float32, also under a global mixed
    policy; on a GPU the caller must turn TF32 off, which would cost three digits. All weights are
    zero until `load_tensors`.

    Call arguments:
        images: uint8, or float in [0, 255], tensor (B, H, W, 3) with static H and W.

    Returns:
        Dict of float32 tensors: spatial means "64", "192", "768", "2048" of shape (B, D);
        "spatial", what sFID is made of (Nash et al., arXiv 2103.03841, as ADM's evaluation has it):
        7 channels of the 17 x 17 grid, (B, 2023); and "logits_unbiased" (what the Inception Score
        was defined with) and "logits", (B, 1008).

    Raises:
        ValueError: if the images have not three channels.
    """

    def __init__(self, name="inception"):
        super().__init__(dtype="float32", name=name, trainable=False)
        self.convolutions = {}  # canonical name -> layer
        channels = 3
        for stage, spec in STAGES.items():
            channels = self._add(spec, stage, channels)
        self.head = keras.layers.Dense(CLASSES, kernel_initializer="zeros", dtype="float32")
        self.head.build((None, channels))
        self.built = True

    def _add(self, spec, stage, channels):
        """Builds the layers of `spec` for an input of `channels`; returns the output's channels."""
        if isinstance(spec, list):
            for step in spec:
                channels = self._add(step, stage, channels)
            return channels
        if isinstance(spec, Conv):
            name = module_name(stage, spec)
            layer = keras.layers.Conv2D(
                spec.filters,
                spec.size,
                strides=spec.strides,
                padding=spec.padding,
                activation="relu",
                kernel_initializer="zeros",
                dtype="float32",
                name=name.replace(".", "_"),
            )
            layer.build((None, None, None, channels))
            self.convolutions[name] = layer
            return spec.filters
        if isinstance(spec, Pool):
            return channels
        return sum(self._add(branch, stage, channels) for branch in spec)

    def _apply(self, spec, stage, x):
        if isinstance(spec, list):
            for step in spec:
                x = self._apply(step, stage, x)
            return x
        if isinstance(spec, Pool):
            return spec.apply(x, 3, strides=spec.strides, padding=spec.padding)
        if isinstance(spec, Conv):
            return self.convolutions[module_name(stage, spec)](x)
        return ops.concatenate([self._apply(branch, stage, x) for branch in spec], axis=-1)

    def stages(self, images):
        """Yields (name, float32 activation (B, h, w, C)) of the 18 stages, in order."""
        if len(images.shape) != 4 or images.shape[-1] != 3:
            raise ValueError(f"images must be (B, H, W, 3), got {tuple(images.shape)}")
        x = resize_bilinear_tf1(ops.cast(images, "float32"), SIDE, SIDE)
        x = (x - 128.0) * 0.0078125  # (B, 299, 299, 3) in [-1, 1)
        for stage, spec in STAGES.items():
            x = self._apply(spec, stage, x)
            yield stage, x

    def call(self, images):
        features = {}
        for stage, x in self.stages(images):
            if stage in MEANS_BEHIND:
                features[MEANS_BEHIND[stage]] = ops.mean(x, axis=(1, 2))  # (B, D)
            if stage == SPATIAL_STAGE:
                x = x[..., :SPATIAL_CHANNELS]  # (B, 17, 17, 7)
                features["spatial"] = ops.reshape(x, (-1, np.prod(x.shape[1:])))
        unbiased = ops.matmul(features["2048"], self.head.kernel)  # (B, 1008)
        return {**features, "logits_unbiased": unbiased, "logits": unbiased + self.head.bias}

    def tensor_shapes(self):
        """Dict: canonical name -> shape (PyTorch layout: OIHW, OI) of the 472 tensors to load."""
        shapes = {"fc.weight": self.head.kernel.shape[::-1], "fc.bias": self.head.bias.shape}
        for name, layer in self.convolutions.items():
            height, width, inputs, outputs = layer.kernel.shape
            shapes[f"{name}.conv.weight"] = (outputs, inputs, height, width)
            shapes.update({f"{name}.bn.{part}": (outputs,) for part in BATCH_NORM})
        return {name: tuple(shape) for name, shape in shapes.items()}

    def load_tensors(self, tensors):
        """Takes the published weights, folding every batch norm.

        Args:
            tensors: dict, canonical name (e.g. "Mixed_5b.branch1x1.conv.weight") -> float array
                of the shape in `tensor_shapes()`. `*.num_batches_tracked` is ignored.

        Raises:
            ValueError: listing the missing, the misshapen and the unknown names, or naming a
                convolution whose weights are not finite.
        """
        given = {n: t for n, t in tensors.items() if not n.endswith(".num_batches_tracked")}
        if problems := tensor_problems(given, self.tensor_shapes()):
            raise ValueError(f"not the tensors of FID's Inception: {problems}")
        folded = {self.head: (given["fc.weight"].T.astype("float32"), given["fc.bias"])}
        for name, layer in self.convolutions.items():
            norm = [given[f"{name}.bn.{part}"] for part in BATCH_NORM]
            folded[layer] = fold_batch_norm(given[f"{name}.conv.weight"], *norm)
        for layer, (kernel, bias) in folded.items():
            if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                raise ValueError(f"the weights of {layer.name} are not finite")
            layer.kernel.assign(kernel)
            layer.bias.assign(bias)
