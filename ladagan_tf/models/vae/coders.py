"""The two halves of the SD-1.x autoencoder (arXiv 2112.10752): encoder and decoder, by level."""

import keras
from keras import ops

from ladagan_tf.models.vae.layers import (
    Downsample,
    GroupNorm,
    ResnetBlock,
    SpatialAttention,
    Upsample,
    conv,
)


def last(stages):
    """The activation of the last stage."""
    *_, (_, x) = stages
    return x


@keras.saving.register_keras_serializable(package="ladagan_tf")
class Level(keras.layers.Layer):
    """Resnets of one resolution and, but for the last level, the step to the next.

    Args:
        filters: int, channels of the output.
        resnets: int, how many.
        resample: "down", "up" or None.
        groups: int, of the group norms.

    Call arguments:
        x: float tensor (B, H, W, C).

    Returns:
        Float tensor (B, h, w, filters) with h = H/2, 2H or H.
    """

    def __init__(self, filters, resnets, resample=None, groups=32, **kwargs):
        super().__init__(**kwargs)
        self.filters = filters
        self.num_resnets = resnets
        self.resample = resample
        self.groups = groups

    def build(self, x_shape):
        policy, shape = self.dtype_policy, x_shape
        self.resnets = []
        for i in range(self.num_resnets):
            resnet = ResnetBlock(self.filters, self.groups, dtype=policy, name=f"resnets.{i}")
            resnet.build(shape)
            self.resnets.append(resnet)
            shape = (*shape[:-1], self.filters)
        self.resampler = None
        if self.resample:
            kind, name = {
                "down": (Downsample, "downsamplers.0"),
                "up": (Upsample, "upsamplers.0"),
            }[self.resample]
            self.resampler = kind(dtype=policy, name=name)
            self.resampler.build(shape)

    def call(self, x):
        for resnet in self.resnets:
            x = resnet(x)  # (B, H, W, F)
        return self.resampler(x) if self.resampler else x  # (B, h, w, F)

    def compute_output_shape(self, x_shape):
        shape = (*x_shape[:-1], self.filters)
        return self.resampler.compute_output_shape(shape) if self.resampler else shape

    def get_config(self):
        return {
            **super().get_config(),
            "filters": self.filters,
            "resnets": self.num_resnets,
            "resample": self.resample,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable(package="ladagan_tf")
class MidBlock(keras.layers.Layer):
    """Resnet, attention, resnet at the lowest resolution: (B, H, W, C) -> the same shape."""

    def __init__(self, groups=32, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def build(self, x_shape):
        policy, width = self.dtype_policy, x_shape[-1]
        self.first = ResnetBlock(width, self.groups, dtype=policy, name="resnets.0")
        self.attention = SpatialAttention(self.groups, dtype=policy, name="attentions.0")
        self.last = ResnetBlock(width, self.groups, dtype=policy, name="resnets.1")
        for layer in (self.first, self.attention, self.last):
            layer.build(x_shape)

    def stages(self, x):
        x = self.attention(self.first(x))  # (B, H, W, C)
        yield "mid_block.attentions.0", x
        yield "mid_block", self.last(x)  # (B, H, W, C)

    def call(self, x):
        return last(self.stages(x))  # (B, H, W, C)

    def compute_output_shape(self, x_shape):
        return tuple(x_shape)

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


class Encoder(keras.layers.Layer):
    """Images (B, H, W, 3) in [-1, 1] to (B, h, w, 2C), before the quant convolution."""

    def __init__(self, widths, resnets, latent_channels, groups, **kwargs):
        super().__init__(**kwargs)
        self.widths, self.resnets = widths, resnets
        self.latent_channels, self.groups = latent_channels, groups

    def build(self, x_shape):
        policy, groups = self.dtype_policy, self.groups
        self.conv_in = conv(self.widths[0], 3, policy, "conv_in")
        self.conv_in.build(x_shape)
        self.levels, shape = [], (None, None, None, self.widths[0])
        for i, width in enumerate(self.widths):
            resample = "down" if i + 1 < len(self.widths) else None
            level = Level(
                width, self.resnets, resample, groups, dtype=policy, name=f"down_blocks.{i}"
            )
            level.build(shape)
            self.levels.append(level)
            shape = (None, None, None, width)
        self.mid = MidBlock(groups, dtype=policy, name="mid_block")
        self.norm_out = GroupNorm(groups, dtype=policy, name="conv_norm_out")
        self.conv_out = conv(2 * self.latent_channels, 3, policy, "conv_out")
        for layer in (self.mid, self.norm_out, self.conv_out):
            layer.build(shape)

    def stages(self, x):
        """Yields (name, activation) of the stages, in order."""
        x = self.conv_in(x)  # (B, H, W, W0)
        yield "conv_in", x
        for level in self.levels:
            x = level(x)  # (B, H/2, W/2, Wi)
            yield level.name, x
        for name, h in self.mid.stages(x):  # (B, h, w, Wn)
            yield name, h
        yield "conv_out", self.conv_out(ops.silu(self.norm_out(h)))  # (B, h, w, 2C)

    def call(self, x):
        return last(self.stages(x))  # (B, h, w, 2C)


class Decoder(keras.layers.Layer):
    """Latents (B, h, w, C), after the post-quant convolution, to images (B, H, W, 3)."""

    def __init__(self, widths, resnets, groups, **kwargs):
        super().__init__(**kwargs)
        self.widths, self.resnets, self.groups = widths, resnets, groups

    def build(self, z_shape):
        policy, groups = self.dtype_policy, self.groups
        shape = (None, None, None, self.widths[-1])
        self.conv_in = conv(shape[-1], 3, policy, "conv_in")
        self.conv_in.build(z_shape)
        self.mid = MidBlock(groups, dtype=policy, name="mid_block")
        self.mid.build(shape)
        self.levels = []
        for i, width in enumerate(reversed(self.widths)):
            resample = "up" if i + 1 < len(self.widths) else None
            level = Level(
                width, self.resnets + 1, resample, groups, dtype=policy, name=f"up_blocks.{i}"
            )
            level.build(shape)
            self.levels.append(level)
            shape = (None, None, None, width)
        self.norm_out = GroupNorm(groups, dtype=policy, name="conv_norm_out")
        self.conv_out = conv(3, 3, policy, "conv_out")
        for layer in (self.norm_out, self.conv_out):
            layer.build(shape)

    def stages(self, z):
        """Yields (name, activation) of the stages, in order."""
        x = self.conv_in(z)  # (B, h, w, Wn)
        yield "conv_in", x
        for name, h in self.mid.stages(x):  # (B, h, w, Wn)
            yield name, h
        for level in self.levels:
            h = level(h)  # (B, 2h, 2w, Wi)
            yield level.name, h
        yield "conv_out", self.conv_out(ops.silu(self.norm_out(h)))  # (B, H, W, 3)

    def call(self, z):
        return last(self.stages(z))  # (B, H, W, 3)
