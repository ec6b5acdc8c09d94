"""How large gradients are: by block of a network, and how often they spike."""

import keras
import numpy as np
from keras import ops

SPIKE_WINDOW = 50  # steps that a running median is taken over


def tensor_norms(gradients):
    """Each parameter tensor's gradient L2 norm, a tensor (T,).

    Their mean is the norm that the LadaGAN authors plot (spec 4), of a network or of a block.
    """
    return ops.stack([ops.sqrt(ops.sum(ops.square(g))) for g in gradients])


def blocks(network):
    """The parts directly below a network that have trained parameters, and how to average.

    Args:
        network: a built keras.Model.

    Returns:
        Names, in the order of the network's parameters, and a float32 array (blocks, T): a product
        with `tensor_norms` gives each block's mean.
    """
    owners = [variable.path.split("/")[1] for variable in network.trainable_variables]
    names = list(dict.fromkeys(owners))
    members = np.asarray([[owner == name for owner in owners] for name in names], np.float32)
    return names, members / members.sum(axis=1, keepdims=True)


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

    def count(self, norms, step):
        """Counts the norms (networks,) of a step, the run's number `step` from 0."""
        recent = ops.convert_to_tensor(self.recent)
        ordered = ops.sort(recent, axis=1)
        middle = SPIKE_WINDOW // 2
        median = (ordered[:, middle - 1] + ordered[:, middle]) / 2.0
        spikes = ops.logical_and(norms > self.factor * median, step >= SPIKE_WINDOW)
        self.totals.assign(self.totals + ops.cast(spikes, "int64"))
        self.recent.assign(ops.concatenate([recent[:, 1:], norms[:, None]], axis=1))
