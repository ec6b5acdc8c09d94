"""GAT's two networks have the paper's sizes, and refuse sizes that do not fit."""

import dataclasses

import numpy as np
import pytest
from gat_networks import LABELS, tiny_discriminator, tiny_generator
from gat_paper_sizes import (
    DEAD_EMBEDDING,
    DISCRIMINATOR,
    GENERATOR,
    TABLE,
    WITHOUT_PROJECTOR,
    sizes,
)

from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.gat.layers import swiglu_width
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.models.gat.sizes import SIZES, evenly_spaced_taps

# ------------------------------------------------------------------------- the paper's sizes


def block_parameters(width, num_heads):
    inner = swiglu_width(width)
    attention = 4 * width**2 + 4 * width + 2 * width // num_heads
    return attention + 3 * width * inner + 2 * inner + width


def trained_in_generator(name, patch):
    """The spec's closed form, less the table of positions and the dead patch embedding."""
    width, depth, num_heads = dataclasses.astuple(SIZES[name])
    mapping = 64 * 1000 + (128 * width + width) + (width**2 + width)
    block = block_parameters(width, num_heads) + 4 * width**2 + 4 * width
    head = (width + 1) * 4 * patch**2 + width**2 + width
    return mapping + depth * block + 4 * head


def trained_in_discriminator(name, patch, projector=True):
    width, depth, num_heads = dataclasses.astuple(SIZES[name])
    classes = 2048 * 1000 + 2 * (2048**2 + 2048)
    block = block_parameters(width, num_heads) + 4 * width
    head = width + 2048 * width + 2048
    total = width + (16 * patch**2 + 1) * width + classes + depth * block + head
    return total + projector * ((width + 1) * 2048 + 2049 * 2048 + 2049 * 768)


def trained(network):
    return sum(int(np.prod(w.shape)) for w in network.trainable_variables)


def test_the_closed_forms_are_the_parameters_of_the_official_code():
    for (name, patch), official in GENERATOR.items():
        width = SIZES[name].width
        table, dead = (32 // patch) ** 2 * width, 4 * patch**2 * width + width
        assert trained_in_generator(name, patch) + table + dead == official
        if patch == 2:
            assert (table, dead) == (TABLE[name], DEAD_EMBEDDING[name])
    for (name, patch), official in DISCRIMINATOR.items():
        table = (32 // patch) ** 2 * SIZES[name].width
        assert trained_in_discriminator(name, patch) + table == official
    for name, official in WITHOUT_PROJECTOR.items():
        table = TABLE[name]
        assert trained_in_discriminator(name, 2, projector=False) + table == official


# Every patch, and the smallest and the largest size: the closed forms above tell of the rest.
BUILT = [("S", 2), ("S", 4), ("S", 8), ("XL", 2)]


@pytest.mark.parametrize(("name", "patch"), BUILT)
def test_networks_have_the_parameters_of_the_closed_forms(name, patch):
    with shapes_only():
        generator = GatGenerator(**sizes(name, patch))
        discriminator = GatDiscriminator(**sizes(name, patch))
    table = (32 // patch) ** 2 * generator.width
    assert trained(generator) == trained_in_generator(name, patch)
    assert generator.count_params() == trained(generator) + table + 1000 * generator.width
    assert trained(discriminator) == trained_in_discriminator(name, patch)
    assert discriminator.count_params() == trained(discriminator) + table


def test_a_discriminator_without_projector_has_those_of_its_closed_form():
    with shapes_only():
        discriminator = GatDiscriminator(**sizes("S", 2, teacher_dim=None))
    assert trained(discriminator) == trained_in_discriminator("S", 2, projector=False)


def test_counting_shapes_is_counting_weights():
    with shapes_only():
        networks = [tiny_generator(), tiny_discriminator()]
    real = [tiny_generator(), tiny_discriminator()]
    assert [n.count_params() for n in networks] == [n.count_params() for n in real]


def test_taps_of_the_sizes_are_the_official_ones():
    taps = {name: evenly_spaced_taps(size.depth, 4) for name, size in SIZES.items()}
    third, sixth = (2, 5, 8, 11), (5, 11, 17, 23)
    ours = {"S": third, "B": third, "L": sixth, "XL": (6, 13, 20, 27)}
    assert taps == ours | {"M": sixth, "H": (7, 15, 23, 31)}
    assert tiny_generator(depth=4).taps == evenly_spaced_taps(4, 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_size": 12, "patch": 4, "channels": 16},
        {"patch": 1, "depth": 2, "levels": 1},
        {"depth": 4, "levels": 3, "taps": (0, 1, 3)},
    ],
)
def test_shapes_follow_the_sizes(rng, z, changes):
    generator = tiny_generator(**changes)
    changes.pop("taps", None)
    discriminator = tiny_discriminator(**changes)
    outputs = generator(z, LABELS, return_levels=True)
    side = generator.resolution
    shape = (3, side, side, generator.channels)
    assert [o.shape for o in outputs] == [shape] * generator.levels
    assert generator.compute_output_shape(z.shape) == shape
    logits, cls, patches = discriminator(outputs, LABELS, return_features=True)
    assert logits.shape == discriminator.compute_output_shape(shape) == (3, 1)
    assert cls.shape == (3, 5) and patches.shape == (3, discriminator.grid**2, 5)


# ------------------------------------------------------------------------------------- errors

BOTH = [
    ({"patch": 3}, "patch=3 does not divide the latent_size 8"),
    ({"patch": 0}, "patch=0: give a positive integer"),
    ({"width": 18}, "width=18 is not a multiple of 4"),
    ({"num_heads": 3}, "num_heads=3 does not divide the width 16"),
    ({"num_heads": 8}, "num_heads=8 gives heads of 2 channels"),
    ({"num_classes": 0}, "num_classes=0: give a positive integer"),
    ({"depth": 0}, "depth=0: give a positive"),
    ({"channels": 1.5}, "channels=1.5: give a positive"),
]


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
@pytest.mark.parametrize(("changes", "message"), BOTH)
def test_sizes_that_do_not_fit_are_refused(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 5}, "depth=5 is not a multiple of levels=2"),
        ({"levels": 0}, "levels=0: give a positive integer"),
        ({"taps": (1,)}, r"taps=\[1\]: give levels=2 rising block indices, the last 1"),
        ({"depth": 4, "levels": 4, "taps": (0, 2, 1, 3)}, "rising block indices"),
        ({"depth": 3, "taps": (0, 1)}, r"the last 2 \(later blocks would be unused\)"),
        ({"noise_dim": -1}, "noise_dim=-1: give a positive integer"),
    ],
)
def test_generator_refuses_levels_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_generator(**changes)


@pytest.mark.parametrize("field", ["class_dim", "projector_dim", "teacher_dim"])
def test_discriminator_refuses_heads_that_do_not_fit(field):
    with pytest.raises(ValueError, match=f"{field}=0: give a positive integer"):
        tiny_discriminator(**{field: 0})
