"""What steps leave behind: means over a window, gradient norms by block, and their spikes."""

import keras
import numpy as np
from keras import ops

SPIKE_WINDOW = 50  # steps that a running median is taken over


class BlockNorms:
    """Means of the tensors' norms over a network and over each of its blocks, as metrics.

    That over a network is what the LadaGAN authors plot (pytorch/train.py). Blocks are the parts
    directly below the network that have trained parameters.

    Args:
        name: of the network's mean; a block's is `name/block`.
        network: a built keras.Model.

    Attributes:
        names: list of the metrics: the network's, then the blocks' in the order of parameters.
    """

    def __init__(self, name, network):
        owners = [variable.path.split("/")[1] for variable in network.trainable_variables]
        blocks = list(dict.fromkeys(owners))
        members = np.asarray(
            [[True] * len(owners), *([o == b for o in owners] for b in blocks)], bool
        )
        self.names = [name, *(f"{name}/{block}" for block in blocks)]
        self.averages = (members / members.sum(axis=1, keepdims=True)).astype(np.float32)

    def __call__(self, norms):
        """Dict of scalars by name, from the L2 norms of the parameter tensors' gradients (T,)."""
        means = ops.unstack(ops.matmul(ops.convert_to_tensor(self.averages), norms))
        return dict(zip(self.names, means, strict=True))


class SpikeCounter(keras.layers.Layer):
    """Counts the steps at which a norm is more than `factor` times its running median.

    The median is that of the last `SPIKE_WINDOW` steps before; earlier steps count none.

    Args:
        networks: int, norms per step.
        factor: float, above 1.
    """

    def __init__(self, networks, factor=3.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor
        self.recent = self._zeros((networks, SPIKE_WINDOW), "float32", "recent")
        self.totals = self._zeros((networks,), "int64", "totals")
        self.built = True

    def _zeros(self, shape, dtype, name):
        return self.add_weight(shape, "zeros", dtype, trainable=False, name=name)

    def count(self, norms, counts=True):
        """Counts the norms (networks,) of a step.

        With `counts` (bool) False it is as if there had been no such step.
        """
        recent = ops.convert_to_tensor(self.recent)
        ordered = ops.sort(recent, axis=1)
        middle = SPIKE_WINDOW // 2
        median = (ordered[:, middle - 1] + ordered[:, middle]) / 2.0
        known = ops.logical_and(recent[:, 0] > 0, counts)  # so many steps have counted
        spikes = ops.logical_and(norms > self.factor * median, known)
        self.totals.assign(self.totals + ops.cast(spikes, "int64"))
        moved = ops.concatenate([recent[:, 1:], norms[:, None]], axis=1)
        self.recent.assign(ops.where(counts, moved, recent))


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

    def add(self, scalars, counts=True):
        """Adds those of a step, a dict with at least the names, unless `counts` (bool) is False."""
        values = ops.convert_to_tensor([scalars[name] for name in self.scalars], "float32")
        self.sums.assign_add(ops.where(counts, values, ops.zeros_like(values)))
        self.steps.assign_add(ops.cast(counts, "int64"))

    def results(self):
        """Means over the steps since the last `reset`, as Python floats; NaN if none."""
        sums, steps = (ops.convert_to_numpy(value) for value in (self.sums, self.steps))
        means = sums / int(steps) if steps else np.full(sums.shape, np.nan)
        return dict(zip(self.scalars, map(float, means), strict=True))

    def reset(self):
        for variable in (self.sums, self.steps):
            variable.assign(ops.zeros_like(variable))
