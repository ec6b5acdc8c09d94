"""Networks without values of their own leave alone what is built beside and after them."""

import threading

import keras
import numpy as np
import pytest
from keras import ops

from ladagan_tf.models.blank import blank_of, shapes_only


def built():
    layer = keras.layers.Dense(5)
    layer.build((None, 3))
    return layer


def test_what_another_thread_builds_meanwhile_is_drawn_as_ever():
    found = []
    with blank_of(30):
        assert not np.any(built().kernel)
        thread = threading.Thread(target=lambda: found.append(built()))
        thread.start()
        thread.join()
    assert np.all(found[0].kernel)


def test_a_network_that_is_given_nothing_is_drawn_but_still_counted():
    with blank_of(10, drawn=True):
        assert np.all(built().kernel)
        with pytest.raises(ValueError, match="far more weights than the 10"):
            built()


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
