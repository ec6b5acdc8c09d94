"""GAT's two networks and CAT's discriminator at a tiny size, for their tests."""

import keras
import numpy as np

from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.models.gat.scales import CatDiscriminator

S, CLASSES, Z, K = 8, 5, 6, 2
TINY = {"latent_size": S, "patch": 2, "width": 16, "depth": 2, "num_heads": 2}
TINY |= {"num_classes": CLASSES, "channels": 3, "levels": K}
LABELS = np.array([3, 1, 3], "int32")


def tiny_generator(**others):
    return GatGenerator(**{**TINY, "noise_dim": Z, **others})


HEAD = {"class_dim": 12, "projector_dim": 7, "teacher_dim": 5}


def tiny_discriminator(**others):
    return GatDiscriminator(**{**TINY, **HEAD, **others})


def in_one_program(network):
    """The network, compiled as a whole under JAX: each operation alone takes twice as long."""
    if keras.backend.backend() != "jax":
        return network
    import jax

    return jax.jit(network.__call__)


def tiny_cat_discriminator(**others):
    """Of three scales: 2, 4 and 8."""
    return CatDiscriminator(**{**TINY, **HEAD, "levels": 3, **others})
