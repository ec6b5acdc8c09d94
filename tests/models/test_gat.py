"""GAT's two networks: sizes of the paper, what their structure promises, errors, XLA and saving."""

import dataclasses

import keras
import numpy as np
import pytest
from gat_paper_sizes import (
    DEAD_EMBEDDING,
    DISCRIMINATOR,
    GENERATOR,
    TABLE,
    WITHOUT_PROJECTOR,
    shapes_only,
    sizes,
)
from keras import ops

from ladagan_tf.models.gat import GatDiscriminator, GatGenerator
from ladagan_tf.models.gat_layers import swiglu_width
from ladagan_tf.models.gat_sizes import SIZES
from ladagan_tf.training.autodiff import input_gradient, value_and_grad

S, CLASSES, Z, K = 8, 5, 6, 4
TINY = {"latent_size": S, "patch": 2, "width": 16, "depth": 4, "num_heads": 2}
TINY |= {"num_classes": CLASSES, "channels": 3}
LABELS = np.array([3, 1, 3], "int32")


def number(tensor):
    return ops.convert_to_numpy(tensor)


def tiny_generator(**others):
    return GatGenerator(**{**TINY, "noise_dim": Z, **others})


def tiny_discriminator(**others):
    head = {"class_dim": 12, "projector_dim": 7, "teacher_dim": 5}
    return GatDiscriminator(**{**TINY, **head, **others})


@pytest.fixture
def z(rng):
    return rng.standard_normal((3, Z)).astype("float32")


@pytest.fixture
def levels(rng):
    return rng.standard_normal((3, S, S, K * 3)).astype("float32")


@pytest.fixture
def generator(randomised):
    return randomised(tiny_generator())


@pytest.fixture
def discriminator(randomised):
    return randomised(tiny_discriminator())


def zero(*weights):
    for weight in weights:
        weight.assign(np.zeros(weight.shape))


# ------------------------------------------------------------------------- the paper's sizes


def block_parameters(width, num_heads):
    inner = swiglu_width(width)
    attention = 4 * width**2 + 4 * width + 2 * width // num_heads
    return attention + 3 * width * inner + 2 * inner + width


def trained_in_generator(name, patch):
    """The spec's closed form, less the table of positions and the dead patch embedding."""
    width, depth, num_heads = dataclasses.astuple(SIZES[name])
    mapping = 64 * 1000 + (128 * width + width) + (width**2 + width)
    block = block_parameters(width, num_heads) + 4 * width**2 + 4 * width
    head = (width + 1) * 4 * patch**2 + width**2 + width
    return mapping + depth * block + 4 * head


def trained_in_discriminator(name, patch, projector=True):
    width, depth, num_heads = dataclasses.astuple(SIZES[name])
    classes = 2048 * 1000 + 2 * (2048**2 + 2048)
    block = block_parameters(width, num_heads) + 4 * width
    head = width + 2048 * width + 2048
    total = width + (16 * patch**2 + 1) * width + classes + depth * block + head
    return total + projector * ((width + 1) * 2048 + 2049 * 2048 + 2049 * 768)


def trained(network):
    return sum(int(np.prod(w.shape)) for w in network.trainable_variables)


