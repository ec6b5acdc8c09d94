"""One interface to a generator, whatever it was loaded from."""

import collections.abc
import dataclasses

import keras
import tensorflow as tf

from ladagan_tf.errors import InputError


@dataclasses.dataclass(frozen=True)
class Trained:
    """A generator and where it came from.

    Attributes:
        generate: function from latents (B, Z), and int32 labels (B,) if conditional, arrays or
            tensors, to float images (B, S, S, 3), nominally in [-1, 1].
        noise_dim: int, Z.
        resolution: int, S.
        num_classes: int; 0 for an unconditional generator.
        network: keras.Model; None for a SavedModel.
        about: dict of plain values that identify it in a protocol.
    """

    generate: collections.abc.Callable
    noise_dim: int
    resolution: int
    num_classes: int
    network: keras.Model | None
    about: dict


def of_network(network, about=None):
    """`Trained` for a Keras generator in memory.

    Args:
        network: keras.Model with `noise_dim` and `resolution`, and `num_classes` if conditional.
        about: dict, see `Trained`.
    """
    if not hasattr(network, "noise_dim") or not hasattr(network, "resolution"):
        raise InputError(f"{(about or {}).get('model', network.name)}: it is not a generator")

    @tf.function
    def generate(z, *labels):
        return network(z, *labels, training=False)

    classes = getattr(network, "num_classes", 0)
    return Trained(
        generate, network.noise_dim, network.resolution, classes, network, dict(about or {})
    )
