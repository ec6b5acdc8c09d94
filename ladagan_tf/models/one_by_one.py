"""Whether operations run one by one, each a pass over memory of its own."""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf
    from tensorflow.python.ops import control_flow_util


def one_by_one():
    """Whether what is computed now are TensorFlow's operations on a CPU, without XLA: a bool.

    There fewer passes over a tensor are faster. XLA, and so JAX, makes one pass of many operations
    by itself, and has forms of its own of TensorFlow's kernels: batch norm's takes the difference
    of two large numbers for the variance.
    """
    if keras.backend.backend() != "tensorflow":
        return False
    if any(tf.config.list_physical_devices(kind) for kind in ("GPU", "TPU")):
        return False
    # Nothing public tells it.
    return not control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())
