"""LadaGAN with classes: the unconditional networks at first, then the formulas."""

import functools
import math
import unittest.mock

import keras
import numpy as np
import pytest
from ladagan_networks import Z, latents, number, pictures, tiny_discriminator, tiny_generator

from ladagan_tf.models.blank import blank_of, shapes_only
from ladagan_tf.models.classes import ClassTable
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.transfer import as_conditional
from ladagan_tf.training.autodiff import value_and_grad

K = 3
GENERATORS = {
    "every SLN": {},
    "the mapping": {"modulation": "vitgan_sln"},
    "tokens": {"modulation": "layer_norm", "class_tokens": True},
}
EVERY_GENERATOR = pytest.mark.parametrize("given", GENERATORS.values(), ids=GENERATORS)
EVERY_HEAD = pytest.mark.parametrize("head", ["projection", "pooled", "pure"])


@functools.cache
def made(make, **given):
    with blank_of(math.inf):  # filled below
        return make(num_classes=K, **given)


def conditional_generator(randomised, **given):
    """Built once, with other weights for every test."""
    return randomised(made(tiny_generator, **given))


def conditional_discriminator(randomised, head):
    return randomised(made(tiny_discriminator, class_head=head, class_dim=6))


def of_every_class(x):
    """The same inputs for each class, and the labels."""
    return np.concatenate([x] * K), np.repeat(np.arange(K), len(x))


# ---------------------------------------------------------------------- zero class weights


@EVERY_GENERATOR
def test_a_generator_made_conditional_makes_the_same_images_for_every_label(rng, randomised, given):
    given, how = dict(given), {"class_tokens": "class_tokens" in given}
    given.pop("class_tokens", None)
    before = randomised(tiny_generator(**given))
    after = as_conditional(before, K, **how)
    z, labels = of_every_class(latents(rng))
    (images, maps), (theirs, their_maps) = before.attention_maps(z), after.attention_maps(z, labels)
    np.testing.assert_array_equal(number(theirs), number(images))
    for ours, expected in zip(their_maps, maps, strict=True):
        np.testing.assert_array_equal(number(ours), number(expected))


@pytest.mark.parametrize("head", ["projection", "pooled"])
def test_a_discriminator_made_conditional_gives_the_same_logits_for_every_label(
    rng, randomised, head
):
    before = randomised(tiny_discriminator())
    after = as_conditional(before, K, class_head=head)
    images, labels = of_every_class(pictures(rng, 32))
    np.testing.assert_array_equal(number(after(images, labels)), number(before(images)))


def test_what_is_new_has_the_sizes_of_the_paper_s_networks():
    with shapes_only():
        networks = {kind: [kind(), kind(num_classes=10)] for kind in (Generator, Discriminator)}
    new = {k: b.count_params() - a.count_params() for k, (a, b) in networks.items()}
    assert new[Generator] == 2 * 128 * (1024 + 256 + 64) + 10 * 128 == 344_064 + 1_280
    assert new[Discriminator] == 1_048_576 + 10 * 64


# ------------------------------------------------------------------------------ the formulas


@pytest.mark.parametrize("classes", [0, K])
def test_psi_moves_what_the_norms_read_towards_its_mean_for_each_class(rng, randomised, classes):
    generator = randomised(tiny_generator(num_classes=classes, modulation="vitgan_sln"))
    assert generator.truncates
    z, seen = latents(rng, 3), []
    labels = [np.array([2, 0, 2])] if classes else []

    def mapped(z):
        """Two dense layers in float64, the first one beside the class's vector."""
        added = 0.0
        if classes:
            rows = number(generator.classes.table).astype("float64")[labels[0]]
            rows = rows / np.sqrt(np.mean(rows**2, axis=1, keepdims=True) + 1e-8)
            added = (rows @ number(generator.class_mapping.kernel))[:, None]
        for layer in generator.mapping:
            kernel, bias = number(layer.kernel).astype("float64"), number(layer.bias)
            z, added = np.maximum(z @ kernel + bias + added, 0.0), 0.0
        return z

    fixed = np.random.default_rng(0).standard_normal((1, 1024, Z))
    mean = mapped(fixed).mean(axis=1)  # (3, Z), or (1, Z)
    style = mapped(z[:, None].astype("float64"))[:, 0]
    block = generator.blocks[0]
    with unittest.mock.patch.object(
        type(block), "call", lambda self, x, w, r=None: (seen.append(number(w)), (x, None))[1]
    ):
        for psi in (0.0, 0.3, 1.0):
            generator(z, *labels, psi=psi)
            expected = mean + psi * (style - mean)
            np.testing.assert_allclose(seen[-1], expected, rtol=2e-5, atol=2e-6)
    whole, half = (number(generator(z, *labels, psi=psi)) for psi in (1.0, 0.5))
    np.testing.assert_array_equal(number(generator(z, *labels)), whole)
    assert np.abs(whole - half).max() > 1e-3
    np.testing.assert_array_equal(number(generator.attention_maps(z, *labels, psi=0.5)[0]), half)


