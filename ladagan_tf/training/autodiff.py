"""The two derivatives training needs, for TensorFlow and for JAX.

Everything else in the objectives is `keras.ops`. Under JAX a function that updates state (batch
norm's moving statistics) must return it, so both derivatives run it in a Keras `StatelessScope`
and then assign what it updated: eagerly, or into an enclosing scope when a whole step is compiled.
"""

import keras
from keras import ops

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf

    def value_and_grad(fn, network, also_calls=()):
        """Evaluates a loss and differentiates it.

        Args:
            fn: function without arguments that returns (scalar loss, anything).
            network: keras.Model to whose trainable variables the loss is differentiated.
            also_calls: other keras.Models that `fn` calls; their weights are constants.

        Returns:
            ((loss, anything), gradients), gradients in the order of `network.trainable_variables`.
        """
        variables = network.trainable_variables
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            for variable in variables:
                tape.watch(variable.value)
            loss, extra = fn()
        gradients = tape.gradient(
            loss,
            [variable.value for variable in variables],
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        return (loss, extra), gradients

    def input_gradient(fn, x, network):
        """Value of `fn` at `x` and the gradient of the sum of its elements with respect to `x`.

        Args:
            fn: function of one tensor that returns a tensor; it may update `network`'s state.
            x: float tensor.
            network: the keras.Model that `fn` calls.

        Returns:
            (fn(x), gradient of the shape of x); both can be differentiated again.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = fn(x)
        return value, tape.gradient(value, x)

    def after(dependencies, tree):
        """`tree` unchanged, but not available before `dependencies` are computed."""
        with tf.control_dependencies(dependencies):
            return keras.tree.map_structure(tf.identity, tree)

elif keras.backend.backend() == "jax":
    import jax

    def _run_stateless(fn, variables, values):
        with keras.StatelessScope(list(zip(variables, values, strict=True))) as scope:
            result = fn()
        return result, [scope.get_current_value(v) for v in variables]

    def value_and_grad(fn, network, also_calls=()):
        trainable = list(network.trainable_variables)
        state = list(network.non_trainable_variables)
        for other in also_calls:
            state += other.variables

        def pure(trainable_values, state_values):
            (loss, extra), values = _run_stateless(
                fn, trainable + state, trainable_values + state_values
            )
            return loss, (extra, values[len(trainable) :])

        (loss, (extra, updated)), gradients = jax.value_and_grad(pure, has_aux=True)(
            [ops.convert_to_tensor(v) for v in trainable],
            [ops.convert_to_tensor(v) for v in state],
        )
        for variable, value in zip(state, updated, strict=True):
            variable.assign(value)
        return (loss, extra), gradients

    def input_gradient(fn, x, network):
        trainable = list(network.trainable_variables)
        state = list(network.non_trainable_variables)
        variables = trainable + state
        values = [ops.convert_to_tensor(v) for v in variables]

        def pure(x):
            value, updated = _run_stateless(lambda: fn(x), variables, values)
            return ops.sum(value), (value, updated[len(trainable) :])

        gradient, (value, updated) = jax.grad(pure, has_aux=True)(x)
        for variable, new in zip(state, updated, strict=True):
            variable.assign(new)
        return value, gradient

    def after(dependencies, tree):
        return jax.lax.optimization_barrier((tree, dependencies))[0]

else:
    raise ImportError(
        f"KERAS_BACKEND={keras.backend.backend()!r}: training runs under tensorflow or jax"
    )
