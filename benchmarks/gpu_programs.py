"""What `gpu_run.py` runs on the device, compiled there, or before on a machine without one."""

import pickle

import jax
import jax.numpy as jnp
import keras
import numpy as np
from absl import flags
from jax.experimental import serialize_executable, topologies

FLAGS = flags.FLAGS
HERE = "here"  # --compile_for: the device of this machine


def programs(wanted, say, place=lambda tree: tree):
    """Compiled functions.

    Args:
        wanted: list of (jitted function, its arguments).
        say: function of str, told how far it is.
        place: takes a pytree of arrays, returns what is lowered in its place.

    Returns:
        List of them; --programs has them from a file.
    """
    if FLAGS.programs:
        with open(FLAGS.programs, "rb") as file:
            return [serialize_executable.deserialize_and_load(*each) for each in pickle.load(file)]
    lowered = [function.lower(*place(arguments)) for function, arguments in wanted]
    say("traced")
    compiled = [each.compile() for each in lowered]
    say(f"compiled: up to {max(map(_bytes, compiled)) / 1e9:.2f} GB on the device")
    return compiled


def _bytes(program):
    """What a compiled function needs of the device's memory."""
    told = program.memory_analysis()
    return told.argument_size_in_bytes + told.output_size_in_bytes + told.temp_size_in_bytes


def compile_elsewhere(wanted, say, path):
    """Compiles for the device of --compile_for, which need not be here, into a file."""
    if FLAGS.compile_for == HERE:
        device = jax.devices()[0]
    else:
        with open(FLAGS.compile_for) as file:
            described = {"target_config": file.read(), "topology": "1x1x1"}
        device = topologies.get_topology_desc("device", "cuda", **described).devices[0]
    there = jax.sharding.SingleDeviceSharding(device)
    keras.src.backend.nn.conv = convolution

    def place(tree):
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=there), tree)

    compiled = programs(wanted, say, place)
    path.write_bytes(pickle.dumps([serialize_executable.serialize(each) for each in compiled]))


def convolution(inputs, kernel, strides=1, padding="valid", data_format=None, dilation_rate=1):
    """`keras.ops.conv` in two dimensions, channels last, as a product of matrices.

    Without a device XLA cannot choose cuDNN's algorithm for a convolution, and cuDNN refuses the
    program then; matrix products need no choice.
    """
    kernel = keras.ops.convert_to_tensor(kernel)
    inputs = keras.ops.convert_to_tensor(inputs, kernel.dtype)
    size, step, side = kernel.shape[0], int(np.ravel(strides)[0]), inputs.shape[1]
    if padding == "same":
        missing = max((-(-side // step) - 1) * step + size - side, 0)
        around = (missing // 2, missing - missing // 2)
        inputs, side = jnp.pad(inputs, ((0, 0), around, around, (0, 0))), side + missing
    starts = [(i, j, side - size + 1) for i in range(size) for j in range(size)]
    patches = [inputs[:, i : i + n : step, j : j + n : step] for i, j, n in starts]
    return jnp.concatenate(patches, -1) @ kernel.reshape(-1, kernel.shape[-1])
