"""LadaGAN's two networks have the paper's sizes, and refuse sizes that do not fit."""

import dataclasses

import numpy as np
import pytest
from ladagan_networks import (
    EVERY_RESOLUTION,
    TINY,
)
from paper_sizes import DISCRIMINATOR, DISCRIMINATOR_WIDTHS, EVERY_ROW, ROWS

from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.lada.sizes import PRESETS

# ------------------------------------------------------------------------- the paper's sizes


def counts(network):
    trained = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    return network.count_params(), trained


@EVERY_ROW
def test_generator_has_the_parameters_of_the_official_code(row):
    with shapes_only():
        assert counts(Generator(**row.generator)) == (row.parameters, row.trained)


@EVERY_RESOLUTION
def test_discriminator_has_the_parameters_of_the_official_code(resolution):
    with shapes_only():
        network = Discriminator(resolution=resolution, widths=DISCRIMINATOR_WIDTHS[resolution])
    assert counts(network) == DISCRIMINATOR[resolution][:2]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_sizes_that_are_built_above_and_named_after_their_resolution(name):
    preset = PRESETS[name]
    generator = (preset.resolution, preset.widths, preset.decoder_widths)
    assert generator in [(r.resolution, r.widths, r.decoder_widths) for r in ROWS.values()]
    assert preset.discriminator_widths == DISCRIMINATOR_WIDTHS[preset.resolution]
    assert name.endswith(f"_{preset.resolution}")


def test_presets_of_published_configurations_are_the_published_sizes():
    narrow, wide = (1024, 256, 64), (1024, 512, 256)
    published = {
        "cifar10_32": (32, narrow, (), (128, 256)),
        "celeba_64": (64, narrow, (), (64, 128, 256)),
        "ffhq_128": (128, wide, (128, 64), (32, 64, 128, 256)),
    }
    assert published == {name: dataclasses.astuple(PRESETS[name]) for name in published}


def test_defaults_are_the_cifar10_preset():
    preset = PRESETS["cifar10_32"]
    with shapes_only():
        generator, discriminator = Generator(), Discriminator()
    assert (generator.resolution, generator.widths) == (preset.resolution, preset.widths)
    assert generator.decoder_widths == preset.decoder_widths
    assert discriminator.widths == preset.discriminator_widths


# --------------------------------------------------------------------------------- wrong sizes


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 48}, r"resolution=48 is not one of 32, 64, 128, 256"),
        ({"widths": (8, 8)}, r"widths=\[8, 8\]: give 3 positive integers"),
        ({"widths": (8, 8, 0)}, r"widths=\[8, 8, 0\]: give 3 positive integers"),
        ({"mlp_widths": (4,)}, r"mlp_widths=\[4\]: give 3 positive integers"),
        ({"num_heads": (2, 2)}, r"num_heads=\[2, 2\]: give 3 positive integers"),
        ({"num_heads": (2, 3, 2)}, r"num_heads=\[2, 3, 2\]: 3 does not divide 8 of widths"),
        ({"widths": (6, 8, 8)}, r"widths=\[6, 8, 8\]: 6 is not a multiple of 4"),
        ({"resolution": 128, "widths": (8, 8, 24)}, r"widths=.*128 needs a last.*multiple of 16"),
        ({"resolution": 64, "decoder_widths": (4, 4)}, r"decoder_widths=\[4, 4\]: give 1 posit"),
        ({"resolution": 256, "decoder_widths": (4,)}, r"decoder_widths=\[4\]: give 3 positive"),
        ({"decoder_widths": (4,)}, r"decoder_widths=\[4\]: give 0 .*resolution 32"),
        ({"score": "cosine"}, r"score='cosine' is not one of full, per_head"),
        ({"depths": (1, 0, 1)}, r"depths=\[1, 0, 1\]: give 3 positive integers"),
        ({"depths": (1, 101, 1)}, r"depths=\[1, 101, 1\]: give at most 100"),
        ({"conv_kernel": 4}, r"conv_kernel=4: give an odd integer from 1 to 31"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_generator_refuses_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        Generator(**{**TINY, **sizes})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 31}, r"resolution=31 is not one of 32, 64, 128, 256"),
        ({"resolution": 64, "widths": (4, 4)}, r"widths=\[4, 4\]: give 3 positive integers"),
        ({"widths": (4, 4, 4)}, r"widths=\[4, 4, 4\]: give 2 positive integers"),
        ({"widths": (4, 4), "out_widths": (4,)}, r"out_widths=\[4\]: give 2 positive integers"),
        ({"widths": (4, 6), "num_heads": 4}, r"num_heads=4 does not divide .*widths=\[4, 6\]"),
        ({"widths": (4, 4), "num_heads": 0}, r"num_heads=0 does not divide"),
        ({"widths": (4, 4), "score": "dot"}, r"score='dot' is not one of full, per_head"),
        ({"widths": (4, 4), "depth": 0}, r"depth=0: give a positive integer"),
        ({"widths": (4, 4), "depth": 2, "ladaformer": False}, r"depth=2 with ladaformer=False"),
        ({"widths": (4, 4), "conv_kernel": 33}, r"conv_kernel=33: give an odd integer"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_discriminator_refuses_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        Discriminator(**sizes)
