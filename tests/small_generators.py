"""Small generators to hand on: a LadaGAN, a run of it, a conditional one, a GAT and a CAT."""

import json

import keras
import numpy as np
import pytest
import tiny_gat

from ladagan_tf.data.preparation import prepare
from ladagan_tf.exporting import endpoints
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling.sampler import Sampler, of_network

SIZES = {"noise_dim": 8, "widths": (16, 16, 16), "num_heads": (2, 2, 2), "mlp_widths": (8, 8, 8)}


def perturbed(network, seed=0):
    rng = np.random.default_rng(seed)
    network.set_weights([rng.normal(0, 0.1, w.shape) for w in network.get_weights()])
    return network


@pytest.fixture(scope="session")
def small():
    """`Sampler` of a small LadaGAN generator."""
    return of_network(perturbed(Generator(**SIZES)), {"model": "small"})


@pytest.fixture(scope="session")
def conditional():
    """`Sampler` of a small LadaGAN generator with three classes."""
    return of_network(perturbed(Generator(**SIZES, num_classes=3)), {"model": "conditional"})


@pytest.fixture
def run(tmp_path, small):
    """A run directory of the small generator, on a prepared set of shapes."""
    info = prepare("shapes", tmp_path / "shapes", resolution=32, num_images=6)
    directory = RunDirectory(tmp_path / "run")
    flags = {"dataset": str(info.folder), "batch_size": "4", "init_from": "runs/shapes"}
    directory.start(flags, [small.network])
    for step in (1, 2):
        directory.append_stats({"step": step, "kimg": step * 0.25, "d_loss": 0.5})
    state = {f"averaged/{i:03d}/{v.path}": v for i, v in enumerate(small.network.weights)}
    Checkpoints(directory.checkpoints, state).save(step=2, images=500)
    metrics = [
        {
            "name": "fid50k",
            "metric": "fid",
            "value": value,
            "spread": None,
            "protocol": {"generated": generated},
        }
        for value, generated in (
            (9.0, {"checkpoint": "step-00000001", "ema": True}),
            (5.5, {"checkpoint": "step-00000002", "ema": True}),
            (3.25, {"checkpoint": "step-00000002", "ema": True}),
            (8.0, {"checkpoint": "step-00000002", "ema": False}),
        )
    ]
    lines = [json.dumps(metric) for metric in metrics]
    (directory.path / "metrics.jsonl").write_text("\n".join([*lines, '{"name": "cut sho']))
    return directory


@pytest.fixture(scope="session")
def saved(small, tmp_path_factory):
    """A folder with `saved_model` of the small generator."""
    folder = tmp_path_factory.mktemp("saved")
    endpoints.write_saved_model(small.network, folder / "saved_model")
    return folder


def small_gat(**changes):
    """`Sampler` of a GAT of one block with an autoencoder of one width."""
    generator = GatGenerator(**{**tiny_gat.GENERATOR, "depth": 1, "levels": 1, **changes})
    vae = AutoencoderKL(**{**tiny_gat.VAE, "widths": (8,)})
    network, rng = DecodedGenerator(generator, vae), np.random.default_rng(0)
    network.set_weights([w + rng.normal(0, 0.1, w.shape) for w in network.get_weights()])
    # As large as trained ones, or neither classes nor psi would show in uint8.
    for weight in (generator.mapping.classes.table, generator.mean_style):
        weight.assign(rng.normal(0, 1.0, weight.shape))
    return of_network(network, {"model": "gat"})


@pytest.fixture(scope="session")
def gat():
    """`Sampler` of a GAT with its autoencoder."""
    return small_gat()


@pytest.fixture(scope="session")
def cat():
    """`Sampler` of a CAT with its autoencoder."""
    return small_gat(modulation="shift_scale_gate")


@pytest.fixture(scope="session")
def saved_gat(gat, tmp_path_factory):
    """The path of the GAT's SavedModel."""
    path = tmp_path_factory.mktemp("gat") / "saved_model"
    endpoints.write_saved_model(gat.network, path)
    return path


def make_noise():
    """`Sampler`: uniform noise of 16 px from the latent, in [-1, 1]."""

    def generate(z, *labels):
        z = keras.ops.convert_to_tensor(z)  # (B, 3)
        pixels = keras.ops.arange(16 * 16 * 3, dtype="float32")
        images = keras.ops.sin(keras.ops.sum(z, axis=1, keepdims=True) * 50.0 + pixels * 12.9)
        return keras.ops.reshape(images, (-1, 16, 16, 3))

    return Sampler(generate, 3, 16, 0, None, {"model": "noise"})


@pytest.fixture
def noise():
    """See `make_noise`."""
    return make_noise()
