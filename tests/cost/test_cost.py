"""Costs are those of the official networks (spec: nine configurations), in multiply-adds."""

import functools

import keras
import numpy as np
import pytest
from paper_sizes import DISCRIMINATOR, EVERY_ROW
from traced_products import multiply_adds

from ladagan_tf.cost.gat import GRAPHS as GAT_GRAPHS
from ladagan_tf.cost.lada import (
    GRAPHS,
    discriminator_activations,
    discriminator_multiply_adds,
    generator_activations,
    generator_multiply_adds,
    memory_estimate,
    of_process,
    parameter_counts,
    training_multiply_adds,
)
from ladagan_tf.models.blank import shapes_only
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator


@EVERY_ROW
def test_multiply_adds_and_parameters_are_those_of_the_official_code(row):
    with shapes_only():
        generator, discriminator = Generator(**row.generator), Discriminator(**row.discriminator)
    parameters, trained, giga = DISCRIMINATOR[row.resolution]
    assert generator_multiply_adds(generator) / 1e9 == pytest.approx(
        row.giga_multiply_adds, rel=0.01
    )
    assert discriminator_multiply_adds(discriminator) / 1e9 == pytest.approx(giga, rel=0.01)
    assert parameter_counts(generator) == (row.parameters, row.trained)
    assert parameter_counts(discriminator) == (parameters, trained)


@functools.cache
def tiny(score="full"):
    generator = Generator(
        resolution=64,
        noise_dim=6,
        widths=(16, 16, 8),
        num_heads=(2, 2, 2),
        mlp_widths=(12, 12, 12),
        decoder_widths=(5,),
        score=score,
    )
    discriminator = Discriminator(
        resolution=64,
        widths=(4, 6, 8),
        out_widths=(7, 9),
        num_heads=2,
        mlp_width=10,
        score=score,
    )
    return generator, discriminator


@pytest.mark.parametrize("score", ["full", "per_head"])
def test_multiply_adds_are_half_of_the_operations_of_the_traced_graph(score):
    generator, discriminator = tiny(score)
    # The paper's formula per head is an elementwise product and a sum, not a matrix product.
    in_sums = sum(n * d for n, d in ((64, 16), (256, 16), (1024, 8))) if score != "full" else 0
    assert generator_multiply_adds(generator) == multiply_adds(generator, (1, 6)) + in_sums
    in_sums = 256 * 8 if score != "full" else 0
    traced = multiply_adds(discriminator, (1, 64, 64, 3))
    assert discriminator_multiply_adds(discriminator) == traced + in_sums


@pytest.mark.parametrize(
    ("modulation", "head"), [("sln", "projection"), ("vitgan_sln", "pooled"), ("sln", "pure")]
)
def test_multiply_adds_of_classes_are_those_of_the_traced_graph(modulation, head):
    generator = Generator(
        32, 6, (16, 16, 8), (2, 2, 2), (4, 4, 4), modulation=modulation, num_classes=5,
        class_tokens=modulation == "sln",
    )  # fmt: skip
    discriminator = Discriminator(
        32, (4, 8), (7, 9), 2, 10, num_classes=5, class_head=head, class_dim=3
    )
    labels = np.zeros(1, np.int32)
    traced = multiply_adds(lambda z: generator(z, labels), (1, 6))
    assert generator_multiply_adds(generator) == traced
    traced = multiply_adds(lambda x: discriminator(x, labels), (1, 32, 32, 3))
    assert discriminator_multiply_adds(discriminator) == traced


def test_memory_is_affine_in_the_images_in_flight():
    networks = tiny()
    one, two, four = (memory_estimate(*networks, batch_size=n) for n in (1, 2, 4))
    assert four["activations"] == 2 * two["activations"] == 4 * one["activations"] > 0
    for part in ("weights", "optimizer", "ema", "gradients"):
        assert one[part] == four[part]
    assert one["total"] == sum(value for part, value in one.items() if part != "total")


