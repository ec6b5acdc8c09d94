"""GAT's two networks at a tiny size, for their tests."""

import numpy as np

from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator

S, CLASSES, Z, K = 8, 5, 6, 4
TINY = {"latent_size": S, "patch": 2, "width": 16, "depth": 4, "num_heads": 2}
TINY |= {"num_classes": CLASSES, "channels": 3}
LABELS = np.array([3, 1, 3], "int32")


def tiny_generator(**others):
    return GatGenerator(**{**TINY, "noise_dim": Z, **others})


def tiny_discriminator(**others):
    head = {"class_dim": 12, "projector_dim": 7, "teacher_dim": 5}
    return GatDiscriminator(**{**TINY, **head, **others})
