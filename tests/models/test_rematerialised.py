"""Values and both derivatives of functions that are computed again, against their closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.models.rematerialised import rematerialised

X, WEIGHT = np.array([0.5, -2.0, 3.0]), 0.25


@pytest.mark.parametrize("how", [None, {}, {"jit_compile": True}], ids=["eager", "graph", "xla"])
def test_cubes_have_their_first_and_second_derivatives(how):
    """Of sum (w x^3) by x, 3 w x^2; of the sum of its squares, 36 w^2 x^3 and 18 w sum x^4."""
    weight = keras.Variable(WEIGHT, dtype="float64")

    def penalty(x):
        with tf.GradientTape() as outer:
            outer.watch([x, weight.value])
            with tf.GradientTape() as inner:
                inner.watch(x)
                cubes = rematerialised(lambda x: weight.value * x**3)(x)
            gradient = inner.gradient(cubes, x)
            squares = tf.reduce_sum(gradient**2)
        return cubes, gradient, *outer.gradient(squares, [x, weight.value])

    if how is not None:
        penalty = tf.function(penalty, autograph=False, **how)
    expected = WEIGHT * X**3, 3 * WEIGHT * X**2, 36 * WEIGHT**2 * X**3, 18 * WEIGHT * np.sum(X**4)
    for found, value in zip(penalty(tf.constant(X)), expected, strict=True):
        np.testing.assert_allclose(found, value, rtol=1e-12)


def test_only_the_inputs_are_kept():
    """In a graph the function stands twice, and the second time behind its own gradient."""

    @tf.function(autograph=False)
    def gradient(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            output = rematerialised(tf.sin)(x)
        return tape.gradient(output, x, tf.cos(output))

    graph = gradient.get_concrete_function(tf.TensorSpec((3,), tf.float64)).graph
    first, second = (op for op in graph.get_operations() if op.type == "Sin")
    behind, found = [second], set()
    while behind:
        operation = behind.pop()
        found.add(operation.name)
        behind += [x.op for x in operation.inputs if x.op.name not in found]
    assert first.name in found and first is not second
    np.testing.assert_allclose(gradient(tf.constant(X)), np.cos(np.sin(X)) * np.cos(X), rtol=1e-12)
