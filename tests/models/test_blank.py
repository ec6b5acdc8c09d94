"""Networks that are only counted leave nothing behind."""

import keras
from keras import ops

from ladagan_tf.models.blank import shapes_only


def test_networks_of_shapes_only_are_not_drawn_with_the_next_one_that_is_built():
    drawn = []

    def initializer(shape, dtype):
        drawn.append(shape)
        return ops.zeros(shape, dtype)

    with shapes_only():
        layer = keras.layers.Dense(5, kernel_initializer=initializer)
        layer.build((None, 3))
    keras.layers.Lambda(lambda x: 2 * x)(keras.Input((4,)))
    assert layer.count_params() == 20 and not drawn
