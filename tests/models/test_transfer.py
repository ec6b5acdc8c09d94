"""A network that begins with another one's weights, and blocks of D that are not trained."""

import re

import numpy as np
import pytest
from gat_networks import tiny_cat_discriminator as cat_discriminator
from gat_networks import tiny_discriminator as gat_discriminator
from gat_networks import tiny_generator as gat_generator
from ladagan_networks import number, tiny_discriminator, tiny_generator

from ladagan_tf.models.transfer import freeze, name_of, take_weights
from ladagan_tf.training import initial


def arrays(network):
    return {name_of(weight): number(weight) for weight in network.weights}


@pytest.mark.parametrize(
    ("source", "target", "new"),
    [
        (
            tiny_generator,
            lambda: tiny_generator(64, (4,), num_classes=3),
            "classes class_hidden decoder_64 to_rgb/kernel",
        ),
        (
            lambda: tiny_discriminator(64, num_classes=2),
            lambda: tiny_discriminator(num_classes=3),
            "down_32 classes",
        ),
        (gat_generator, lambda: gat_generator(num_classes=7), "mapping/classes mean_style"),
        (
            gat_discriminator,
            lambda: gat_discriminator(num_classes=7, latent_size=16),
            "classes/table positions",
        ),
    ],
)
def test_what_has_the_same_name_and_shape_is_taken_and_nothing_else_moves(
    randomised, source, target, new
):
    source, target = randomised(source()), target()
    theirs, before = arrays(source), arrays(target)
    done = take_weights(target, source)
    after = arrays(target)
    assert done.taken.keys() | done.new.keys() == after.keys() and done.fits
    for name, value in after.items():
        taken = name in theirs and theirs[name].shape == value.shape
        assert taken == (name in done.taken)
        np.testing.assert_array_equal(value, theirs[name] if taken else before[name], name)
    assert done.left_out.keys() == theirs.keys() - after.keys()
    is_new = {name for name in after if any(part in name for part in new.split())}
    assert done.new.keys() <= is_new
    values = sum(after[name].size for name in done.taken)
    assert done.share == values / sum(value.size for value in after.values())


@pytest.mark.parametrize(
    ("make", "names"),
    [
        (lambda: tiny_discriminator(64), ["from_rgb", "down_32", "down_16", "block_16"]),
        (lambda: tiny_discriminator(ladaformer=False), ["from_rgb", "down_16"]),
        (gat_discriminator, ["to_tokens", "block_0"]),
        (cat_discriminator, ["to_tokens", "block_0"]),
    ],
)
def test_the_first_blocks_of_d_are_frozen_from_the_image_on(make, names):
    for count in (1, len(names)):
        network = make()
        trained = len(network.trainable_weights)
        freeze(network, count)
        stages = {"positions_16": "block_16", "positions": "to_tokens", "cls": "to_tokens"}
        for weight in network.trainable_weights:
            layer = name_of(weight).partition("/")[0]
            layer = re.sub(r"^(positions|scale|cls)_\d$", "cls", layer)  # CAT's, a set per scale
            assert stages.get(layer, layer) not in names[:count]
        assert len(network.trainable_weights) == trained - len(network.frozen)
    assert list(network.stages)[: len(names)] == names
    for count in (-1, len(network.stages) + 1):
        with pytest.raises(ValueError, match=f"freeze_d={count}: give 0 to {len(network.stages)}"):
            freeze(network, count)


def test_what_weights_of_the_same_shape_mean_otherwise_is_told():
    source, target = tiny_generator(), tiny_generator(output_range="tanh")
    done = take_weights(target, source)
    assert not done.new and done.settings == {"output_range": ("tanh", "linear")}
    lines = initial.in_words({"generator": ("averaged", done)}, ["generator"])
    said = "generator: set otherwise than the averaged: output_range=tanh (linear there)"
    assert said in lines
    assert not take_weights(tiny_generator(), source).settings
