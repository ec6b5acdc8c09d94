"""Multiply-adds counted in a traced TensorFlow graph, against which closed forms are checked."""

import re

import numpy as np
import tensorflow as tf


def multiply_adds(function, *inputs):
    """Those of every matrix product and convolution, for inputs of these shapes or like these.

    But for additive attention's pooling, which the paper writes, and counts, as weights times
    tokens and a sum: as a product it pools all channels by all heads' weights.
    """
    inputs = [tf.TensorSpec(x) if isinstance(x, tuple) else x for x in inputs]
    graph = tf.function(function, autograph=False).get_concrete_function(*inputs).graph
    total = 0
    for op in graph.get_operations():
        if re.search(r"(^|/)pooling(_\d+)?/", op.name):
            continue
        if op.type == "Conv2D":
            contracted = np.prod(op.inputs[1].shape[:3])
        elif op.type in ("MatMul", "BatchMatMulV2"):
            transposed = op.get_attr("transpose_a" if op.type == "MatMul" else "adj_x")
            contracted = op.inputs[0].shape[-2 if transposed else -1]
        else:
            assert not op.type.startswith(("Conv", "Einsum", "DepthwiseConv")), op.type
            continue
        total += op.outputs[0].shape.num_elements() * int(contracted)
    return total
