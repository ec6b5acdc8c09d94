"""Functions of which only the inputs are kept for the derivatives, computed again for each."""

import keras

if keras.backend.backend() == "tensorflow":
    import tensorflow as tf


def rematerialised(fn):
    """A function that computes what `fn` does, and again for its gradients.

    Those can be differentiated, too, as an input's gradient is in R1; TensorFlow's own
    `recompute_grad`, which `keras.remat` is there, gives first derivatives alone.

    Args:
        fn: function of float tensors that returns one tensor; it may use variables.

    Returns:
        Function of the same tensors.
    """
    if keras.backend.backend() != "tensorflow":
        return keras.remat(fn)

    @tf.custom_gradient
    def run(*inputs):
        def gradients(upstream, variables=()):
            # Of inputs that depend on `upstream`, or all would be computed again at once, or not
            # again: XLA keeps no order but that of data. Comparisons are not simplified away.
            first = tf.reshape(upstream, [-1])[:1]
            nothing = tf.reduce_sum(tf.cast(tf.not_equal(first, first), upstream.dtype))
            again = [x + tf.stop_gradient(tf.cast(nothing, x.dtype)) for x in inputs]
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                for x in (*again, *variables):
                    tape.watch(x)
                output = fn(*again)
            found = tape.gradient(output, [*again, *variables], upstream)
            return found[: len(again)], found[len(again) :]

        return fn(*inputs), gradients

    return run
