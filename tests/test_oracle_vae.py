"""The SD-1.x autoencoder against diffusers' numbers (tests/golden/README.md).

pytest tests/test_oracle_vae.py --fixtures-dir=DIR checks another set of the same layout.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
from rule_weights import crc32, rule_weights

from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.vae.autoencoder import AutoencoderKL, kl_per_image, split_moments

CASES = [("tiny", "sq"), ("tiny", "odd"), ("tiny", "flat"), ("sd1", "sq"), ("sd1", "rect")]
MOMENTS_ATOL, DECODE_ATOL = 3e-5, 6e-5
STAGE_ATOL = 1e-4  # of values up to 8, which processors sum in another order

cases = pytest.mark.parametrize(("config", "case"), CASES)


@pytest.fixture(scope="module")
def stored(oracle_dir):
    with np.load(oracle_dir / "vae.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def networks(oracle_dir):
    """Both networks with the rule's weights, proven by their checksums to be the oracle's."""
    names, found = json.loads((oracle_dir / "names.json").read_text()), {}
    for config in ("tiny", "sd1"):
        entry = names[f"vae_{config}"]
        with blank_of(entry["params"]):
            network = AutoencoderKL(entry["block_out_channels"])
        shapes = network.tensor_shapes()
        assert shapes == {name: tuple(t["shape"]) for name, t in entry["tensors"].items()}
        assert network.count_params() == entry["params"]
        weights = rule_weights(shapes, gain=1.0)
        assert {name: crc32(w) for name, w in weights.items()} == {
            name: t["crc32"] for name, t in entry["tensors"].items()
        }
        network.load_tensors(weights)
        found[config] = network
    return found


@pytest.fixture(scope="module")
def computed(networks, stored):
    """`computed(config, case)`: name -> array; stages are recorded on the way, once per case."""
    known = {}

    def compute(config, case):
        key = f"{config}_{case}_"
        if key not in known:
            known[key] = _compute(networks[config], stored, key)
        return known[key]

    return compute


def _compute(network, stored, key):
    images = stored[f"{key}image"] / np.float32(127.5) - np.float32(1)
    encoded, decoded = (
        {f"{half}.{name}": x.numpy() for name, x in part.stages(argument)}
        for half, part, argument in (
            ("enc", network.encoder, images),
            ("dec", network.decoder, network.post_quant_conv(stored[f"{key}mode_latent"])),
        )
    )
    moments = network.quant_conv(encoded["enc.conv_out"])
    mean, logvar = split_moments(moments)
    return {
        **encoded, **decoded, "moments": moments, "mean": mean, "logvar": logvar,
        "std": tf.exp(0.5 * logvar), "kl": kl_per_image(mean, logvar),
    }  # fmt: skip


def close(actual, expected, atol, rtol=0.0):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=rtol, atol=atol)


@cases
def test_moments_are_the_oracles(computed, stored, config, case):
    found, key = computed(config, case), f"{config}_{case}_"
    for name in ("moments", "mean", "logvar", "std"):
        close(found[name], stored[key + name], MOMENTS_ATOL)
    close(found["mean"], stored[f"{key}mode_latent"], MOMENTS_ATOL)


@cases
def test_scaled_and_sampled_latents_are_the_oracles(networks, computed, stored, config, case):
    found, key = computed(config, case), f"{config}_{case}_"
    scaled = found["mean"] * networks[config].scaling_factor
    close(scaled, stored[f"{key}scaled_latent"], MOMENTS_ATOL)
    sample = found["mean"] + found["std"] * stored[f"{key}eps"]
    close(sample, stored[f"{key}sample_latent"], MOMENTS_ATOL)


@cases
def test_divergence_and_likelihood_are_the_oracles(computed, stored, config, case):
    found, key = computed(config, case), f"{config}_{case}_"
    close(found["kl"], stored[f"{key}kl"], 0, rtol=1e-5)
    mean, logvar = (np.asarray(found[name], np.float64) for name in ("mean", "logvar"))
    squared = np.square(stored[f"{key}sample_latent"] - mean) / np.exp(logvar)
    nll = 0.5 * np.sum(np.log(2 * np.pi) + logvar + squared, axis=(1, 2, 3))
    close(nll, stored[f"{key}nll_sample"], 0, rtol=1e-5)


@cases
def test_decoded_modes_are_the_oracles(computed, stored, config, case):
    found = computed(config, case)["dec.conv_out"]
    close(found, stored[f"{config}_{case}_decode_mode"], DECODE_ATOL)


@cases
def test_decoded_noise_is_the_oracles_in_strips(networks, stored, config, case):
    key = f"{config}_{case}_"
    found = networks[config].decode_tiled(stored[f"{key}rand_latent"], tile=3)
    close(found, stored[f"{key}decode_rand"], DECODE_ATOL)


@pytest.mark.parametrize("case", ["sq", "odd", "flat"])
def test_decoded_noise_is_the_oracles(networks, stored, case):
    found = networks["tiny"].decode(stored[f"tiny_{case}_rand_latent"])
    close(found, stored[f"tiny_{case}_decode_rand"], DECODE_ATOL)


@pytest.mark.parametrize(("config", "case"), [("tiny", "sq"), ("tiny", "odd"), ("sd1", "sq")])
def test_stages_are_the_oracles(computed, stored, config, case):
    found, key = computed(config, case), f"{config}_{case}_stage_"
    names = stored[f"{key}names"].tolist()
    assert [name for name in found if name[:4] in ("enc.", "dec.")] == names
    for name in names:
        x = found[name][0]
        assert x.shape == tuple(stored[f"{key}shape_{name}"])
        close(x.mean((0, 1)), stored[f"{key}mean_{name}"], STAGE_ATOL)
        sample = x.ravel()[np.linspace(0, x.size - 1, 256).astype("int64")]
        close(sample, stored[f"{key}sample_{name}"], STAGE_ATOL)


def test_log_variances_are_clipped_as_the_oracles(stored):
    mean, logvar = split_moments(stored["clamp_moments"])
    close(logvar, stored["clamp_logvar"], 0)
    close(tf.exp(0.5 * logvar), stored["clamp_std"], 0, rtol=1e-6)
    close(kl_per_image(mean, logvar), stored["clamp_kl"], 0, rtol=1e-5)
