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
    changes = [know_shapes, quantize] if weights == onnx_file.INT8 else [know_shapes]
    path.write_bytes(rewritten(path.read_bytes(), *changes))
    if names := getattr(network, "class_names", ()):
        with zipfile.ZipFile(path, "a") as archive:  # behind the model, which knows its own length
            archive.writestr(LABELS, "".join(f"{one_line(name)}\n" for name in names))


def rewritten(content, *changes):
    """A LiteRT file after changes to its graphs.

    Args:
        content: bytes.
        *changes: functions of (model, one of its graphs, names of the operator codes).

    Returns:
        bytes.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(content))
    codes = range(len(model.operatorCodes))
    names = [flatbuffer_utils.opcode_to_name(model, code) for code in codes]
    for change in changes:
        for graph in model.subgraphs:
            change(model, graph, names)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def know_shapes(model, graph, names):
    """Reshapes get constant shapes, but for the batch size.

    The converter computes shapes it knows, when the model runs, which splits the graph in parts
    whose memory moves during the first call. XNNPACK 2.3 then may take a copy whose two ends are at
    one address for one that is never needed again, and later calls read what lies there
    (docs/log.md). A graph that is one part does not move.

    Args:
        model, graph, names: see `rewritten`.
    """
    _fix_shapes(model, graph, names)
    kept, needed = [], set(graph.outputs)
    for operator in reversed(graph.operators):  # what computed the shapes is not needed
        if needed & set(operator.outputs):
            kept.insert(0, operator)
            needed.update(operator.inputs)
    graph.operators = kept


def _fix_shapes(model, graph, names):
    from ai_edge_litert import schema_py_generated as schema

    widths = {  # tensor -> size of its last axis, of those that products read
        operator.inputs[0]: graph.tensors[operator.inputs[1]].shape[-1]
        for operator in graph.operators
        if names[operator.opcodeIndex] == "FULLY_CONNECTED"
    }
    for operator in graph.operators:
        if names[operator.opcodeIndex] not in ("RESHAPE", "EXPAND_DIMS"):
            continue
        made = graph.tensors[operator.outputs[0]]
        sizes = np.int32(made.shape if made.shapeSignature is None else made.shapeSignature)
        if operator.outputs[0] in widths:
            sizes[-1] = widths[operator.outputs[0]]
        if (sizes < 0).sum() > 1 or "RESHAPE" not in names:
            continue
        made.shape, made.shapeSignature = np.abs(sizes), sizes  # 1 is any batch size, to begin with
        shape = schema.TensorT(name=b"shape", type=schema.TensorType.INT32, shape=[sizes.size])
        shape.buffer = len(model.buffers)
        model.buffers.append(schema.BufferT(data=sizes.view(np.uint8)))
        operator.inputs = [operator.inputs[0], len(graph.tensors)]
        graph.tensors.append(shape)
        operator.opcodeIndex = names.index("RESHAPE")
        operator.builtinOptions, operator.builtinOptionsType = None, 0  # those of EXPAND_DIMS


def quantize(model, graph, names):
    """Float16 weights of `PRODUCTS` become int8, each output channel with a scale.

    The file's DEQUANTIZE operators make float32 of int8 as they do of float16. The converter's own
    int8 has none of them: its products round activations, too.

    Args:
        model, graph, names: see `rewritten`.
    """
    from ai_edge_litert import schema_py_generated as schema

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


def load(path):
    """The LiteRT file at a path as a function of arrays."""
    from ai_edge_litert.interpreter import Interpreter

    with held_stderr():  # it tells what it uses
        interpreter = Interpreter(model_path=str(path))
        interpreter.allocate_tensors()
    # The runner resizes its inputs, so the file's batch size of 1 is only a beginning.
    runner = interpreter.get_signature_runner()
    names = ["z", "labels"]
    return lambda *inputs: next(iter(runner(**dict(zip(names, inputs, strict=False))).values()))
