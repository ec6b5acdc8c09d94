"""Every recorded array of the official LadaGAN code is reproduced (tolerances:
tests/golden/README.md).

    python -m pytest tests/test_parity_ladagan.py --fixtures-dir=DIR

reads another set of the same layout: all sizes come from its meta.json.
"""

import functools
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from ladagan_tf.models.attention.additive import AdditiveAttention
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.lada.ladaformer import Ladaformer
from ladagan_tf.models.lada.layers import DownBlock
from ladagan_tf.models.lada.norms import SelfModulatedLayerNorm
from ladagan_tf.official.lada_names import (
    attention_names,
    discriminator_names,
    down_block_names,
    generator_names,
    ladaformer_names,
    load_official,
    sln_names,
)
from ladagan_tf.training import losses
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.augment import augmentation_draws, diff_augment, parse_policy
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.step import discriminator_gradients, generator_gradients

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

    def generator(self, name, resolution, decoder_widths=()):
        config = self.meta["config"]
        generator = Generator(
            resolution=resolution,
            noise_dim=config["noise_dim"],
            widths=config["g_dim"],
            num_heads=config["g_heads"],
            mlp_widths=config["g_mlp"],
            decoder_widths=decoder_widths,
        )
        load_official(generator_names(generator), self.weights(name))
        return generator

    def discriminator(self, name, resolution):
        config = self.meta["config"]
        discriminator = Discriminator(
            resolution=resolution,
            widths=self.meta["d_enc_dim"][str(resolution)],
            out_widths=config["d_out_dim"],
            num_heads=config["d_heads"],
            mlp_width=config["d_mlp"],
        )
        load_official(discriminator_names(discriminator), self.weights(name))
        return discriminator


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    return Recorded(fixtures_dir)