@pytest.mark.parametrize(("name", "patch"), GENERATOR)
def test_generator_has_the_parameters_of_the_official_code(name, patch):
    with shapes_only():
        generator = GatGenerator(**sizes(name, patch))
    width = generator.width
    table = (32 // patch) ** 2 * width
    assert trained(generator) == trained_in_generator(name, patch)
    assert generator.count_params() == trained(generator) + table + 1000 * width
    dead = 4 * patch**2 * width + width
    assert trained(generator) + table + dead == GENERATOR[name, patch]
    if patch == 2:
        assert (table, dead) == (TABLE[name], DEAD_EMBEDDING[name])


@pytest.mark.parametrize(("name", "patch"), DISCRIMINATOR)
def test_discriminator_has_the_parameters_of_the_official_code(name, patch):
    with shapes_only():
        discriminator = GatDiscriminator(**sizes(name, patch))
    assert discriminator.count_params() == DISCRIMINATOR[name, patch]
    table = (32 // patch) ** 2 * discriminator.width
    assert trained(discriminator) == trained_in_discriminator(name, patch)
    assert trained(discriminator) == DISCRIMINATOR[name, patch] - table


@pytest.mark.parametrize("name", WITHOUT_PROJECTOR)
def test_discriminator_without_projector_has_the_official_parameters(name):
    with shapes_only():
        discriminator = GatDiscriminator(**sizes(name, 2, teacher_dim=None))
    assert discriminator.count_params() == WITHOUT_PROJECTOR[name]
    assert trained(discriminator) == trained_in_discriminator(name, 2, projector=False)


def test_counting_shapes_is_counting_weights():
    with shapes_only():
        networks = [tiny_generator(), tiny_discriminator()]
    real = [tiny_generator(), tiny_discriminator()]
    assert [n.count_params() for n in networks] == [n.count_params() for n in real]


def test_taps_of_the_four_sizes_are_the_official_ones():
    with shapes_only():
        taps = [GatGenerator(**sizes(name, 8)).taps for name in SIZES]
    assert taps == [(2, 5, 8, 11), (2, 5, 8, 11), (5, 11, 17, 23), (6, 13, 20, 27)]


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_size": 12, "patch": 4},
        {"levels": 2},
        {"depth": 3, "levels": 1},
        {"depth": 5, "levels": 3, "taps": (0, 1, 4)},
        {"channels": 16},
    ],
)
def test_shapes_follow_the_sizes(rng, z, changes):
    generator = tiny_generator(**changes)
    changes.pop("taps", None)
    discriminator = tiny_discriminator(**changes)
    outputs = generator(z, LABELS, return_levels=True)
    side = generator.resolution
    shape = (3, side, side, generator.channels)
    assert [o.shape for o in outputs] == [shape] * generator.levels
    assert generator.compute_output_shape(z.shape) == shape
    logits, cls, patches = discriminator(outputs, LABELS, return_features=True)
    assert logits.shape == discriminator.compute_output_shape(shape) == (3, 1)
    assert cls.shape == (3, 5) and patches.shape == (3, discriminator.grid**2, 5)


# --------------------------------------------------------------------------------- generator


def test_outputs_are_cumulative_and_the_last_is_the_sample(generator, z):
    outputs = [number(o) for o in generator(z, LABELS, return_levels=True)]
    np.testing.assert_array_equal(generator(z, LABELS), outputs[-1])
    head = generator.heads[2].to_patch
    before = outputs[3] - outputs[2]
    zero(head.kernel, head.bias)
    outputs = [number(o) for o in generator(z, LABELS, return_levels=True)]
    np.testing.assert_array_equal(outputs[2], outputs[1])
    np.testing.assert_allclose(outputs[3] - outputs[2], before, atol=1e-5)


def test_with_gates_closed_tokens_stay_positions_and_samples_differ_by_their_heads(generator, z):
    width = generator.width
    for block in generator.blocks:
        for weight in (block.modulation.kernel, block.modulation.bias):
            value = number(weight).copy()
            value[..., width : 2 * width] = value[..., 3 * width :] = 0.0
            weight.assign(value)
    style = generator.style(z, LABELS)
    x = table = ops.expand_dims(generator.positions, 0)
    for block in generator.blocks:
        x = block(x, style)
        np.testing.assert_array_equal(x, np.repeat(number(table), 3, axis=0))
    a, b, _ = number(generator(z, LABELS))
    assert np.max(np.abs(a - b)) > 0
    for head in generator.heads:
        zero(head.modulation.kernel, head.modulation.bias)
    a, b, _ = number(generator(z, LABELS))
    np.testing.assert_allclose(a, b, atol=1e-6)


def test_a_sample_does_not_depend_on_the_rest_of_its_batch(generator, z):
    alone = [number(generator(z[i : i + 1], LABELS[i : i + 1])) for i in range(3)]
    np.testing.assert_allclose(generator(z, LABELS), np.concatenate(alone), atol=1e-5)


def test_a_sample_depends_on_noise_and_class(generator, z):
    sample = number(generator(z, LABELS))
    for other in (generator(z[::-1], LABELS), generator(z, LABELS[[1, 0, 1]])):
        assert np.max(np.abs(number(other) - sample), axis=(1, 2, 3))[0] > 1e-3


def test_psi_zero_makes_one_sample_per_class_and_psi_one_changes_nothing(generator, z):
    np.testing.assert_array_equal(generator(z, LABELS, psi=1.0), generator(z, LABELS))
    a, b, c = number(generator(z, LABELS, psi=0.0))
    np.testing.assert_allclose(a, c, atol=1e-6)
    assert np.max(np.abs(a - b)) > 1e-3


def test_latents_are_finite_for_noise_of_any_size(generator, z):
    for scale in (0.0, 1e-6, 1e6):
        assert np.all(np.isfinite(number(generator(scale * z, LABELS))))


