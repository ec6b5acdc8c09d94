"""Adam for the training step."""

import keras
import tensorflow as tf
from keras import ops


def make_optimizer(learning_rate, beta1, beta2, precision, epsilon=1e-7):
    """Adam as Keras defines it; with dynamic loss scaling under mixed_float16.

    Args:
        learning_rate, beta1, beta2, epsilon: floats, of Adam.
        precision: str, Keras dtype policy of the networks.

    Returns:
        keras.optimizers.Optimizer, not built.

    It is GAT's AdamW too, whose weight decay is 0. Keras adds epsilon before the bias correction,
    PyTorch after it: with beta 2 of 0.99 the two are one after some hundred steps.
    """
    adam = FusedAdam(learning_rate, beta1, beta2, epsilon=epsilon)
    return keras.optimizers.LossScaleOptimizer(adam) if precision == "mixed_float16" else adam


class FusedAdam(keras.optimizers.Adam):
    """Keras's Adam with one kernel for each tensor's update, which Keras makes of about twenty.

    So a step's graph is half as large, which is what small networks wait for before their first
    step, and an update needs no memory of its own. The same formula, to the last digit or two.
    """

    def apply(self, grads, trainable_variables=None):
        step = ops.cast(self.iterations + 1, "float32")
        beta1, beta2 = (tf.constant(beta, tf.float32) for beta in (self.beta_1, self.beta_2))
        self._of_all = {  # a tensor each for all variables
            "beta1": beta1,
            "beta2": beta2,
            "beta1_power": beta1**step,
            "beta2_power": beta2**step,
            "epsilon": tf.constant(self.epsilon, tf.float32),
        }
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable and its moments in place.

        Args:
            gradient: float32 tensor.
            variable: tf.Variable of its shape, or one replica's part of it.
            learning_rate: float32 scalar.
        """
        index = self._get_variable_index(variable)
        moments = self._momentums[index].value, self._velocities[index].value
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=moments[0].handle,
            v=moments[1].handle,
            lr=learning_rate,
            grad=gradient,
            **self._of_all,
        )
