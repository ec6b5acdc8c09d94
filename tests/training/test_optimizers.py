"""Adam by one kernel per tensor is Adam."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.training.optimizers import make_optimizer

RATE = 3e-3


def trained(gradients, start, *betas, precision="float32"):
    """A variable after steps of a compiled function, and that function's graph."""
    variable = keras.Variable(start)
    optimizer = make_optimizer(RATE, *betas, precision)
    optimizer.build([variable])

    @tf.function(autograph=False)
    def step(gradient):
        optimizer.apply([gradient * optimizer.scale_loss(1.0)], [variable])

    for gradient in gradients:
        step(tf.constant(gradient))
    return keras.ops.convert_to_numpy(variable), step.get_concrete_function(gradients[0]).graph


@pytest.fixture
def start(rng):
    return rng.standard_normal((7, 5)).astype("float32")


@pytest.fixture
def gradients(rng):
    """Of fifty steps, from tiny to large."""
    sizes = 10.0 ** rng.uniform(-6, 2, (50, 1, 1))
    return (sizes * rng.standard_normal((50, 7, 5))).astype("float32")


@pytest.mark.parametrize("precision", ["float32", "mixed_float16"])
@pytest.mark.parametrize("betas", [(0.0, 0.99), (0.5, 0.9), (0.9, 0.999)])
def test_fifty_steps_are_those_of_the_formula(start, gradients, betas, precision):
    """Kingma and Ba (2015), Algorithm 1 in the order of Sec. 2's last paragraph: epsilon hat."""
    (b1, b2), w = betas, start.astype("float64")
    m = v = np.zeros_like(w)
    for t, g in enumerate(gradients.astype("float64"), 1):
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        w = w - RATE * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + 1e-7)
    found, _ = trained(gradients, start, *betas, precision=precision)
    np.testing.assert_allclose(found, w, rtol=1e-5, atol=1e-5)


def test_a_tensor_s_update_is_one_operation(start, gradients):
    _, graph = trained(gradients[:1], start, 0.0, 0.99)
    kinds = [operation.type for operation in graph.get_operations()]
    assert kinds.count("ResourceApplyAdam") == 1
    assert not {"Sqrt", "RealDiv", "AssignSubVariableOp"} & set(kinds)