def test_one_network_serves_many_strengths_without_a_new_trace(tf, generator, z):
    @tf.function(reduce_retracing=False)
    def sample(psi, guidance):
        return generator(z, LABELS, psi=psi, guidance=guidance)

    for psi, guidance in ((1.0, 1.0), (0.7, 1.0), (1.0, 1.5)):
        expected = generator(z, LABELS, psi=psi, guidance=guidance)
        np.testing.assert_allclose(
            sample(tf.constant(psi), tf.constant(guidance)), expected, atol=1e-5
        )
    assert sample.experimental_get_tracing_count() == 1


# ----------------------------------------------------------------------------- discriminator


def test_levels_may_come_as_a_list(discriminator, levels):
    parts = np.split(levels, K, axis=-1)
    np.testing.assert_array_equal(discriminator(parts, LABELS), discriminator(levels, LABELS))


def test_a_logit_does_not_depend_on_the_rest_of_its_batch(discriminator, levels):
    alone = [number(discriminator(levels[i : i + 1], LABELS[i : i + 1])) for i in range(3)]
    np.testing.assert_allclose(discriminator(levels, LABELS), np.concatenate(alone), atol=1e-5)


def test_a_logit_is_linear_in_the_vector_of_its_class(discriminator, levels):
    logits = number(discriminator(levels, LABELS))
    for weight in (discriminator.class_2.kernel, discriminator.class_2.bias):
        weight.assign(-2.0 * number(weight))
    np.testing.assert_allclose(discriminator(levels, LABELS), -2.0 * logits, rtol=1e-4)


def test_features_leave_the_logits_alone_and_are_of_cls_and_patches(discriminator, levels):
    logits, cls, patches = discriminator(levels, LABELS, return_features=True)
    np.testing.assert_array_equal(discriminator(levels, LABELS), logits)
    assert np.max(np.abs(number(cls)[:, None] - number(patches))) > 0
    other = discriminator(levels, LABELS[[1, 0, 1]], return_features=True)
    np.testing.assert_array_equal(other[1], cls)  # blocks do not see the class


def test_features_without_an_alignment_head_are_refused(levels):
    with pytest.raises(ValueError, match="teacher_dim=None"):
        tiny_discriminator(teacher_dim=None)(levels, LABELS, return_features=True)


# ----------------------------------------------------------------------------- initialisation


def test_networks_start_as_the_spec_says():
    generator, discriminator = tiny_generator(width=256), tiny_discriminator(width=256)
    for block in generator.blocks:
        std = np.std(number(block.modulation.kernel))
        assert std == pytest.approx(0.1 * np.sqrt(2 / (256 + 1024)), rel=0.05)
    for head in generator.heads:
        limit = np.max(np.abs(number(head.to_patch.kernel)))
        assert limit == pytest.approx(np.sqrt(6 / (256 + 12)), rel=0.05)
    limit = np.max(np.abs(number(discriminator.to_tokens.kernel)))
    assert limit == pytest.approx(np.sqrt(6 / (48 + 256)), rel=0.05)
    assert np.std(number(discriminator.cls)) == pytest.approx(0.02, rel=0.2)
    for network in (generator, discriminator):
        small = [w for w in network.weights if w.name in ("bias", "mean_style")]
        assert all(np.all(number(w) == 0) for w in small)
        assert all(np.all(number(w) == 1) for w in network.weights if w.name == "weight")


@pytest.mark.slow
def test_a_new_b2_generator_has_the_official_statistics(rng):
    generator = GatGenerator(**sizes("B", 2))
    z, labels = rng.standard_normal((2, 64)).astype("float32"), np.array([7, 700])
    style = generator.style(rng.standard_normal((64, 64)), rng.integers(0, 1000, 64))
    assert np.std(number(style)) == pytest.approx(0.29, abs=0.02)
    assert np.std(number(generator.positions)) == pytest.approx(0.54, abs=0.01)
    # The blocks change little at first, so that independent heads read much the same tokens. Those
    # have few dimensions: draws scatter by 13 %, the official 1.5, 2.1, 2.2, 2.2 among them.
    stds = [np.std(number(o)) for o in generator(z, labels, return_levels=True)]
    np.testing.assert_allclose(stds, 1.32 * np.sqrt([1, 2, 3, 4]), rtol=0.45)


# ------------------------------------------------------------------------------------- errors

