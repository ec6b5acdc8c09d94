"""What decoding costs is what the traced graph multiplies."""

import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.evaluation.decoded_cost import decoder_multiply_adds, report
from ladagan_tf.models.vae import AutoencoderKL


@pytest.mark.parametrize(("widths", "resnets"), [((8, 8), 1), ((4, 12, 8), 2)])
def test_multiply_adds_are_those_of_the_traced_decoder(widths, resnets):
    vae = AutoencoderKL(widths=widths, resnets=resnets, groups=4)
    spec = tf.TensorSpec((1, 8, 8, 4))
    graph = tf.function(vae.decode).get_concrete_function(spec).graph
    total = 0
    for op in graph.get_operations():
        if op.type in ("MatMul", "BatchMatMulV2", "Conv2D"):
            right = op.inputs[1].shape
            transposed = op.type == "BatchMatMulV2" and op.get_attr("adj_y")
            contracted = np.prod(right[:3]) if op.type == "Conv2D" else right[-1 - (not transposed)]
            total += op.outputs[0].shape.num_elements() * int(contracted)
    assert decoder_multiply_adds(vae, 8) == total


def test_the_report_counts_generator_decoder_and_encoder_apart(tiny_gat):
    text = report(tiny_gat)
    vae = tiny_gat.vae
    decoder = [w for w in vae.weights if "decoder" in w.path or "post_quant" in w.path]
    counts = [sum(int(np.prod(w.shape)) for w in part) for part in (vae.weights, decoder)]
    for shown in (tiny_gat.generator.count_params(), counts[1], counts[0] - counts[1]):
        assert f"{shown:,} parameters" in text
