"""GAT's multiply-adds are those of the official networks, and of the traced graph."""

import functools

import numpy as np
import pytest
from gat_paper_sizes import (
    CAT_DISCRIMINATOR_GIGA,
    CAT_GENERATOR_GIGA,
    CAT_STEP_GIGA,
    DISCRIMINATOR_GIGA,
    GENERATOR_GIGA,
    STEP_GIGA,
    sizes,
)
from traced_products import multiply_adds

from ladagan_tf.cost.gat import (
    discriminator_multiply_adds,
    generator_multiply_adds,
    memory_estimate,
    training_multiply_adds,
)
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.models.gat.scales import CatDiscriminator


@pytest.mark.parametrize(("name", "patch", "latent_size"), GENERATOR_GIGA)
def test_generator_multiply_adds_are_the_official_ones(name, patch, latent_size):
    with shapes_only():
        generator = GatGenerator(**sizes(name, patch, latent_size=latent_size))
    expected = GENERATOR_GIGA[name, patch, latent_size]  # of two decimals
    assert generator_multiply_adds(generator) / 1e9 == pytest.approx(expected, rel=0.01, abs=0.005)


@pytest.mark.parametrize("name", DISCRIMINATOR_GIGA)
def test_discriminator_and_step_multiply_adds_are_the_official_ones(name):
    with shapes_only():
        generator, discriminator = (
            GatGenerator(**sizes(name, 2)),
            GatDiscriminator(**sizes(name, 2)),
        )
    giga = discriminator_multiply_adds(discriminator) / 1e9
    assert giga == pytest.approx(DISCRIMINATOR_GIGA[name], rel=0.01)
    giga = training_multiply_adds(generator, discriminator) / 1e9
    assert giga == pytest.approx(STEP_GIGA[name], rel=0.01)


def test_multiply_adds_of_cat_are_the_published_ones():
    """With penalties at a quarter of the batch a step is 4 passes of G and 11.5 of D."""
    with shapes_only():
        discriminator = CatDiscriminator()
        counted = discriminator_multiply_adds(discriminator, features=False)
        assert counted / 1e9 == pytest.approx(CAT_DISCRIMINATOR_GIGA, rel=0.01)
        for name, giga in CAT_GENERATOR_GIGA.items():
            generator = GatGenerator(**sizes(name, 2), modulation="shift_scale_gate")
            assert generator_multiply_adds(generator) / 1e9 == pytest.approx(giga, rel=0.01)
            step = training_multiply_adds(generator, discriminator, share=0.25) / 1e9
            assert step == pytest.approx(CAT_STEP_GIGA.get(name, step), rel=0.01)


@pytest.mark.parametrize(("attention", "patch"), [("dot_product", 2), ("additive", 1)])
def test_multiply_adds_are_those_of_the_traced_graph(attention, patch):
    small = {"latent_size": 8, "channels": 3, "patch": patch, "width": 24, "depth": 2}
    small |= {"num_heads": 3, "num_classes": 5, "levels": 2, "fused": False, "attention": attention}
    generator = GatGenerator(**small, noise_dim=6)
    discriminator = GatDiscriminator(**small, class_dim=10, projector_dim=7, teacher_dim=9)
    z, labels = np.zeros((1, 6), "float32"), np.zeros(1, "int32")
    levels = np.zeros((1, 8, 8, 6), "float32")
    assert multiply_adds(generator, z, labels) == generator_multiply_adds(generator)
    for features in (True, False):
        judge = functools.partial(discriminator, return_features=features)
        counted = multiply_adds(judge, levels, labels)
        assert counted == discriminator_multiply_adds(discriminator, features)


def test_multiply_adds_of_cat_are_those_of_the_traced_graph():
    small = {"latent_size": 8, "channels": 3, "width": 24, "depth": 2, "num_heads": 3}
    small |= {"num_classes": 5, "levels": 2, "fused": False}
    generator = GatGenerator(**small, noise_dim=6, modulation="shift_scale_gate")
    discriminator = CatDiscriminator(**small, class_dim=10, projector_dim=7, teacher_dim=9)
    z, labels = np.zeros((1, 6), "float32"), np.zeros(1, "int32")
    scales = [np.zeros((1, side, side, 3), "float32") for side in (4, 8)]
    assert multiply_adds(generator, z, labels) == generator_multiply_adds(generator)
    judge = functools.partial(discriminator, return_features=True)
    assert multiply_adds(judge, scales, labels) == discriminator_multiply_adds(discriminator)


def test_memory_is_that_of_ds_four_passes_and_remat_keeps_only_the_blocks_inputs():
    found = []
    for remat in (False, True):
        with shapes_only():
            g = GatGenerator(**sizes("S", 2), remat=remat)
            d = GatDiscriminator(**sizes("S", 2), remat=remat)
        found.append(memory_estimate(g, d, batch_size=8, micro_batches=2, bytes_per_activation=2))
    block = 257 * (12 * 384 + 2 * 6 * 257 + 3 * 1024)  # numbers kept of one block, per sample
    four = 4 * 4 * 4  # samples in flight, passes, bytes
    assert found[0]["activations"] == four * 12 * block
    assert found[1]["activations"] == four * (12 * 257 * 384 + block)
    assert found[0]["weights"] == found[1]["weights"] == 4 * (29_738_816 + 39_212_928)
    assert found[0]["total"] == sum(v for k, v in found[0].items() if k != "total")


def test_additive_attention_keeps_the_same_of_every_token():
    sized = {**sizes("S", 1), "latent_size": 128, "attention": "additive"}
    with shapes_only():
        g, d = GatGenerator(**sized), GatDiscriminator(**sized)
    block = 16_385 * (13 * 384 + 2 * 6 + 3 * 1024)
    assert memory_estimate(g, d, batch_size=1)["activations"] == 4 * 4 * 12 * block