BOTH = [
    ({"patch": 3}, "patch=3 does not divide the latent_size 8"),
    ({"patch": 1}, "patch=1: give an integer above 1"),
    ({"width": 18}, "width=18 is not a multiple of 4"),
    ({"num_heads": 3}, "num_heads=3 does not divide the width 16"),
    ({"num_heads": 8}, "num_heads=8 gives heads of 2 channels"),
    ({"num_classes": 0}, "num_classes=0: give a positive integer"),
    ({"depth": 0}, "depth=0: give a positive"),
    ({"channels": 1.5}, "channels=1.5: give a positive"),
]


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
@pytest.mark.parametrize(("changes", "message"), BOTH)
def test_sizes_that_do_not_fit_are_refused(make, changes, message):
    with pytest.raises(ValueError, match=message):
        make(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"depth": 5}, "depth=5 is not a multiple of levels=4"),
        ({"levels": 0}, "levels=0: give a positive integer"),
        ({"taps": (0, 1, 2)}, r"taps=\[0, 1, 2\]: give levels=4 rising block indices, the last 3"),
        ({"taps": (0, 2, 1, 3)}, "rising block indices"),
        ({"depth": 9, "taps": (1, 3, 5, 7)}, r"the last 8 \(later blocks would be unused\)"),
        ({"noise_dim": -1}, "noise_dim=-1: give a positive integer"),
    ],
)
def test_generator_refuses_levels_that_do_not_fit(changes, message):
    with pytest.raises(ValueError, match=message):
        tiny_generator(**changes)


@pytest.mark.parametrize("field", ["class_dim", "projector_dim", "teacher_dim"])
def test_discriminator_refuses_heads_that_do_not_fit(field):
    with pytest.raises(ValueError, match=f"{field}=0: give a positive integer"):
        tiny_discriminator(**{field: 0})


# ----------------------------------------------------------------- weights, precision, saving


def test_only_positions_and_mean_styles_are_not_trained():
    for make, frozen in (
        (tiny_generator, {"positions", "mean_style"}),
        (tiny_discriminator, {"positions"}),
    ):
        for trainable in (False, True):
            network = make(trainable_positions=trainable)
            names = {w.name for w in network.non_trainable_variables}
            assert names == frozen - ({"positions"} if trainable else set())
            network.trainable = True  # what unfroze the official code's tables
            assert {w.name for w in network.non_trainable_variables} == names


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_latents_logits_and_weights(z, policy):
    generator, discriminator = tiny_generator(dtype=policy), tiny_discriminator(dtype=policy)
    plain = tiny_generator(), tiny_discriminator()
    for mixed, network in zip((generator, discriminator), plain, strict=True):
        network.set_weights(mixed.get_weights())
    outputs = generator(z, LABELS, return_levels=True)
    judged = discriminator(outputs, LABELS, return_features=True)
    tensors = [*outputs, *judged, *generator.weights, *discriminator.weights]
    assert {keras.backend.standardize_dtype(t.dtype) for t in tensors} == {"float32"}
    np.testing.assert_allclose(outputs[-1], plain[0](z, LABELS), atol=0.1)
    np.testing.assert_allclose(judged[0], plain[1](outputs, LABELS), atol=0.1)


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
def test_mixed_precision_reaches_the_blocks(make):
    network = make(dtype="mixed_bfloat16")
    layers = [x for x in network.blocks[0]._flatten_layers() if x.name.find("_norm") < 0]
    assert {x.compute_dtype for x in layers} == {"bfloat16"}


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16"])
def test_saved_networks_load_with_the_same_outputs(tmp_path, randomised, z, levels, policy):
    for network, x in (
        (tiny_generator(dtype=policy, official_guidance=True), z),
        (tiny_discriminator(dtype=policy), levels),
    ):
        randomised(network).save(tmp_path / "network.keras")
        loaded = keras.saving.load_model(tmp_path / "network.keras")
        assert loaded.get_config() == network.get_config()
        np.testing.assert_array_equal(loaded(x, LABELS), network(x, LABELS))


@pytest.mark.parametrize(
    ("make", "others"),
    [
        (tiny_generator, {"noise_dim": 3, "taps": (0, 1, 2, 3), "official_guidance": True}),
        (tiny_discriminator, {"class_dim": 3, "projector_dim": 4, "teacher_dim": None}),
    ],
)
def test_config_mirrors_the_constructor(make, others):
    arguments = {**TINY, "levels": 4, "remat": True, "fused": False, "trainable_positions": True}
    arguments |= others
    network = make(**arguments)
    config = network.get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert type(network).from_config(config).get_config() == config


def test_the_projects_interface_to_generators_takes_it(tf, generator, z):
    from ladagan_tf.generators import of_network

    trained = of_network(generator)
    assert (trained.noise_dim, trained.resolution, trained.num_classes) == (Z, S, CLASSES)
    np.testing.assert_allclose(trained.generate(z, LABELS), generator(z, LABELS), atol=1e-5)


