"""Networks whose weights are not drawn: given, and not far more than that, or only counted."""

import contextlib
import math
import threading

import keras

_COUNTING = threading.RLock()  # one at a time, or one within another
RANDOM = (  # what our networks start from, but for constants
    keras.initializers.Orthogonal,
    keras.initializers.RandomNormal,
    keras.initializers.TruncatedNormal,
    keras.initializers.VarianceScaling,
)


@contextlib.contextmanager
def blank_of(values, drawn=False):
    """Within it networks are made to be given so many weights: few more, and none drawn at random.

    A configuration takes a few bytes, whatever sizes it names: ValueError before more weights are
    allocated. Where random numbers would be drawn there are zeros: the orthogonal matrices of the
    paper's CIFAR-10 generator take seconds, and would be overwritten.

    Args:
        values: int, how many the weights have that the networks are to be given. Networks may have
            twice as many, so that whoever loads them can say which are missing. math.inf where the
            sizes are no file's.
        drawn: bool, count them only: random ones are drawn, of a network that is given none.
    """
    left, thread = 2 * values, threading.get_ident()

    def counted(self, shape=None, initializer=None, *args, **kwargs):
        nonlocal left
        if threading.get_ident() != thread:  # another one builds what it will not overwrite
            return add_weight(self, shape, initializer, *args, **kwargs)
        left -= math.prod(shape or ())
        if left < 0:
            raise ValueError(
                f"its configuration asks for far more weights than the {values} that are there"
            )
        if not drawn and isinstance(keras.initializers.get(initializer), RANDOM):
            initializer = "zeros"
        return add_weight(self, shape, initializer, *args, **kwargs)

    with _COUNTING:
        add_weight, keras.layers.Layer.add_weight = keras.layers.Layer.add_weight, counted
        try:
            yield
        finally:
            keras.layers.Layer.add_weight = add_weight


@contextlib.contextmanager
def shapes_only():
    """Networks built inside have weights with shapes but without values, and need no memory.

    Keras is forgotten afterwards (`clear_session`): it keeps a list of weights that wait for their
    values and would draw them with the next network that is built, of whatever size these are.
    """
    try:
        with keras.StatelessScope(initialize_variables=False):
            yield
    finally:
        keras.utils.clear_session(free_memory=False)
