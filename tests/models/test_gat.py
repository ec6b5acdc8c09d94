"""GAT's two networks: what their structure promises, how they start, precision and saving."""

import keras
import numpy as np
import pytest
from gat_networks import CLASSES, LABELS, TINY, K, S, Z, tiny_discriminator, tiny_generator
from gat_paper_sizes import (
    sizes,
)
from keras import ops

from ladagan_tf.models.gat.networks import GatGenerator


def number(tensor):
    return ops.convert_to_numpy(tensor)


def zero(*weights):
    for weight in weights:
        weight.assign(np.zeros(weight.shape))


# --------------------------------------------------------------------------------- generator


def test_outputs_are_cumulative_and_the_last_is_the_sample(generator, z):
    outputs = [number(o) for o in generator(z, LABELS, return_levels=True)]
    np.testing.assert_array_equal(generator(z, LABELS), outputs[-1])
    head = generator.heads[0].to_patch
    added = outputs[1] - outputs[0]
    zero(head.kernel, head.bias)
    outputs = [number(o) for o in generator(z, LABELS, return_levels=True)]
    assert not outputs[0].any()
    np.testing.assert_allclose(outputs[1], added, rtol=1e-5, atol=1e-5)


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
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_sample_does_not_depend_on_the_rest_of_its_batch(generator, z):
    alone = [number(generator(z[i : i + 1], LABELS[i : i + 1])) for i in range(3)]
    np.testing.assert_allclose(generator(z, LABELS), np.concatenate(alone), rtol=1e-5, atol=1e-5)


def test_a_sample_depends_on_noise_and_class(generator, z):
    sample = number(generator(z, LABELS))
    for other in (generator(z[::-1], LABELS), generator(z, LABELS[[1, 0, 1]])):
        assert np.max(np.abs(number(other) - sample), axis=(1, 2, 3))[0] > 1e-3


def test_psi_zero_makes_one_sample_per_class_and_psi_one_changes_nothing(generator, z):
    np.testing.assert_array_equal(generator(z, LABELS, psi=1.0), generator(z, LABELS))
    a, b, c = number(generator(z, LABELS, psi=0.0))
    np.testing.assert_allclose(a, c, rtol=1e-5, atol=1e-6)
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
            sample(tf.constant(psi), tf.constant(guidance)), expected, rtol=1e-5, atol=1e-5
        )
    assert sample.experimental_get_tracing_count() == 1


# ----------------------------------------------------------------------------- discriminator


def test_levels_may_come_as_a_list(discriminator, levels):
    parts = np.split(levels, K, axis=-1)
    np.testing.assert_array_equal(discriminator(parts, LABELS), discriminator(levels, LABELS))


def test_a_logit_does_not_depend_on_the_rest_of_its_batch(discriminator, levels):
    alone = [number(discriminator(levels[i : i + 1], LABELS[i : i + 1])) for i in range(3)]
    np.testing.assert_allclose(
        discriminator(levels, LABELS), np.concatenate(alone), rtol=1e-5, atol=1e-5
    )


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


def test_latents_of_another_size_are_no_batch_of_another_length(levels):
    larger = np.repeat(np.repeat(number(levels), 2, 1), 2, 2)
    with pytest.raises(ValueError, match=rf"levels of shape \(3, {2 * S}, .*: give \(B, {S}, {S}"):
        tiny_discriminator()(larger, LABELS)


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


def test_mixed_precision_gives_float32_latents_logits_and_weights(z):
    exact = tiny_generator(), tiny_discriminator()
    latents = exact[0](z, LABELS, return_levels=True)
    logits = exact[1](latents, LABELS)
    for policy in ("mixed_bfloat16", "mixed_float16"):
        networks = tiny_generator(dtype=policy), tiny_discriminator(dtype=policy)
        for mixed, plain in zip(networks, exact, strict=True):
            mixed.set_weights(plain.get_weights())
        outputs = networks[0](z, LABELS, return_levels=True)
        judged = networks[1](latents, LABELS, return_features=True)
        tensors = [*outputs, *judged, *networks[0].weights, *networks[1].weights]
        assert {keras.backend.standardize_dtype(t.dtype) for t in tensors} == {"float32"}
        np.testing.assert_allclose(outputs[-1], latents[-1], atol=0.1)
        np.testing.assert_allclose(judged[0], logits, atol=0.1)


def test_tokens_stay_float32_where_the_blocks_compute_in_half(z):
    """Else rounding takes a fifth of what depends on z and class, which is small at the start."""
    plain, mixed = (
        tiny_generator(depth=8, levels=4, dtype=policy) for policy in ("float32", "mixed_bfloat16")
    )
    mixed.set_weights(plain.get_weights())
    exact, rounded = (np.asarray(network(z, LABELS)) for network in (plain, mixed))
    assert np.abs(rounded - exact).max() < 2e-3 * exact.std()
    exact, rounded = (x - x.mean(axis=0) for x in (exact, rounded))
    assert 0 < np.linalg.norm(rounded - exact) < 0.03 * np.linalg.norm(exact)


def test_the_discriminator_s_tokens_stay_float32_too(levels):
    network = tiny_discriminator(dtype="mixed_bfloat16")
    tokens = network.embed(levels)
    for x in (tokens, network.blocks[0](tokens), network.norm(tokens)):
        assert keras.backend.standardize_dtype(x.dtype) == "float32"


@pytest.mark.parametrize("make", [tiny_generator, tiny_discriminator])
def test_mixed_precision_reaches_the_blocks(make):
    network = make(dtype="mixed_bfloat16")
    layers = [x for x in network.blocks[0]._flatten_layers() if x.name.find("_norm") < 0]
    assert {x.compute_dtype for x in layers} == {"bfloat16"}


def test_saved_networks_load_with_the_same_outputs(tmp_path, randomised, z, levels):
    for network, x in (
        (tiny_generator(dtype="mixed_bfloat16", official_guidance=True), z),
        (tiny_discriminator(dtype="mixed_bfloat16"), levels),
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
    arguments = {
        **TINY,
        "depth": 4,
        "levels": 4,
        "remat": True,
        "fused": False,
        "trainable_positions": True,
    }
    arguments |= {"attention": "additive", **others}
    network = make(**arguments)
    config = network.get_config()
    assert {key: config[key] for key in arguments} == arguments
    assert type(network).from_config(config).get_config() == config


def test_the_projects_interface_to_generators_takes_it(tf, generator, z):
    from ladagan_tf.sampling.sampler import of_network

    trained = of_network(generator)
    assert (trained.noise_dim, trained.resolution, trained.num_classes) == (Z, S, CLASSES)
    np.testing.assert_allclose(
        trained.generate(z, LABELS), generator(z, LABELS), rtol=1e-5, atol=1e-5
    )
