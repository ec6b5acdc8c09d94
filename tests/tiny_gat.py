"""A tiny GAT with its autoencoder, as a network and as a run: three classes, images of 16 px."""

import numpy as np
import tensorflow as tf

from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory

GENERATOR = {
    "latent_size": 8,
    "patch": 4,
    "width": 24,
    "depth": 2,
    "levels": 2,
    "num_heads": 2,
    "num_classes": 3,
    "noise_dim": 8,
    "class_names": ("flags", "food-drink", "crane, machine"),
}
VAE = {"widths": (8, 8), "resnets": 1, "groups": 4, "about": {"images_from": "noise"}}


def make_network(**changes):
    """`DecodedGenerator` with random weights, and mean styles as if it had been trained."""
    generator, vae = GatGenerator(**GENERATOR, **changes), AutoencoderKL(**VAE)
    network, rng = DecodedGenerator(generator, vae), np.random.default_rng(0)
    network.set_weights([w + rng.normal(0, 0.1, w.shape) for w in network.get_weights()])
    # As large as trained ones, or neither classes nor psi would show in uint8.
    for weight in (generator.mapping.classes.table, generator.mean_style):
        weight.assign(rng.normal(0, 1.0, weight.shape))
    return network


def make_run(path, network):
    """A run whose averaged generator is the network's; the trained one has doubled weights."""
    run = RunDirectory(path)
    run.start({"dataset": "noise"}, [network.generator])
    weights = network.generator.weights
    state = {f"averaged/{i:03d}/{w.path}": w for i, w in enumerate(weights)}
    state |= {f"generator/{i:03d}/{w.path}": tf.Variable(2.0 * w) for i, w in enumerate(weights)}
    Checkpoints(run.checkpoints, state).save(step=2, images=500)
    network.vae.save(run.vae_file)
    return run.path
