"""ONNX files of generators: written, their weights rounded, and run by onnxruntime."""

import functools
import json
import warnings

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError

CLASS_NAMES = "class_names"  # in the metadata: a JSON list
SMALL = 256  # values; smaller tensors stay float32: epsilons, biases, shapes
FLOAT16, INT8 = "float16", "int8"


def signature(network):
    """Inputs of a generator: list of tf.TensorSpec, with any batch size."""
    specs = [tf.TensorSpec((None, network.noise_dim), tf.float32, name="z")]
    if getattr(network, "num_classes", 0):
        specs.append(tf.TensorSpec((None,), tf.int32, name="labels"))
    return specs


def write(network, path, weights=None):
    """Writes a generator as ONNX: from z, and labels if conditional, to images.

    Args:
        network: keras.Model with `noise_dim`, and `num_classes` if conditional; float32.
        path: pathlib.Path.
        weights: how to store them, see `round_weights`; None for float32.
    """
    _export(network, path, signature(network), network, weights)


def write_everything(network, path, weights=None):
    """Writes a generator as ONNX with all that it can: psi, and where it looks.

    Inputs are z, labels if conditional, and psi, a float32 scalar from 0 to 1, where there is a
    mean style. Outputs are the images, then the attention maps (B, H, N) where there are some.

    Args:
        network, path, weights: see `write`.
    """
    inputs = signature(network)
    if getattr(network, "truncates", False):
        inputs.append(tf.TensorSpec((), tf.float32, name="psi"))
    import onnx

    _export(_Everything(network), path, inputs, network, weights)
    model = onnx.load(path)
    tell_sizes_of_splits(model)
    onnx.save(model, path)


def tell_sizes_of_splits(model):
    """Gives every Split of equal parts their sizes, which onnxruntime-web's WebGPU takes as 0 else.

    Where other axes have any size, that is: github.com/microsoft/onnxruntime/pull/27043.

    Args:
        model: onnx.ModelProto; it is changed.
    """
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.value_info]
    shapes = {value.name: value.type.tensor_type.shape for value in values}
    for node in model.graph.node:
        if node.op_type == "Split" and len(node.input) == 1:
            (axis,) = (attribute.i for attribute in node.attribute if attribute.name == "axis")
            size = shapes[node.input[0]].dim[axis].dim_value // len(node.output)
            sizes = np.full(len(node.output), size, np.int64)
            node.input.append(f"{node.output[0]}_sizes")
            model.graph.initializer.append(onnx.numpy_helper.from_array(sizes, node.input[1]))


class _Everything(keras.Model):
    """A generator whose call takes psi as its last argument and returns a list with maps."""

    def __init__(self, network):
        super().__init__(name="everything")
        self.network = network
        self.built = True

    def call(self, z, *rest):
        network, strength = self.network, {}
        if getattr(network, "truncates", False):
            *rest, strength["psi"] = rest
        if getattr(network, "has_attention_maps", False):
            images, maps = network.attention_maps(z, *rest, **strength)
            return [images, *maps]
        return [network(z, *rest, training=False, **strength)]


def _export(model, path, inputs, network, weights):
    import onnx

    _teach_tf2onnx_erfc()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # Keras looks for np.object in its patch
        model.export(str(path), format="onnx", input_signature=inputs, verbose=False)
    names = getattr(network, "class_names", ())
    if not names and not weights:
        return
    written = onnx.load(path, load_external_data=False)
    if names:
        kept = {prop.key: prop.value for prop in written.metadata_props}
        onnx.helper.set_model_props(written, {**kept, CLASS_NAMES: json.dumps(names)})
    if weights:
        round_weights(written, weights)
    onnx.save(written, path)


