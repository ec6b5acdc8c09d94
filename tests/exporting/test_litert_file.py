"""LiteRT files: what is rounded in them, and that XNNPACK runs them right, again and again."""

import numpy as np
import pytest
import tensorflow as tf
from rounded_weights import assert_rounded

from ladagan_tf.exporting import litert_file
from ladagan_tf.sampling import opening, seeds

pytest.importorskip("ai_edge_litert", reason="ai-edge-litert is optional: its files are not tested")


def test_int8_is_within_half_a_step_of_each_channel(weights, tmp_path):
    kernel, bias = (part[..., 4:12] for part in weights)  # what float16 holds
    layer = tf.function(
        lambda z: {"images": z @ kernel + bias}, input_signature=[tf.TensorSpec((None, 32))]
    )
    module = tf.Module()
    module.serve = layer
    tf.saved_model.save(module, str(tmp_path), {"serving_default": layer})
    converter = tf.lite.TFLiteConverter.from_saved_model(str(tmp_path))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path = tmp_path / "layer.tflite"
    path.write_bytes(litert_file.rewritten(converter.convert(), litert_file.quantize))
    run = litert_file.load(path)
    zero = run(np.zeros((1, 32), np.float32))
    np.testing.assert_allclose(zero[0], bias, rtol=1e-3)
    stored = run(np.eye(32, dtype=np.float32)) - zero
    assert_rounded(stored, kernel)
    z = np.random.default_rng(1).normal(0, 1, (64, 32)).astype(np.float32)
    assert (np.abs(run(z) - zero - z @ stored) <= 1e-5 * (np.abs(z) @ np.abs(kernel)) + 1e-5).all()


@pytest.mark.slow
def test_later_calls_make_the_images_of_the_first(tmp_path):
    """Run by XNNPACK, LiteRT's choice on CPUs: a file as converted went wrong in all such loads."""
    sampler = opening.open_model("zoo:emoji64_conditional")
    z, labels = seeds.latents(range(3), sampler.noise_dim), np.arange(3, dtype=np.int32)
    live = sampler.network(z, labels)
    path = tmp_path / "generator.tflite"
    litert_file.write(sampler.network, path)
    assert_shapes_are_constant(path)
    for _ in range(2):
        run = litert_file.load(path)
        for batch in (1, 1, 3, 3, 1):
            made = run(z[:batch], labels[:batch])
            np.testing.assert_allclose(made, live[:batch], atol=1e-4)


def assert_shapes_are_constant(path):
    """No operator computes shapes, with which XNNPACK 2.3 goes wrong (log)."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model(str(path))
    names = {
        flatbuffer_utils.opcode_to_name(model, operator.opcodeIndex)
        for graph in model.subgraphs
        for operator in graph.operators
    }
    assert {"FULLY_CONNECTED", "RESHAPE"} < names
    assert names.isdisjoint({"SHAPE", "STRIDED_SLICE", "REDUCE_PROD", "PACK", "EXPAND_DIMS"})
