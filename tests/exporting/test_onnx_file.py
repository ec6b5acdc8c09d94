"""Rounded weights of an ONNX file: what each holds, what it computes, and when it is refused."""

import dataclasses

import numpy as np
import pytest

from ladagan_tf.errors import InputError
from ladagan_tf.exporting import formats, onnx_file

onnx = pytest.importorskip("onnx", reason="onnx is optional: its files are not tested")
pytest.importorskip("onnxruntime", reason="onnxruntime is optional: its files are not tested")


@pytest.fixture
def weights():
    """(32, 16) kernel whose columns are of very different sizes, one of them 0; and a bias."""
    rng = np.random.default_rng(0)
    kernel = rng.normal(0, 1, (32, 16)) * 10.0 ** np.arange(-8, 8)
    kernel[:, 3] = 0
    return kernel.astype(np.float32), rng.normal(0, 1, (16,)).astype(np.float32)


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
    kernel, bias = weights
    types, run = made(weights, "int8")
    assert types == {"kernel_int8": np.int8, "kernel_scale": np.float32, "bias": np.float32}
    stored = run(np.eye(32, dtype=np.float32)) - bias
    step = np.abs(kernel).max(axis=0) / 127
    assert (np.abs(stored - kernel) <= 0.501 * step + 1e-6).all()
    assert np.abs(stored[:, 9:] - kernel[:, 9:]).max() > 0.4 * step.min()  # it is rounded


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


def test_pictures_that_differ_too_much_are_not_kept(small, tmp_path, monkeypatch):
    def grey(value):
        return lambda z: np.full((len(z), 32, 32, 3), value, np.float32)

    exact = formats.FORMATS["onnx"]
    form = dataclasses.replace(
        exact, write=lambda network, path, weights: None, load=lambda path: grey(25 / 127.5 - 1)
    )
    monkeypatch.setitem(formats.FORMATS, "onnx", form)
    live = dataclasses.replace(small, generate=grey(-1.0))  # 25 of 255 grey levels below
    options = {"weights": "int8", "say": lambda line: None}
    with pytest.raises(InputError, match=r"weights=int8: as onnx, PSNR 20\.2 dB, .*min_psnr=30"):
        formats.export(live, tmp_path / "out", ["onnx"], **options)
    assert not list(tmp_path.iterdir())
    formats.export(live, tmp_path / "out", ["onnx"], min_psnr=20.0, **options)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "`generator.onnx` stores int8: PSNR 20.2 dB, mean difference 25.00 and" in card
