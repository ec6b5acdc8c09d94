"""A flow's multiply-adds are those of the traced graph, of an evaluation times their number."""

import numpy as np
import pytest
from traced_products import multiply_adds

from ladagan_tf.cost import sample
from ladagan_tf.cost.flow import (
    in_words,
    memory_estimate,
    report,
    training_multiply_adds,
    velocity_multiply_adds,
)
from ladagan_tf.models.flow.networks import FlowGenerator

SMALL = {"latent_size": 8, "channels": 3, "width": 24, "depth": 3, "num_heads": 3, "fused": False}


@pytest.mark.parametrize(
    "changes",
    [{"patch": 2, "num_classes": 5}, {"patch": 1, "modulation": "scale_gate"}],
    ids=["conditional", "unconditional"],
)
def test_multiply_adds_are_those_of_the_traced_graph(changes):
    generator = FlowGenerator(**SMALL, **changes, sampler="heun", steps=3)
    x, t, labels = np.zeros((1, 8, 8, 3), "float32"), np.zeros(1, "float32"), np.zeros(1, "int32")
    given = (labels,) if generator.num_classes else ()
    one = velocity_multiply_adds(generator)
    assert multiply_adds(generator.velocity, x, t, *given) == one
    assert training_multiply_adds(generator) == 3 * one
    assert sample.multiply_adds(generator) == 6 * one
    generator.sample_by("euler", 1)
    assert sample.multiply_adds(generator) == one
    assert in_words(generator).startswith("euler steps 1, so evaluations of the velocity 1, each")


def test_a_step_keeps_the_numbers_of_the_blocks_of_one_pass():
    generator = FlowGenerator(**SMALL, patch=2)
    memory = memory_estimate(generator, batch_size=4, micro_batches=2, bytes_per_activation=2)
    assert memory["activations"] == 2 * 2 * 3 * 16 * (12 * 24 + 2 * 3 * 16 + 3 * 64)
    assert memory["weights"] == memory["ema"] == 4 * generator.count_params()
    assert "a step: 0.00" in report(generator, batch_size=4)
