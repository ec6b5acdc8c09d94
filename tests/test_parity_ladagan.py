"""Every recorded array of the official LadaGAN code is reproduced (tolerances:
tests/golden/README.md); whole training steps in test_parity_ladagan_step.py.

    python -m pytest tests/test_parity_ladagan*.py --fixtures-dir=DIR

reads another set of the same layout: all sizes come from its meta.json.
"""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from recorded_ladagan import (
    DEAD_BIAS,
    Recorded,
    assert_close,
    by_official_name,
    named_draws,
    objective_of,
)

from ladagan_tf.models.attention.additive import AdditiveAttention
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
from ladagan_tf.training.augment import diff_augment, parse_policy
from ladagan_tf.training.autodiff import input_gradient
from ladagan_tf.training.step import discriminator_gradients, generator_gradients


@pytest.fixture(scope="module")
def recorded(fixtures_dir):
    return Recorded(fixtures_dir)


@pytest.fixture(scope="module")
def built(recorded):
    """`built(resolution)`: G and D, built once."""

    @functools.cache
    def build(resolution):
        name = f"models_{resolution}"
        return recorded.generator(name, resolution), recorded.discriminator(name, resolution)

    return build


@pytest.fixture
def networks(recorded, built, resolution):
    """G and D of a resolution with the recorded weights."""
    weights, made = recorded.weights(f"models_{resolution}"), built(resolution)
    for network, names in zip(made, (generator_names, discriminator_names), strict=True):
        load_official(names(network), weights)
    return made


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
def test_every_official_variable_is_loaded_once(recorded, networks, resolution):
    generator, discriminator = networks
    ours = [*generator_names(generator), *discriminator_names(discriminator)]
    official = recorded.meta["variables"][f"models_{resolution}"]
    assert sorted(key for key, _ in ours) == sorted(official)
    assert len(ours) == len(generator.weights) + len(discriminator.weights)
    for key, variable in ours:
        assert [list(variable.shape), variable.trainable] == official[key], key


@pytest.mark.parametrize("resolution", [32, 64])
def test_networks_forward(recorded, networks, resolution):
    arrays = recorded.arrays(f"models_{resolution}")
    generator, discriminator = networks
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
def test_r1_and_its_input_gradient(recorded, networks, resolution):
    arrays = recorded.arrays(f"models_{resolution}")
    _, discriminator = networks
    _, gradient = input_gradient(
        lambda x: discriminator(x, training=True), tf.constant(arrays["in/images"]), discriminator
    )
    assert_close(gradient, arrays["loss/r1_input_gradient"], "gradient")
    weighted = recorded.meta["step"]["gp_weight"] * losses.r1_penalty(gradient)
    assert_close(weighted, arrays["loss/r1_weighted"], "R1")


def given_to(objective, generator, discriminator, arrays):
    """What both gradient functions take."""
    batch = {"real": tf.constant(arrays["in/images"])}
    draws = {"z": tf.constant(arrays["in/z"]), "fake": {}, "real": {}}
    return objective, generator, discriminator, batch, draws


@pytest.mark.parametrize("resolution", [32, 64])
def test_gradients_of_both_losses(recorded, networks, resolution):
    arrays = recorded.arrays(f"models_{resolution}")
    generator, discriminator = networks
    given = given_to(objective_of(recorded, resolution), generator, discriminator, arrays)
    d_gradients, d = discriminator_gradients(*given)
    for key in ("d_loss", "d_total"):
        assert_close(d[key], arrays[f"loss/{key}"], key)
    assert_gradients(d_gradients, discriminator, discriminator_names, arrays, "grad_d_total")
    g_gradients, g = generator_gradients(*given)
    assert_close(g["g_loss"], arrays["loss/g_loss"], "g_loss")
    assert_gradients(g_gradients, generator, generator_names, arrays, "grad_g_loss")


# Compiling takes most of the time: one resolution stands for both, and each network is compiled
# once: D for the recorded images, G for the gradient of its loss with respect to them.
@pytest.mark.parametrize("resolution", [32])
def test_gradients_compiled_by_xla(recorded, networks, resolution):
    arrays = recorded.arrays(f"models_{resolution}")
    (generator, discriminator), fake = networks, tf.constant(arrays["out/g_image"])
    compiled = functools.partial(tf.function, jit_compile=True, autograph=False)
    objective, *given = given_to(
        objective_of(recorded, resolution), lambda *_, **__: fake, discriminator, arrays
    )
    d_gradients, d = compiled(lambda: discriminator_gradients(objective, *given))()
    for key in ("d_loss", "d_total"):
        assert_close(d[key], arrays[f"loss/{key}"], key)
    assert_gradients(d_gradients, discriminator, discriminator_names, arrays, "grad_d_total")
    _, wanted = input_gradient(
        lambda x: objective.generator_loss(lambda *_, **__: x, *given[1:])[0], fake, discriminator
    )

    @compiled
    def generator_gradients_of(z):
        with tf.GradientTape() as tape:
            change = tf.reduce_sum(generator(z, training=True) * wanted)
        return tape.gradient(change, generator.trainable_variables)

    g_gradients = generator_gradients_of(tf.constant(arrays["in/z"]))
    assert_gradients(g_gradients, generator, generator_names, arrays, "grad_g_loss")


CLASSES = 3


def of_every_class(array):
    """The array once for each class, and the labels."""
    return np.concatenate([array] * CLASSES), np.repeat(np.arange(CLASSES), len(array))


@pytest.mark.parametrize("resolution", [32, 64])
def test_networks_of_classes_whose_weights_are_zero_are_the_recorded_ones(recorded, resolution):
    """For every label: images, maps, logits, and the gradients of all weights but the classes'."""
    name = f"models_{resolution}"
    arrays = recorded.arrays(name)
    generator = recorded.generator(name, resolution, num_classes=CLASSES)
    discriminator = recorded.discriminator(name, resolution, num_classes=CLASSES)
    z, real, fake = arrays["in/z"], arrays["in/images"], arrays["out/g_image"]
    images, maps = generator.attention_maps(*of_every_class(z))
    assert_close(images, of_every_class(fake)[0], "images")
    for side, weights in zip((8, 16, 32), maps, strict=True):
        assert_close(weights, of_every_class(arrays[f"out/g_attn_{side}"])[0], f"map {side}")
    for kind, x in (("real", real), ("fake", fake)):
        logits = discriminator(*of_every_class(x))
        assert_close(logits, of_every_class(arrays[f"out/d_logits_{kind}_inference"])[0], kind)
    objective = objective_of(recorded, resolution, conditional=True)
    given = given_to(objective, generator, discriminator, arrays)
    given[3]["labels"] = tf.constant(np.arange(len(real)) % CLASSES)
    d_gradients, d = discriminator_gradients(*given)
    assert_close(d["d_total"], arrays["loss/d_total"], "d_total")
    assert_gradients(d_gradients, discriminator, discriminator_names, arrays, "grad_d_total")
    g_gradients, g = generator_gradients(*given)
    assert_close(g["g_loss"], arrays["loss/g_loss"], "g_loss")
    assert_gradients(g_gradients, generator, generator_names, arrays, "grad_g_loss")


def test_a_decoder_of_classes_whose_weights_are_zero_is_the_recorded_one(recorded):
    arrays = recorded.arrays("convdec_128")
    generator = recorded.generator("convdec_128", 128, recorded.meta["dec_dim_128"], CLASSES)
    images = generator(*of_every_class(arrays["in/z"]))
    assert_close(images, of_every_class(arrays["out/g_image_inference"])[0])


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
