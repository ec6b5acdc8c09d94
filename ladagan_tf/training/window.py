"""Means of scalars over a window of steps."""

import keras
import numpy as np
from keras import ops


class Window(keras.layers.Layer):
    """Sums scalars over steps on the device, so that only a window's end waits for it.

    Not keras.metrics: reading those is a collective operation over workers, and `fit` resets them,
    which would lose a resumed run's open window.

    Args:
        names: of the scalars.
    """

    def __init__(self, names, **kwargs):
        super().__init__(**kwargs)
        self.scalars = tuple(names)
        self.sums = self.add_weight((len(self.scalars),), "zeros", trainable=False, name="sums")
        self.steps = self.add_weight((), "zeros", "int64", trainable=False, name="steps")
        self.built = True

    def add(self, scalars):
        """Adds those of a step: dict with at least the names."""
        self.sums.assign_add(ops.stack([scalars[name] for name in self.scalars]))
        self.steps.assign_add(1)

    def results(self):
        """Means over the steps since the last `reset`, as Python floats; NaN if none."""
        sums, steps = (ops.convert_to_numpy(value) for value in (self.sums, self.steps))
        means = sums / int(steps) if steps else np.full(sums.shape, np.nan)
        return dict(zip(self.scalars, map(float, means), strict=True))

    def reset(self):
        for variable in (self.sums, self.steps):
            variable.assign(ops.zeros_like(variable))