@functools.cache
def _teach_tf2onnx_erfc():
    """TensorFlow computes the exact GELU with Erfc, which neither ONNX nor tf2onnx knows."""
    from tf2onnx.handler import tf_op

    @tf_op("Erfc")
    class Erfc:
        @classmethod
        def version_9(cls, graph, node, **_):
            shape, dtype = graph.get_shape(node.output[0]), graph.get_dtype(node.output[0])
            (x,), outputs = node.input, node.output
            graph.remove_node(node.name)
            one = graph.make_const(f"{node.name}_one", np.ones((), np.float32)).output[0]
            erf = graph.make_node("Erf", [x], shapes=[shape], dtypes=[dtype]).output[0]
            graph.make_node("Sub", [one, erf], outputs=outputs, shapes=[shape], dtypes=[dtype])


def round_weights(model, weights):
    """Stores weights of an ONNX model in fewer bits; it goes on computing in float32.

    float16 holds every tensor of `SMALL` values and more. int8 holds those of MatMul and Conv, a
    scale for each output channel, and the others are float16. They are float32 again by a Cast and
    a Mul, which runtimes compute once: of a DequantizeLinear before a MatMul, onnxruntime makes a
    product that rounds activations, too (33 dB of zoo:emoji64 instead of 42).

    Args:
        model: onnx.ModelProto; it is changed.
        weights: "float16" or "int8".

    Raises:
        InputError: if float16 cannot hold one.
    """
    import onnx
    from onnx import numpy_helper

    channels = _output_channels(model.graph) if weights == INT8 else {}
    first, added = [], []
    for tensor in model.graph.initializer:
        values = numpy_helper.to_array(tensor)
        if values.dtype != np.float32 or values.size < SMALL:
            continue
        name, stored = tensor.name, f"{tensor.name}_{weights}"
        if name in channels:
            scale, whole = quantized(values, channels[name])
            added.append(numpy_helper.from_array(scale, f"{name}_scale"))
            cast = f"{name}_cast"
            multiply = [onnx.helper.make_node("Mul", [cast, added[-1].name], [name])]
        else:
            whole, cast, multiply = _halved(values), name, []
        tensor.CopyFrom(numpy_helper.from_array(whole, stored))
        first.append(onnx.helper.make_node("Cast", [stored], [cast], to=onnx.TensorProto.FLOAT))
        first += multiply
    nodes = [*first, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    model.graph.initializer.extend(added)


def _halved(values):
    largest = np.abs(values).max()
    if largest > np.finfo(np.float16).max:
        raise InputError(f"weights={FLOAT16}: {largest:.2g} is larger than its largest, 65504")
    return values.astype(np.float16)


def _output_channels(graph):
    """Name of each weight of a MatMul or Conv -> its axis of output channels."""
    names = {tensor.name: len(tensor.dims) for tensor in graph.initializer}
    found = {}
    for node in graph.node:
        if node.op_type in ("MatMul", "Conv") and names.get(node.input[1], 0) > 1:
            found[node.input[1]] = 0 if node.op_type == "Conv" else names[node.input[1]] - 1
    return found


def quantized(values, axis):
    """Weights in int8: symmetric, the largest of each channel is 127.

    Args:
        values: float32 array with C channels along `axis`.
        axis: int.

    Returns:
        (scales, whole): float32 array of as many axes, all of size 1 but for C channels; and int8
        array, `values` divided by them and rounded.
    """
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.abs(values).max(others, keepdims=True)
    scale = np.where(largest > 0, largest / 127, 1).astype(np.float32)
    return scale, np.rint(values / scale).astype(np.int8)


def load(content):
    """An ONNX model as a function of arrays (z, *labels), by onnxruntime; psi, if taken, is 1.

    Args:
        content: path of a file, or its bytes.
    """
    import onnxruntime

    source = content if isinstance(content, bytes) else str(content)
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    names = [tensor.name for tensor in session.get_inputs()]
    given = {"psi": np.ones((), np.float32)} if "psi" in names else {}
    names = [name for name in names if name != "psi"]
    return lambda *inputs: session.run(None, dict(zip(names, inputs, strict=True)) | given)[0]