def test_without_a_mapping_there_is_no_mean_style(rng):
    generator = tiny_generator()
    assert not generator.truncates
    with pytest.raises(ValueError, match="only modulation='vitgan_sln' has a mean style"):
        generator(latents(rng), psi=0.5)


@EVERY_HEAD
def test_what_a_class_adds_to_the_logits_is_the_formula(rng, randomised, head):
    discriminator, labels = conditional_discriminator(randomised, head), np.array([2, 0])
    features = rng.standard_normal((2, 8, 8, 5)).astype("float32")
    table = number(discriminator.classes.table).astype("float64")[labels]
    kernel = number(discriminator.to_class.kernel).astype("float64")
    corners = [(i, j) for i in range(5) for j in range(5)]
    windows = np.stack([features[:, i : i + 4, j : j + 4] for i, j in corners], 1)
    patches = np.einsum("bphwc,hwcd->bpd", windows.astype("float64"), kernel)
    if head == "pooled":
        patches = patches.mean(axis=1, keepdims=True)
    if head == "pure":
        table = table @ number(discriminator.embed.kernel) + number(discriminator.embed.bias)
        table = np.where(table > 0, table, 0.2 * table)
    expected = np.einsum("bpd,bd->bp", patches, table) / np.sqrt(6)
    found = discriminator._belonging(keras.ops.convert_to_tensor(features), labels)
    np.testing.assert_allclose(number(found), expected, rtol=1e-4, atol=1e-4)


@EVERY_HEAD
def test_logits_are_the_unconditional_ones_and_what_the_class_adds(rng, randomised, head):
    discriminator, images = conditional_discriminator(randomised, head), pictures(rng, 32)
    logits = number(discriminator(*of_every_class(images))).reshape(K, 2, 25)
    kept = number(discriminator.classes.table)
    discriminator.classes.table.assign(np.zeros_like(kept))
    if head == "pure":
        discriminator.embed.bias.assign(np.zeros(6))
    plain = number(discriminator(images, np.zeros(2, int)))
    added = logits - plain  # (K, 2, 25)
    assert np.abs(plain).max() == 0.0 if head == "pure" else np.abs(plain).max() > 0.1
    constant = np.ptp(added, axis=2).max() < 1e-4
    assert constant == (head == "pooled") and np.abs(added).max() > 0.01


def test_class_vectors_are_as_long_as_latents(rng, randomised):
    generator = conditional_generator(randomised)
    table = number(generator.classes.table).astype("float64")
    expected = table / np.sqrt(np.mean(table**2, axis=1, keepdims=True) + 1e-8)
    np.testing.assert_allclose(
        number(generator._class_vectors(np.arange(K))), expected, rtol=1e-5, atol=1e-6
    )
    np.testing.assert_allclose(np.sum(expected**2, axis=1), generator.noise_dim, rtol=1e-3)


# ------------------------------------------------------------------------------ classes alone


CONDITIONAL = {
    "every SLN": lambda fill: conditional_generator(fill),
    "the mapping": lambda fill: conditional_generator(fill, **GENERATORS["the mapping"]),
    "tokens": lambda fill: conditional_generator(fill, **GENERATORS["tokens"]),
    "projection": lambda fill: conditional_discriminator(fill, "projection"),
    "pooled": lambda fill: conditional_discriminator(fill, "pooled"),
    "pure": lambda fill: conditional_discriminator(fill, "pure"),
}


def conditional(rng, randomised, kind, count):
    """A network of `CONDITIONAL` and so many inputs."""
    network = CONDITIONAL[kind](randomised)
    judges = isinstance(network, Discriminator)
    return network, pictures(rng, 32, count) if judges else latents(rng, count)


@pytest.mark.parametrize("kind", ["every SLN", "the mapping", "tokens", "pure"])
def test_to_number_the_classes_otherwise_changes_nothing(rng, randomised, kind):
    network, x = conditional(rng, randomised, kind, 3)
    labels, order = np.array([0, 1, 2]), np.array([2, 0, 1])
    before = number(network(x, labels))
    assert np.abs(before - number(network(x, np.zeros(3, int))))[1:].max() > 1e-3
    table = number(network.classes.table)
    network.classes.table.assign(table[np.argsort(order)])
    np.testing.assert_array_equal(number(network(x, order[labels])), before)