def test_memory_of_weights_slots_and_average_is_exact():
    generator, discriminator = tiny()
    adam = keras.optimizers.Adam()
    adam.build(generator.trainable_variables)
    trained = sum(w.size for w in map(np.asarray, generator.trainable_variables))
    slots = [v for v in adam.variables if tuple(v.shape)]
    assert sum(np.asarray(v).nbytes for v in slots) == 8 * trained
    parts = memory_estimate(generator, discriminator, 1)
    assert parts["ema"] == sum(np.asarray(w).nbytes for w in generator.weights)
    assert parts["weights"] == parts["ema"] + sum(
        np.asarray(w).nbytes for w in discriminator.weights
    )
    d_trained = sum(w.size for w in map(np.asarray, discriminator.trainable_variables))
    assert parts["optimizer"] == 8 * (trained + d_trained)


def test_micro_batches_half_precision_and_no_r1_save_memory():
    networks = tiny()
    whole = memory_estimate(*networks, 8)["activations"]
    assert memory_estimate(*networks, 8, micro_batches=4)["activations"] < whole / 3
    assert memory_estimate(*networks, 8, bytes_per_activation=2)["activations"] < whole * 0.6
    assert memory_estimate(*networks, 8, r1=False)["activations"] <= whole
    assert memory_estimate(*networks, 8, bcr=True)["activations"] >= whole


@pytest.mark.parametrize(
    ("how", "passes_of_d"),
    [
        ({}, 3), ({"r2": True}, 3), ({"paired": True}, 4), ({"paired": True, "r2": True}, 6),
        ({"bcr": True}, 6), ({"bcr": True, "share": 0.5}, 5.5),
    ],
)  # fmt: skip
def test_fakes_and_reals_are_kept_at_once_where_they_are_compared(how, passes_of_d):
    generator, discriminator = tiny()
    of_d = discriminator_activations(discriminator)
    assert generator_activations(generator) < 2 * of_d  # the D phase is the greater
    batch = 8 * 64**2 * 3 * 5
    activations = memory_estimate(generator, discriminator, 8, **how)["activations"]
    assert activations == 8 * 4 * passes_of_d * of_d + batch


@pytest.mark.parametrize(
    ("how", "passes_of_d"),
    [
        ({}, 11), ({"r1": False}, 8), ({"r2": True}, 14), ({"bcr": True}, 17),
        ({"r2": True, "share": 0.25, "paired": True}, 10.5),
    ],
)  # fmt: skip
def test_a_step_takes_d_as_often_as_its_objective_asks(how, passes_of_d):
    generator, discriminator = tiny()
    rest = training_multiply_adds(generator, discriminator, **how)
    rest -= 4 * generator_multiply_adds(generator)
    assert rest == passes_of_d * discriminator_multiply_adds(discriminator)


def test_micro_batches_that_do_not_divide_the_batch_are_refused():
    with pytest.raises(ValueError, match="micro_batches=3 does not divide batch_size=8"):
        memory_estimate(*tiny(), 8, micro_batches=3)


def test_activation_counts_grow_with_the_resolution():
    def both(resolution, widths, decoder_widths):
        generator = Generator(
            resolution, 6, (16, 16, 8), (2, 2, 2), (12, 12, 12), decoder_widths=decoder_widths
        )
        discriminator = Discriminator(resolution, widths, (7, 9), 2, 10)
        return generator_activations(generator), discriminator_activations(discriminator)

    small, large = both(64, (4, 6, 8), (5,)), both(128, (4, 4, 6, 8), (5, 4))
    assert large[0] > small[0] and large[1] > small[1]


def test_a_process_on_a_cpu_takes_what_was_measured_within_15_percent():
    """GB, of docs/studies/hardware.md: estimates per device, and the peaks of processes."""
    measured = {
        GRAPHS: [(0.089, 1.221), (0.3, 1.541), (0.959, 2.44), (0.072, 1.075), (4.518, 6.1)],
        GAT_GRAPHS: [(0.476, 2.144), (0.41, 2.394)],
    }
    for graphs, pairs in measured.items():
        for device, peak in pairs:
            assert of_process(device * 1e9, graphs) == pytest.approx(peak * 1e9, rel=0.15)
