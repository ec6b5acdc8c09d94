"""Rounded weights of an ONNX file: what each holds, what it computes, and when it is refused."""

import numpy as np
import pytest
from rounded_weights import assert_rounded

from ladagan_tf.errors import InputError
from ladagan_tf.exporting import onnx_file

onnx = pytest.importorskip("onnx", reason="onnx is optional: its files are not tested")
pytest.importorskip("onnxruntime", reason="onnxruntime is optional: its files are not tested")


def made(weights, stored):
    """z @ kernel + bias as an ONNX model with rounded weights: (file's types, function)."""
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    kernel, bias = weights
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["z", "kernel"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["images"]),
        ],
        "dense",
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, (None, 32))],
        [helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, (None, len(bias)))],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx_file.round_weights(model, stored)
    onnx.checker.check_model(model, full_check=True)
    types = {t.name: numpy_helper.to_array(t).dtype for t in model.graph.initializer}
    return types, onnx_file.load(model.SerializeToString())


def test_int8_is_within_half_a_step_of_each_channel(weights):
    types, run = made(weights, "int8")
    assert types == {"kernel_int8": np.int8, "kernel_scale": np.float32, "bias": np.float32}
    kernel, bias = weights
    assert_rounded(run(np.eye(32, dtype=np.float32)) - bias, kernel)


def test_int8_of_weights_leaves_activations_alone(weights):
    """onnxruntime rounds them in a product with the output of a DequantizeLinear."""
    _, run = made(weights, "int8")
    kernel = run(np.eye(32, dtype=np.float32)) - weights[1]
    z = np.random.default_rng(1).normal(0, 1, (64, 32)).astype(np.float32)
    size = np.abs(z) @ np.abs(kernel)
    assert (np.abs(run(z) - weights[1] - z @ kernel) <= 1e-5 * size + 1e-5).all()


def test_float16_holds_what_float16_does(weights):
    kernel, bias = (part[..., :12] for part in weights)
    types, run = made((kernel, bias), "float16")
    assert types == {"kernel_float16": np.float16, "bias": np.float32}
    right = kernel.astype(np.float16).astype(np.float32) + bias
    np.testing.assert_allclose(run(np.eye(32, dtype=np.float32)), right, rtol=1e-6)


def test_weights_too_large_for_float16_are_refused(weights):
    """Infinite ones would make images of nothing, silently."""
    kernel, bias = weights
    with pytest.raises(InputError, match=r"weights=float16: 1e\+05 is .* 65504"):
        made((np.full_like(kernel, 1e5), bias), "float16")


def test_splits_tell_their_sizes():
    """onnxruntime-web's WebGPU takes those of a model with any batch size for 0 else."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("Split", ["z"], ["a", "b"], axis=-1),
        helper.make_node("Sub", ["a", "b"], ["images"]),
    ]
    inputs = [helper.make_tensor_value_info("z", kind, (None, 6))]
    outputs = [helper.make_tensor_value_info("images", kind, (None, 3))]
    graph = helper.make_graph(nodes, "halves", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    onnx_file.tell_sizes_of_splits(model)
    (sizes,) = model.graph.initializer
    assert onnx.numpy_helper.to_array(sizes).tolist() == [3, 3]
    onnx.checker.check_model(model, full_check=True)
    z = np.arange(12, dtype=np.float32).reshape(2, 6)
    made = onnx_file.load(model.SerializeToString())(z)
    np.testing.assert_array_equal(made, z[:, :3] - z[:, 3:])