def assert_close(actual, expected, what="", tolerance=1e-4):
    """|a - b| <= tolerance * (1 + |b|) everywhere."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, what
    worst = np.max(np.abs(actual - expected) / (1.0 + np.abs(expected)), initial=0.0)
    assert worst <= tolerance, f"{what}: {worst:.2e}"


def variables_of(generator, discriminator):
    return dict([*generator_names(generator), *discriminator_names(discriminator)])


# ------------------------------------------------------------------------------------- layers


def differentiate(fn, inputs, cotangent):
    inputs = [tf.constant(x) for x in inputs]
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = fn(*inputs)
        tokens = outputs[0] if isinstance(outputs, tuple) else outputs
        loss = tf.reduce_sum(tokens * cotangent)
    return outputs, tape.gradient(loss, inputs)


def block_case(name, config):
    attention = {"num_heads": config["g_heads"][1]}
    mlp = {"mlp_width": config["g_mlp"][1]}
    modulated = {"modulation": "sln", "mlp_residual": False}
    return {
        "attention": (AdditiveAttention(**attention), attention_names, False),
        "sln": (SelfModulatedLayerNorm(), sln_names, True),
        "smladaformer": (Ladaformer(**mlp, **attention, **modulated), ladaformer_names, True),
        "ladaformer": (Ladaformer(**mlp, **attention), ladaformer_names, False),
    }[name]


@pytest.mark.parametrize("name", ["attention", "sln", "smladaformer", "ladaformer"])
def test_layer_outputs_and_input_gradients(recorded, name):
    arrays = recorded.arrays("blocks")
    layer, names, uses_latent = block_case(name, recorded.meta["config"])
    inputs = [arrays["in/x"], arrays["in/z"]][: 1 + uses_latent]
    layer.build(*[x.shape for x in inputs])
    load_official(names(layer, name), arrays)
    outputs, gradients = differentiate(layer, inputs, arrays["in/cotangent"])
    if name == "sln":
        assert_close(outputs, arrays["sln/out"], "out")
    else:
        assert_close(outputs[0], arrays[f"{name}/out"], "out")
        assert_close(outputs[1], arrays[f"{name}/attn"], "attn")
    for gradient, key in zip(gradients, ("grad_x", "grad_z"), strict=False):
        assert_close(gradient, arrays[f"{name}/{key}"], key)


def test_pixel_shuffle_order(recorded):
    arrays = recorded.arrays("blocks")
    tokens = arrays["pixel_upsample/in"]
    out = arrays["pixel_upsample/out"]
    grid = tokens.reshape(len(tokens), out.shape[1] // 2, out.shape[2] // 2, -1)
    np.testing.assert_array_equal(keras.ops.depth_to_space(grid, 2), out)
    np.testing.assert_array_equal(keras.ops.space_to_depth(out, 2), grid)


def test_down_block(recorded):
    arrays = recorded.arrays("blocks")
    block = DownBlock(arrays["downblock/out_training"].shape[-1])
    block.build(arrays["downblock/in"].shape)
    load_official(down_block_names(block, "downblock"), arrays)
    assert_close(block(arrays["downblock/in"]), arrays["downblock/out_inference"])
    assert_close(block(arrays["downblock/in"], training=True), arrays["downblock/out_training"])


# ----------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("resolution", [32, 64])
def test_every_official_variable_is_loaded_once(recorded, resolution):
    name = f"models_{resolution}"
    generator = recorded.generator(name, resolution)
    discriminator = recorded.discriminator(name, resolution)
    ours = [*generator_names(generator), *discriminator_names(discriminator)]
    official = recorded.meta["variables"][name]
    assert sorted(key for key, _ in ours) == sorted(official)
    assert len(ours) == len(generator.weights) + len(discriminator.weights)
    for key, variable in ours:
        assert [list(variable.shape), variable.trainable] == official[key], key


@pytest.mark.parametrize("resolution", [32, 64])
def test_networks_forward(recorded, resolution):
    name = f"models_{resolution}"
    arrays = recorded.arrays(name)
    generator = recorded.generator(name, resolution)
    discriminator = recorded.discriminator(name, resolution)
    images, maps = generator.attention_maps(arrays["in/z"])
    assert_close(generator(arrays["in/z"]), arrays["out/g_image"], "image")
    assert_close(images, arrays["out/g_image"], "image beside the maps")
    for side, weights in zip((8, 16, 32), maps, strict=True):
        assert_close(weights, arrays[f"out/g_attn_{side}"], f"map {side}")
    real, fake = arrays["in/images"], arrays["out/g_image"]
    assert_close(discriminator(real), arrays["out/d_logits_real_inference"], "real")
    assert_close(discriminator(fake), arrays["out/d_logits_fake_inference"], "fake")
    logits = discriminator(real, training=True)
    assert_close(logits, arrays["out/d_logits_real_training"], "real, training")
    for key, variable in discriminator_names(discriminator):
        if "moving" in key:
            assert_close(variable, arrays[f"after_one_training_call/{key}"], key)


def test_convolutional_decoder(recorded):
    arrays = recorded.arrays("convdec_128")
    generator = recorded.generator("convdec_128", 128, recorded.meta["dec_dim_128"])
    assert_close(generator(arrays["in/z"]), arrays["out/g_image_inference"], "inference")
    images = np.asarray(generator(arrays["in/z"], training=True))
    assert_close(images[:, ::4, ::4], arrays["out/g_image_training[:,::4,::4]"], "training")
    for key, variable in generator_names(generator):
        if "moving" in key:
            assert_close(variable, arrays[f"after_one_training_call/{key}"], key)


# -------------------------------------------------------------------------- losses, gradients


@pytest.mark.parametrize("resolution", [32, 64])
def test_losses_from_logits(recorded, resolution):
    arrays = recorded.arrays(f"models_{resolution}")
    real = arrays["out/d_logits_real_inference"]
    fake = arrays["out/d_logits_fake_inference"]
    for key, value in {
        "nsl_d": losses.non_saturating_discriminator(real, fake),
        "nsl_g": losses.non_saturating_generator(fake),
        "hinge_d": losses.hinge_discriminator(real, fake),
        "hinge_g": losses.hinge_generator(fake),
    }.items():
        assert_close(value, arrays[f"loss/{key}"], key)


@pytest.mark.parametrize("resolution", [32, 64])
def test_r1_and_its_input_gradient(recorded, resolution):
    arrays = recorded.arrays(f"models_{resolution}")
    discriminator = recorded.discriminator(f"models_{resolution}", resolution)
    _, gradient = input_gradient(
        lambda x: discriminator(x, training=True), tf.constant(arrays["in/images"]), discriminator
    )
    assert_close(gradient, arrays["loss/r1_input_gradient"], "gradient")
    weighted = recorded.meta["step"]["gp_weight"] * losses.r1_penalty(gradient)
    assert_close(weighted, arrays["loss/r1_weighted"], "R1")


def objective_of(recorded, resolution, **kwargs):
    step = recorded.meta["step"]
    return LadaObjective(
        noise_dim=recorded.meta["config"]["noise_dim"],
        resolution=resolution,
        loss=step["loss"],
        r1_weight=step["gp_weight"],
        **{"policy": "", "bcr_weight": step["cr_weight"], **kwargs},
    )


# Compiling takes most of the time: one resolution stands for both.
@pytest.mark.parametrize(
    ("resolution", "jit"), [(32, False), (64, False), (32, True)], ids=["32", "64", "32-xla"]
)
def test_gradients_of_both_losses(recorded, resolution, jit):
    name = f"models_{resolution}"
    arrays = recorded.arrays(name)
    generator = recorded.generator(name, resolution)
    discriminator = recorded.discriminator(name, resolution)
    objective = objective_of(recorded, resolution)
    batch = {"real": tf.constant(arrays["in/images"])}
    draws = {"z": tf.constant(arrays["in/z"]), "fake": {}, "real": {}}
    networks = (objective, generator, discriminator, batch, draws)
    compiled = functools.partial(tf.function, jit_compile=True) if jit else lambda fn: fn
    d_gradients, d = compiled(lambda: discriminator_gradients(*networks))()
    for key in ("d_loss", "d_total"):
        assert_close(d[key], arrays[f"loss/{key}"], key)
    assert_gradients(d_gradients, discriminator, discriminator_names, arrays, "grad_d_total")
    g_gradients, g = compiled(lambda: generator_gradients(*networks))()
    assert_close(g["g_loss"], arrays["loss/g_loss"], "g_loss")
    assert_gradients(g_gradients, generator, generator_names, arrays, "grad_g_loss")


def by_official_name(gradients, network, names):
    positions = {id(v): i for i, v in enumerate(network.trainable_variables)}
    return {key: gradients[positions[id(v)]] for key, v in names(network) if id(v) in positions}


def assert_gradients(gradients, network, names, arrays, prefix):
    ours = by_official_name(gradients, network, names)
    expected = {k.removeprefix(f"{prefix}/"): a for k, a in arrays.items() if k.startswith(prefix)}
    assert expected
    for key, array in expected.items():
        if DEAD_BIAS in key:
            assert np.max(np.abs(ours[key])) < 1e-5, key
        else:
            assert_close(ours[key], array, key)


# ------------------------------------------------------------------------------- augmentation


def named_draws(policy, size, arrays):
    """Recorded draws in call order, under our names."""
    names = augmentation_draws(policy, size)
    return {name: np.reshape(next(arrays), -1) for name in names}


DIFFAUGMENT = ["color", "translation", "cutout", "color+translation", "color+translation+cutout"]


@pytest.mark.parametrize("policy", DIFFAUGMENT)
@pytest.mark.parametrize("size", [32, 24])
def test_diff_augment(recorded, policy, size):
    arrays = recorded.arrays("diffaug")
    steps = parse_policy(policy.replace("+", ","))
    prefix = f"{size}/{policy}"
    draws = (arrays[f"{prefix}/draw_{i}"] for i in range(7))
    images = tf.constant(arrays[f"{size}/in"])
    out = diff_augment(images, named_draws(steps, size, draws), steps)
    assert_close(out, arrays[f"{prefix}/out"])


def test_diff_augment_input_gradient(recorded):
    arrays = recorded.arrays("diffaug")
    steps = parse_policy("color,translation,cutout")
    draws = named_draws(steps, 32, (arrays[f"grad/draw_{i}"] for i in range(7)))
    _, (gradient,) = differentiate(
        lambda x: diff_augment(x, draws, steps), [arrays["32/in"]], arrays["grad/cotangent"]
    )
    assert_close(gradient, arrays["grad/input_gradient"])


# -------------------------------------------------------------------------- whole training steps

STEPS = {
    "step_32": {"policy": "", "bcr": False},
    "step_32_diffaug": {"policy": "color,translation", "bcr": False},
    "step_32_bcr": {"policy": "color,translation,cutout", "bcr": True},
}
OFFICIAL_METRICS = {
    "g_loss": "g_loss",
    "d_loss": "d_loss",
    "r1": "gp",
    "d_total": "d_total",
    "real_logits": "real_acc",
    "fake_logits": "fake_acc",
    "bcr": "cr",
}


def training_model(recorded, objective):
    step = recorded.meta["step"]
    generator = recorded.generator("models_32", 32)
    discriminator = recorded.discriminator("models_32", 32)
    gan = AdversarialModel(generator, discriminator, recorded.generator("models_32", 32), objective)
    for average, weight in zip(gan.averaged.weights, generator.weights, strict=True):
        average.assign(0.5 * weight)
    gan.compile(
        keras.optimizers.Adam(step["g_lr"], step["g_beta1"], step["g_beta2"], epsilon=1e-7),
        keras.optimizers.Adam(step["d_lr"], step["d_beta1"], step["d_beta2"], epsilon=1e-7),
        ema_decay=step["ema_decay"],
    )
    return gan


def recorded_draws(arrays, number, objective):
    """Latents and augmentation draws of step `number`, D phase and G phase."""
    steps, size = objective.steps, objective.resolution
    z_d, z_g = arrays["in/noise"][number - 1]
    drawn = (arrays[f"step{number}/draw_{j:02d}"] for j in range(99))
    # Call order: without bCR fakes come first, with it reals do, and G then draws nothing.
    order = ("real", "fake") if objective.bcr else ("fake", "real")
    d = {"z": z_d, **{side: named_draws(steps, size, drawn) for side in order}}
    g = {"z": z_g, "fake": {} if objective.bcr else named_draws(steps, size, drawn)}
    return keras.tree.map_structure(tf.constant, (d, g))


def assert_weights(actual, expected, reach, share, what):
    """Equal to 1e-4, but for a small `share` of elements whose gradient is rounding noise.

    Adam moves each element by about lr whatever the size of its gradient, so such an element may
    have gone the other way at every step so far: up to `reach`.
    """
    difference = np.abs(np.asarray(actual) - expected)
    off = difference > 1e-4 * (1.0 + np.abs(expected))
    assert np.count_nonzero(off) <= max(1, share * off.size), f"{what}: {np.mean(off):.1%} differ"
    assert np.max(difference) <= reach, f"{what}: {np.max(difference):.1e}"


def update_reach(key, number, step):
    """How far one weight can be from the recorded one if noise decided every sign until now."""
    rate = step["d_lr"] if key.startswith("discriminator") else step["g_lr"]
    return 2.2 * rate * number


# Neither traced nor compiled: compiled gradients are compared above, and compiled with plain steps
# in training/test_adversarial.py.
@pytest.mark.usefixtures("eagerly")
@pytest.mark.parametrize("name", STEPS)
def test_training_steps(recorded, name):
    arrays, step = recorded.arrays(name), recorded.meta["step"]
    objective = objective_of(recorded, 32, **STEPS[name])
    gan = training_model(recorded, objective)
    named = variables_of(gan.generator, gan.discriminator)
    named |= dict(generator_names(gan.averaged, "ema_generator"))
    if "step1/grad_sum_l2" in arrays:
        assert_first_gradients(recorded, arrays, objective)
    # From the second step on, noise of the first has moved weights by up to 2 lr and with them all
    # that follows; two compilations of the official code differ likewise. So the first step is
    # compared strictly.
    for number in range(1, len(arrays["in/real_images"]) + 1):
        tolerance, share = (1e-4, 0.005) if number == 1 else (1e-3, 0.1)
        real = {"real": tf.constant(arrays["in/real_images"][number - 1])}
        metrics = gan.adversarial_step(real, *recorded_draws(arrays, number, objective))
        for ours, official in OFFICIAL_METRICS.items():
            expected = arrays[f"step{number}/metric/{official}"]
            what = f"step {number} {ours}"
            assert_close(metrics.get(ours, 0.0), expected, what, tolerance)
        prefix = f"step{number}/after/"
        recorded_names = [key.removeprefix(prefix) for key in arrays if key.startswith(prefix)]
        for name in recorded_names:
            key = name.removesuffix("[:4]")
            if DEAD_BIAS not in key:
                expected = arrays[prefix + name]
                actual = named[key].numpy()[: len(expected)]
                reach = update_reach(key, number, step)
                assert_weights(actual, expected, reach, share, f"{prefix}{key}")
        assert_norms(arrays, number, named, step)


def assert_norms(arrays, number, named, step):
    """L2 norm of every weight; the slack is 2 % of the elements having gone the other way."""
    names = [str(name) for name in arrays["sum_l2_names"]]
    assert sorted(names) == sorted(named)
    for key, (_, norm) in zip(names, arrays[f"step{number}/sum_l2"], strict=True):
        value = named[key].numpy().astype(np.float64)
        moved = update_reach(key, number, step) * np.sqrt(max(1.0, 0.02 * value.size))
        slack = 1e-4 * (1.0 + norm) + moved * (0.0 if number == 1 and norm > 1.0 else 1.0)
        assert DEAD_BIAS in key or abs(np.linalg.norm(value) - norm) <= slack, f"{number} {key}"


def assert_first_gradients(recorded, arrays, objective):
    """Gradients of the first step: D's on the initial weights, G's through the updated D."""
    gan = training_model(recorded, objective)
    d_draws, g_draws = recorded_draws(arrays, 1, objective)
    batch = {"real": tf.constant(arrays["in/real_images"][0])}
    networks = (objective, gan.generator, gan.discriminator, batch)
    d_gradients, _ = discriminator_gradients(*networks, d_draws)
    gan.d_optimizer.apply(d_gradients, gan.discriminator.trainable_variables)
    g_gradients, _ = generator_gradients(*networks, g_draws)
    ours = by_official_name(g_gradients, gan.generator, generator_names)
    ours |= by_official_name(d_gradients, gan.discriminator, discriminator_names)
    names = [str(n) for n in arrays["grad_sum_l2_names"]]
    assert sorted(names) == sorted(ours)
    for key, (total, norm) in zip(names, arrays["step1/grad_sum_l2"], strict=True):
        value = np.asarray(ours[key], np.float64)
        if DEAD_BIAS in key:
            assert np.max(np.abs(value)) < 1e-5, key
            continue
        assert abs(np.sqrt(np.sum(value**2)) - norm) <= 1e-4 * (1.0 + norm), key
        assert abs(np.sum(value) - total) <= 1e-4 * (1.0 + norm) * np.sqrt(value.size), key
    for key in [k for k in arrays if k.startswith("step1/grad/")]:
        name = key.removeprefix("step1/grad/")
        if DEAD_BIAS not in name:
            assert_close(ours[name], arrays[key], name)
