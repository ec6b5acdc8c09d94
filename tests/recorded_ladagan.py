"""The recorded arrays of the official LadaGAN code, and networks with their weights."""

import functools
import json

import numpy as np

from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official.lada_names import discriminator_names, generator_names, load_official
from ladagan_tf.training.augment import augmentation_draws
from ladagan_tf.training.lada import LadaObjective

DEAD_BIAS = "q_attn/bias"  # the softmax cancels it: its gradient is rounding noise


class Recorded:
    """The fixture folder: arrays by file and the sizes that made them."""

    def __init__(self, folder):
        self.folder = folder
        self.meta = json.loads((folder / "meta.json").read_text())

    @functools.cache  # noqa: B019 - one instance per session
    def arrays(self, name):
        with np.load(self.folder / f"{name}.npz") as file:
            return dict(file)

    def weights(self, name):
        """Weights by official name; the smaller files leave out what models_32 already has."""
        shapes = self.meta["variables"][name]
        merged = {**self.arrays("models_32"), **self.arrays(name)}
        return {key: merged[key] for key in shapes if key in merged}

    def generator(self, name, resolution, decoder_widths=(), num_classes=0):
        config = self.meta["config"]
        generator = Generator(
            resolution=resolution,
            noise_dim=config["noise_dim"],
            widths=config["g_dim"],
            num_heads=config["g_heads"],
            mlp_widths=config["g_mlp"],
            decoder_widths=decoder_widths,
            num_classes=num_classes,
        )
        load_official(generator_names(generator), self.weights(name))
        return generator

    def discriminator(self, name, resolution, num_classes=0):
        config = self.meta["config"]
        discriminator = Discriminator(
            resolution=resolution,
            widths=self.meta["d_enc_dim"][str(resolution)],
            out_widths=config["d_out_dim"],
            num_heads=config["d_heads"],
            mlp_width=config["d_mlp"],
            num_classes=num_classes,
        )
        load_official(discriminator_names(discriminator), self.weights(name))
        return discriminator


def objective_of(recorded, resolution, **kwargs):
    step = recorded.meta["step"]
    return LadaObjective(
        noise_dim=recorded.meta["config"]["noise_dim"],
        resolution=resolution,
        loss=step["loss"],
        r1_weight=step["gp_weight"],
        **{"policy": "", "bcr_weight": step["cr_weight"], **kwargs},
    )


def named_draws(policy, size, arrays):
    """Recorded draws in call order, under our names."""
    names = augmentation_draws(policy, size)
    return {name: np.reshape(next(arrays), -1) for name in names}


def by_official_name(gradients, network, names):
    positions = {id(v): i for i, v in enumerate(network.trainable_variables)}
    return {key: gradients[positions[id(v)]] for key, v in names(network) if id(v) in positions}


def assert_close(actual, expected, what="", tolerance=1e-4):
    """|a - b| <= tolerance * (1 + |b|) everywhere."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    worst = np.max(np.abs(actual - expected) / (1.0 + np.abs(expected)), initial=0.0)
    assert worst <= tolerance, f"{what}: {worst:.2e}"