def test_swapped_labels_of_two_images_swap_only_their_logits(rng, randomised):
    discriminator, images = (
        conditional_discriminator(randomised, "projection"),
        pictures(rng, 32, 3),
    )
    images[1] = images[0]
    one, other = (
        number(discriminator(images, np.array(labels))) for labels in ([0, 1, 2], [1, 0, 2])
    )
    assert np.abs(one[0] - one[1]).max() > 0.01
    np.testing.assert_allclose(one[[1, 0, 2]], other, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", ["every SLN", "projection", "pooled", "pure"])
def test_classes_that_are_absent_have_no_gradient(rng, randomised, kind):
    network, x = conditional(rng, randomised, kind, 2)
    _, gradients = value_and_grad(
        lambda: (keras.ops.sum(keras.ops.square(network(x, np.array([2, 2])))), ()), network
    )
    (i,) = (i for i, v in enumerate(network.trainable_variables) if v is network.classes.table)
    rows = np.abs(number(gradients[i])).max(axis=1)
    assert rows[2] > 0 and not rows[:2].any()


# ------------------------------------------------------------------- precision, saving, refusals


def test_classes_stay_float32_where_the_rest_is_half(rng):
    generator = tiny_generator(num_classes=K, class_tokens=True, dtype="mixed_bfloat16")
    discriminator = tiny_discriminator(num_classes=K, dtype="mixed_bfloat16")
    assert {n.classes.compute_dtype for n in (generator, discriminator)} == {"float32"}
    logits = discriminator(generator(latents(rng), np.array([0, 2])), np.array([0, 2]))
    assert logits.dtype == "float32" and np.isfinite(number(logits)).all()


@pytest.mark.parametrize("kind", ["the mapping", "tokens", "pure"])
def test_a_saved_conditional_network_loads_with_the_same_outputs(rng, randomised, tmp_path, kind):
    network, x = conditional(rng, randomised, kind, 2)
    network.save(tmp_path / "network.keras")
    loaded, labels = keras.saving.load_model(tmp_path / "network.keras"), np.array([2, 1])
    assert loaded.get_config() == network.get_config()
    np.testing.assert_array_equal(number(loaded(x, labels)), number(network(x, labels)))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: tiny_generator(num_classes=-1), "num_classes=-1: give a positive integer, or 0"),
        (lambda: tiny_discriminator(num_classes=2.0), "num_classes=2.0: give a positive integer"),
        (lambda: tiny_generator(class_tokens=True), "class_tokens=True with num_classes=0"),
        (
            lambda: tiny_generator(num_classes=2, modulation="layer_norm"),
            "num_classes=2 with modulation='layer_norm': these norms read no class",
        ),
        (lambda: tiny_discriminator(class_head="no"), "class_head='no' is not one of projection"),
        (lambda: tiny_discriminator(num_classes=2, class_dim=0), "class_dim=0: give a pos"),
        (lambda: tiny_generator()(np.zeros((1, 6)), np.zeros(1)), "generator has no classes; give"),
        (lambda: made(tiny_generator)(np.zeros((1, 6))), "generator has 3 classes; give"),
        (
            lambda: made(tiny_generator)(np.zeros((2, 6), "f"), np.zeros(1, "i")),
            r"labels of shape \(1,\): give one for each of the 2 samples",
        ),
        (lambda: tiny_generator()(np.zeros((2, 3, 6))), r"z of shape \(2, 3, 6\): give \(B, 6\)"),
        (lambda: tiny_generator()(np.zeros((0, 6))), r"z of shape \(0, 6\): .*, one or more of"),
        (
            lambda: tiny_discriminator()(np.zeros((2, 64, 64, 3))),
            r"images of shape \(2, 64, 64, 3\): give \(B, 32, 32, 3\)",
        ),
        (
            lambda: as_conditional(tiny_discriminator(), 2, class_head="pure"),
            "class_head='pure': it has no unconditional logits",
        ),
        (
            lambda: as_conditional(made(tiny_generator), 2),
            "generator has 3 classes already",
        ),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="JAX wraps and clips labels")
def test_a_label_of_no_class_is_refused(randomised):
    generator = conditional_generator(randomised)
    for label in (-1, K):
        with pytest.raises(ValueError, match=rf"labels: \[{label}\] is no class; give 0 to 2"):
            generator(np.zeros((2, 6), "f"), np.int32([0, label]))


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint32", "int64"])
def test_labels_are_integers_of_any_size(dtype):
    table = ClassTable(4, 5)
    labels = np.asarray([3, 0], dtype)
    np.testing.assert_array_equal(number(table(labels)), number(table.table)[[3, 0]])


def test_a_table_of_zeros_starts_at_zero():
    table = ClassTable(4, 5, stddev=0.0)
    table.build()
    assert not number(table.table).any()
