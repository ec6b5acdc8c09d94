"""LadaGAN's two networks at a tiny size with every head, and what they take."""

import keras
import pytest
from paper_sizes import DISCRIMINATOR_WIDTHS

from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator

Z = 6
# Tiny token widths: the last is 64 so that a patch head reaches 256 pixels.
TINY = {"noise_dim": Z, "widths": (8, 8, 64), "num_heads": (2, 2, 2), "mlp_widths": (4, 4, 4)}
HEADS = {
    "32": (32, ()),
    "64_patch": (64, ()),
    "256_patch": (256, ()),
    "64_conv": (64, (4,)),
    "256_conv": (256, (4, 3, 2)),
}
EVERY_HEAD = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
EVERY_RESOLUTION = pytest.mark.parametrize("resolution", [32, 64, 128, 256])


def tiny_generator(resolution=32, decoder_widths=(), **kwargs):
    sizes = {**TINY, "resolution": resolution, "decoder_widths": decoder_widths, **kwargs}
    return Generator(**sizes)


def tiny_discriminator(resolution=32, **kwargs):
    count = len(DISCRIMINATOR_WIDTHS[resolution])
    sizes = {"widths": (4,) * count, "out_widths": (6, 5), "num_heads": 2, "mlp_width": 3}
    return Discriminator(resolution=resolution, **{**sizes, **kwargs})


def number(tensor):
    return keras.ops.convert_to_numpy(tensor)


def latents(rng, count=2):
    return rng.standard_normal((count, Z)).astype("float32")


def pictures(rng, resolution, count=2):
    return rng.uniform(-1, 1, (count, resolution, resolution, 3)).astype("float32")