# -------------------------------------------------------------------------- gradients and XLA


def generator_loss(generator, z):
    outputs = generator(z, LABELS, return_levels=True)
    return sum(ops.mean(ops.square(o)) for o in outputs), ()


def discriminator_loss(discriminator, levels):
    logits, *features = discriminator(levels, LABELS, return_features=True)
    return ops.mean(ops.softplus(logits)) + sum(ops.mean(ops.square(f)) for f in features), ()


CASES = pytest.mark.parametrize(
    ("make", "loss", "data"),
    [
        (tiny_generator, generator_loss, "z"),
        (tiny_discriminator, discriminator_loss, "levels"),
    ],
    ids=["generator", "discriminator"],
)


def assert_same(actual, expected, tolerance=1e-4):
    for a, b in zip(actual, expected, strict=True):
        np.testing.assert_allclose(number(a), number(b), rtol=tolerance, atol=tolerance)


@CASES
def test_every_trained_weight_has_a_gradient(request, randomised, make, loss, data):
    network, x = randomised(make()), ops.convert_to_tensor(request.getfixturevalue(data))
    _, gradients = value_and_grad(lambda: loss(network, x), network)
    for gradient, weight in zip(gradients, network.trainable_variables, strict=True):
        assert np.max(np.abs(number(gradient))) > 0, weight.path


@CASES
def test_rematerialised_gradients_are_the_plain_ones(request, randomised, make, loss, data):
    network, x = randomised(make()), ops.convert_to_tensor(request.getfixturevalue(data))
    frugal = make(remat=True)
    frugal.set_weights(network.get_weights())
    (value, _), expected = value_and_grad(lambda: loss(network, x), network)
    (again, _), actual = value_and_grad(lambda: loss(frugal, x), frugal)
    assert float(value) == pytest.approx(float(again), rel=1e-6)
    assert_same(actual, expected)


def test_squared_input_gradients_can_be_differentiated(discriminator, levels):
    """What exact R1 and R2 need; TensorFlow cannot together with rematerialisation."""
    x = ops.convert_to_tensor(levels)

    def penalty(network):
        _, gradient = input_gradient(lambda x: network(x, LABELS), x, network)
        return ops.sum(ops.square(gradient)), ()

    _, gradients = value_and_grad(lambda: penalty(discriminator), discriminator)
    assert all(np.all(np.isfinite(number(g))) for g in gradients)
    assert np.max(np.abs(number(gradients[0]))) > 0
    frugal = tiny_discriminator(remat=True)
    frugal.set_weights(discriminator.get_weights())
    if keras.backend.backend() == "tensorflow":
        with pytest.raises(NotImplementedError, match="recompute_grad"):
            value_and_grad(lambda: penalty(frugal), frugal)
    else:
        assert_same(value_and_grad(lambda: penalty(frugal), frugal)[1], gradients)


@pytest.mark.parametrize(
    "remat", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["stored", "remat"]
)
@CASES
def test_xla_agrees_with_float64(tf, request, randomised, make, loss, data, remat):
    network, x = randomised(make(remat=remat)), request.getfixturevalue(data)
    exact = type(network).from_config({**network.get_config(), "dtype": "float64", "remat": False})
    exact.set_weights(network.get_weights())

    @tf.function(jit_compile=True)
    def compiled(x):
        (value, _), gradients = value_and_grad(lambda: loss(network, x), network)
        return value, gradients

    (value, _), expected = value_and_grad(lambda: loss(exact, tf.constant(x, tf.float64)), exact)
    actual_value, actual = compiled(tf.constant(x))
    assert float(actual_value) == pytest.approx(float(value), rel=1e-4)
    scale = max(np.max(np.abs(g)) for g in expected)
    assert_same([g / scale for g in actual], [g / scale for g in expected])


def test_one_trace_serves_every_batch_size(tf, generator, discriminator, rng):
    @tf.function(input_signature=[tf.TensorSpec((None, Z)), tf.TensorSpec((None,), tf.int32)])
    def both(z, labels):
        outputs = generator(z, labels, return_levels=True)
        return outputs[-1], discriminator(outputs, labels)

    for count in (1, 3):
        z = rng.standard_normal((count, Z)).astype("float32")
        latents, logits = both(z, LABELS[:count])
        outputs = generator(z, LABELS[:count], return_levels=True)
        np.testing.assert_allclose(latents, outputs[-1], atol=1e-5)
        np.testing.assert_allclose(logits, discriminator(outputs, LABELS[:count]), atol=1e-4)
