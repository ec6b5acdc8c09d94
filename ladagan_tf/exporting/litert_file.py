"""LiteRT files of generators: written, their weights rounded, and run."""

import zipfile

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import held_stderr, one_line
from ladagan_tf.exporting import onnx_file

LABELS = "labels.txt"  # in the file, which is a zip archive too, as LiteRT's metadata tools make it
PRODUCTS = ("FULLY_CONNECTED", "CONV_2D")  # their weights' output channels are the first axis


def write(network, path, weights=None):
    """Writes a generator for LiteRT, with its built-in operators only.

    Args:
        network: keras.Model, see `onnx_file.write`.
        path: pathlib.Path.
        weights: "float16", "int8" (those of `PRODUCTS`, the rest is float16), or None for float32.
    """
    stored = {"supported_types": [tf.float16]} if weights else {}
    smaller = {"optimizations": [tf.lite.Optimize.DEFAULT]} if weights else {}
    network.export(
        str(path),
        format="litert",
        input_signature=onnx_file.signature(network),
        verbose=False,
        # Without Keras's SELECT_TF_OPS: what would need Flex fails here, not on the phone.
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS], **stored},
        **smaller,
    )
    if weights == onnx_file.INT8:
        path.write_bytes(quantized(path.read_bytes()))
    if names := getattr(network, "class_names", ()):
        with zipfile.ZipFile(path, "a") as archive:  # behind the model, which knows its own length
            archive.writestr(LABELS, "".join(f"{one_line(name)}\n" for name in names))


def quantized(content):
    """A LiteRT file of float16 weights with those of `PRODUCTS` in int8, each channel with a scale.

    The file's DEQUANTIZE operators make float32 of int8 as they do of float16. The converter's own
    int8 has none of them: its products round activations, too.

    Args:
        content: bytes.

    Returns:
        bytes.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    (graph,) = model.subgraphs
    names = [flatbuffer_utils.opcode_to_name(model, i) for i in range(len(model.operatorCodes))]
    uses = {}  # tensor -> (operator, which of its inputs) that read it
    for operator in graph.operators:
        for place, tensor in enumerate(operator.inputs):
            uses.setdefault(tensor, set()).add((names[operator.opcodeIndex], place))
    for operator in graph.operators:
        readers = uses.get(operator.outputs[0], set())
        tensor = graph.tensors[operator.inputs[0]] if len(operator.inputs) else None
        if names[operator.opcodeIndex] != "DEQUANTIZE" or not readers <= {(n, 1) for n in PRODUCTS}:
            continue
        buffer = model.buffers[tensor.buffer]
        values = np.frombuffer(bytes(buffer.data), np.float16).reshape(tensor.shape)
        scale, whole = onnx_file.quantized(np.float32(values), axis=0)
        buffer.data = whole.view(np.uint8).reshape(-1)
        tensor.type = schema.TensorType.INT8
        tensor.quantization = schema.QuantizationParametersT(
            scale=scale.reshape(-1), zeroPoint=np.zeros(scale.size, np.int64)
        )
    return flatbuffer_utils.convert_object_to_bytearray(model)


def load(path):
    """The LiteRT file at a path as a function of arrays.

    Without XNNPACK, LiteRT's own choice on CPUs: version 2.3 with it draws other pictures from the
    second call on, of one batch size and of float32 weights too (docs/log.md).
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    with held_stderr():  # it tells what it uses
        interpreter = Interpreter(model_path=str(path), experimental_op_resolver_type=plain)
        interpreter.allocate_tensors()
    # The runner resizes its inputs, so the file's batch size of 1 is only a beginning.
    runner = interpreter.get_signature_runner()
    names = ["z", "labels"]
    return lambda *inputs: next(iter(runner(**dict(zip(names, inputs, strict=False))).values()))
