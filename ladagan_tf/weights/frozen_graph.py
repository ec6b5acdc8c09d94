"""The constants of a frozen TensorFlow 1 graph (.pb)."""

import math

import tensorflow as tf

# A Const may spell out one value for its whole shape, so it may be larger than the file says; but
# not without bound.
EXPANSION = 10


def read_graph(path):
    """Numeric `Const` nodes by name; the graph is only parsed, never imported.

    Args:
        path: pathlib.Path of a binary GraphDef.

    Returns:
        dict: node name -> array in the graph's layout (kernels HWIO); bfloat16 as float32.

    Raises:
        ValueError, TypeError or protobuf's DecodeError: for damaged files.
    """
    data = path.read_bytes()
    budget = EXPANSION * len(data)  # bytes
    arrays = {}
    for node in tf.compat.v1.GraphDef.FromString(data).node:
        if node.op != "Const":
            continue
        value = node.attr["value"].tensor
        dtype = tf.dtypes.as_dtype(value.dtype)
        if not (dtype.is_floating or dtype.is_integer or dtype.is_bool):
            continue
        budget -= dtype.size * math.prod(max(0, side.size) for side in value.tensor_shape.dim)
        if budget < 0:
            raise ValueError(f"constants up to {node.name} are far larger than the file")
        array = tf.make_ndarray(value)
        arrays[node.name] = array.astype("float32") if dtype == tf.bfloat16 else array
    return arrays
