"""The two networks: sizes of the paper, shapes, initialisation, errors, XLA and saving."""

import subprocess
import sys

import keras
import numpy as np
import pytest
from paper_sizes import DISCRIMINATOR, DISCRIMINATOR_WIDTHS, EVERY_ROW, zero_weights

from ladagan_tf.models.ladagan import Discriminator, Generator
from ladagan_tf.models.norms import BatchNormalization
from ladagan_tf.models.sizes import PRESETS

Z = 6
# Tiny token widths: the last is 64 so that a patch head reaches 256 pixels.
TINY = {"noise_dim": Z, "widths": (8, 8, 64), "num_heads": (2, 2, 2), "mlp_widths": (4, 4, 4)}
HEADS = {
    "32": (32, ()),
    "64_patch": (64, ()),
    "128_patch": (128, ()),
    "256_patch": (256, ()),
    "64_conv": (64, (4,)),
    "128_conv": (128, (4, 3)),
    "256_conv": (256, (4, 3, 2)),
}
EVERY_HEAD = pytest.mark.parametrize("head", HEADS.values(), ids=HEADS)
EVERY_RESOLUTION = pytest.mark.parametrize("resolution", [32, 64, 128, 256])


def tiny_generator(resolution=32, decoder_widths=(), **kwargs):
    sizes = {**TINY, "resolution": resolution, "decoder_widths": decoder_widths, **kwargs}
    return Generator(**sizes)


def tiny_discriminator(resolution=32, **kwargs):
    count = len(DISCRIMINATOR_WIDTHS[resolution])
    sizes = {"widths": (4,) * count, "out_widths": (6, 5), "num_heads": 2, "mlp_width": 3}
    return Discriminator(resolution=resolution, **{**sizes, **kwargs})


def number(tensor):
    return keras.ops.convert_to_numpy(tensor)


def latents(rng, count=2):
    return rng.standard_normal((count, Z)).astype("float32")


def pictures(rng, resolution, count=2):
    return rng.uniform(-1, 1, (count, resolution, resolution, 3)).astype("float32")


# ------------------------------------------------------------------------- the paper's sizes


def counts(network):
    trained = sum(int(np.prod(v.shape)) for v in network.trainable_variables)
    return network.count_params(), trained


@EVERY_ROW
def test_generator_has_the_parameters_of_the_official_code(row):
    with zero_weights():
        assert counts(Generator(**row.generator)) == (row.parameters, row.trained)


@EVERY_RESOLUTION
def test_discriminator_has_the_parameters_of_the_official_code(resolution):
    with zero_weights():
        network = Discriminator(resolution=resolution, widths=DISCRIMINATOR_WIDTHS[resolution])
    assert counts(network) == DISCRIMINATOR[resolution][:2]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_are_buildable_and_named_after_their_resolution(name):
    preset = PRESETS[name]
    with zero_weights():
        Generator(
            resolution=preset.resolution,
            widths=preset.widths,
            decoder_widths=preset.decoder_widths,
        )
        Discriminator(resolution=preset.resolution, widths=preset.discriminator_widths)
    assert name.endswith(f"_{preset.resolution}")


def test_presets_of_published_configurations_are_the_published_sizes():
    narrow, wide = (1024, 256, 64), (1024, 512, 256)
    confirmed = {
        name: (p.resolution, p.widths, p.decoder_widths, p.discriminator_widths)
        for name, p in PRESETS.items()
        if p.confirmed
    }
    assert confirmed == {
        "cifar10_32": (32, narrow, (), (128, 256)),
        "celeba_64": (64, narrow, (), (64, 128, 256)),
        "ffhq_128": (128, wide, (128, 64), (32, 64, 128, 256)),
    }


def test_defaults_are_the_cifar10_preset():
    preset = PRESETS["cifar10_32"]
    with zero_weights():
        generator, discriminator = Generator(), Discriminator()
    assert (generator.resolution, generator.widths) == (preset.resolution, preset.widths)
    assert generator.decoder_widths == preset.decoder_widths
    assert discriminator.widths == preset.discriminator_widths


# ----------------------------------------------------------------------------------- shapes


@EVERY_HEAD
def test_images_have_the_resolution_of_the_head(rng, head):
    generator = tiny_generator(*head)
    images = generator(latents(rng))
    assert images.shape == (2, head[0], head[0], 3)
    assert generator.compute_output_shape((2, Z)) == images.shape


@EVERY_RESOLUTION
def test_logits_are_25_per_image(rng, resolution):
    discriminator = tiny_discriminator(resolution)
    logits = discriminator(pictures(rng, resolution))
    assert logits.shape == (2, 25)
    assert discriminator.compute_output_shape((2, resolution, resolution, 3)) == logits.shape


def test_attention_maps_sum_to_one_over_the_tokens_of_each_grid(rng):
    generator, z = tiny_generator(), latents(rng)
    images, maps = generator.attention_maps(z)
    np.testing.assert_array_equal(number(images), number(generator(z)))
    assert [tuple(m.shape) for m in maps] == [(2, 2, 64), (2, 2, 256), (2, 2, 1024)]
    for weights in maps:
        np.testing.assert_allclose(number(weights).sum(axis=2), 1.0, rtol=1e-5)


@pytest.mark.parametrize("head", [HEADS["64_patch"], HEADS["64_conv"]], ids=["patch", "conv"])
def test_an_image_does_not_depend_on_the_rest_of_its_batch(rng, head):
    generator, z = tiny_generator(*head), latents(rng, 3)
    alone = np.concatenate([number(generator(z[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(number(generator(z)), alone, atol=1e-5)


def test_a_logit_does_not_depend_on_the_rest_of_its_batch(rng):
    discriminator, images = tiny_discriminator(), pictures(rng, 32, 3)
    alone = np.concatenate([number(discriminator(images[i : i + 1])) for i in range(3)])
    np.testing.assert_allclose(number(discriminator(images)), alone, atol=1e-5)


def test_inference_leaves_all_weights_as_they_are(rng):
    for network, x in (
        (tiny_generator(64, (4,)), latents(rng)),
        (tiny_discriminator(), pictures(rng, 32)),
    ):
        before = [number(w).copy() for w in network.weights]
        network(x)
        for weight, old in zip(network.weights, before, strict=True):
            np.testing.assert_array_equal(number(weight), old)


# ----------------------------------------------------------------------------- initialisation


def kernels(network):
    return [w for w in network.weights if "kernel" in w.name or w.name == "table"]


@pytest.mark.parametrize("score", ["full", "per_head"])
def test_kernels_and_position_tables_start_orthogonal(score):
    networks = tiny_generator(64, (4,), score=score), tiny_discriminator(score=score)
    for weight in [w for network in networks for w in kernels(network)]:
        matrix = number(weight).astype("float64").reshape(-1, weight.shape[-1])
        gram = matrix @ matrix.T if matrix.shape[0] < matrix.shape[1] else matrix.T @ matrix
        np.testing.assert_allclose(gram, np.eye(len(gram)), atol=1e-5, err_msg=weight.path)


def test_everything_else_starts_at_zero_or_one():
    for network in (tiny_generator(64, (4,)), tiny_discriminator()):
        matrices = {id(w) for w in kernels(network)}
        for weight in [w for w in network.weights if id(w) not in matrices]:
            expected = 1.0 if weight.name in ("gamma", "moving_variance") else 0.0
            np.testing.assert_array_equal(number(weight), expected, err_msg=weight.path)


# --------------------------------------------------------------------------------- wrong sizes


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 48}, r"resolution=48 is not one of 32, 64, 128, 256"),
        ({"widths": (8, 8)}, r"widths=\[8, 8\]: give 3 positive integers"),
        ({"widths": (8, 8, 0)}, r"widths=\[8, 8, 0\]: give 3 positive integers"),
        ({"mlp_widths": (4,)}, r"mlp_widths=\[4\]: give 3 positive integers"),
        ({"num_heads": (2, 2)}, r"num_heads=\[2, 2\]: give 3 positive integers"),
        ({"num_heads": (2, 3, 2)}, r"num_heads=\[2, 3, 2\]: 3 does not divide the width 8"),
        ({"widths": (6, 8, 8)}, r"widths=\[6, 8, 8\]: 6 is not a multiple of 4"),
        ({"resolution": 128, "widths": (8, 8, 24)}, r"widths=.*128 needs a last.*multiple of 16"),
        ({"resolution": 64, "decoder_widths": (4, 4)}, r"decoder_widths=\[4, 4\]: give 1 posit"),
        ({"resolution": 256, "decoder_widths": (4,)}, r"decoder_widths=\[4\]: give 3 positive"),
        ({"decoder_widths": (4,)}, r"decoder_widths=\[4\]: give 0 .*resolution 32"),
        ({"score": "cosine"}, r"score='cosine' is not one of full, per_head"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_generator_refuses_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        Generator(**{**TINY, **sizes})


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"resolution": 31}, r"resolution=31 is not one of 32, 64, 128, 256"),
        ({"resolution": 64, "widths": (4, 4)}, r"widths=\[4, 4\]: give 3 positive integers"),
        ({"widths": (4, 4, 4)}, r"widths=\[4, 4, 4\]: give 2 positive integers"),
        ({"widths": (4, 4), "out_widths": (4,)}, r"out_widths=\[4\]: give 2 positive integers"),
        ({"widths": (4, 6), "num_heads": 4}, r"num_heads=4 does not divide .*widths=\[4, 6\]"),
        ({"widths": (4, 4), "num_heads": 0}, r"num_heads=0 does not divide"),
        ({"widths": (4, 4), "score": "dot"}, r"score='dot' is not one of full, per_head"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_discriminator_refuses_sizes_that_do_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        Discriminator(**sizes)


# ----------------------------------------------------------------------- precision and saving


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_gives_float32_images_logits_and_weights(rng, policy):
    generator = tiny_generator(64, (4,), dtype=policy)
    discriminator = tiny_discriminator(64, dtype=policy)
    images = generator(latents(rng), training=True)
    logits = discriminator(images, training=True)
    tensors = [images, logits, *generator.weights, *discriminator.weights]
    assert {keras.backend.standardize_dtype(t.dtype) for t in tensors} == {"float32"}
    assert np.all(np.isfinite(number(logits)))


def test_mixed_precision_reaches_every_inner_layer():
    for network in (
        tiny_generator(64, (4,), dtype="mixed_bfloat16"),
        tiny_discriminator(dtype="mixed_bfloat16"),
    ):
        layers = [x for x in network._flatten_layers() if x.weights and x is not network]
        left_out = {x.name for x in layers if x.compute_dtype != "bfloat16"}
        assert left_out <= {"to_rgb", "to_logits"}


@pytest.mark.parametrize(
    "network",
    [
        lambda: tiny_generator(64, (4,), score="per_head"),
        lambda: tiny_generator(64, dtype="mixed_bfloat16"),
        lambda: tiny_discriminator(64),
    ],
    ids=["conv_generator", "bfloat16_generator", "discriminator"],
)
def test_saved_network_loads_with_the_same_outputs(rng, tmp_path, network):
    network = network()
    for weight in network.weights:  # moving statistics too must survive
        noise = 0.1 * rng.standard_normal(weight.shape)
        weight.assign(number(weight) + np.abs(noise))
    network.save(tmp_path / "network.keras")
    loaded = keras.saving.load_model(tmp_path / "network.keras")
    assert loaded.get_config() == network.get_config()
    x = pictures(rng, 64) if isinstance(network, Discriminator) else latents(rng)
    np.testing.assert_array_equal(number(loaded(x)), number(network(x)))


@pytest.mark.parametrize(
    ("network", "arguments"),
    [
        (tiny_generator, {"resolution": 64, "decoder_widths": (4,), "score": "per_head", **TINY}),
        (
            tiny_discriminator,
            {
                "resolution": 64,
                "widths": (4, 4, 4),
                "out_widths": (6, 5),
                "num_heads": 2,
                "mlp_width": 3,
                "score": "per_head",
            },
        ),
    ],
)
def test_config_mirrors_the_constructor(network, arguments):
    config = network(**arguments).get_config()
    assert {key: config[key] for key in arguments} == arguments


def test_a_saved_generator_loads_where_only_the_package_was_imported(rng, tmp_path):
    generator, z = tiny_generator(64, (4,)), latents(rng)
    generator.save(tmp_path / "generator.keras")
    np.save(tmp_path / "z.npy", z)
    script = (
        "import sys, numpy, keras, ladagan_tf\n"
        "generator = keras.saving.load_model(sys.argv[1])\n"
        "numpy.save(sys.argv[3], keras.ops.convert_to_numpy(generator(numpy.load(sys.argv[2]))))\n"
    )
    files = [str(tmp_path / name) for name in ("generator.keras", "z.npy", "images.npy")]
    done = subprocess.run(
        [sys.executable, "-c", script, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    np.testing.assert_allclose(np.load(files[2]), number(generator(z)), atol=1e-6)


# ------------------------------------------------------------------- tf.function, XLA, gradients


def test_one_trace_serves_every_batch_size(tf, rng):
    generator, discriminator = tiny_generator(64, (4,)), tiny_discriminator(64)

    @tf.function(input_signature=[tf.TensorSpec((None, Z))])
    def both(z):
        images = generator(z)
        return images, discriminator(images)

    for count in (1, 3):
        z = latents(rng, count)
        images, logits = both(z)
        np.testing.assert_allclose(images, generator(z), atol=1e-5)
        np.testing.assert_allclose(logits, discriminator(images), atol=1e-5)


def value_and_gradients(tf, network, x):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(network(x, training=True) ** 2)
    return loss, tape.gradient(loss, network.trainable_variables)


def assert_xla_agrees(tf, network, x):
    """The compiled float32 loss, gradients and statistics are those of plain float64."""
    exact = type(network).from_config({**network.get_config(), "dtype": "float64"})
    exact.set_weights(network.get_weights())
    value, expected = value_and_gradients(tf, exact, tf.constant(x, tf.float64))
    compiled = tf.function(lambda x: value_and_gradients(tf, network, x), jit_compile=True)
    loss, gradients = compiled(tf.constant(x))
    np.testing.assert_allclose(loss, value, rtol=1e-4)
    # Rounding may push an activation across a leaky ReLU's kink: compared in norm, not elementwise.
    floor = 1e-2 * max(np.linalg.norm(g) for g in expected)
    for actual, wanted, variable in zip(
        gradients, expected, network.trainable_variables, strict=True
    ):
        off = np.linalg.norm(actual.numpy() - wanted.numpy())
        assert off < 1e-2 * (np.linalg.norm(wanted) + floor), variable.path
    for actual, wanted in zip(
        network.non_trainable_variables, exact.non_trainable_variables, strict=True
    ):
        np.testing.assert_allclose(number(actual), number(wanted), rtol=1e-3, atol=1e-5)


# Compiling takes seconds: one patch head, and the shortest and the longest decoder.
COMPILED = ["64_patch", "64_conv", pytest.param("256_conv", marks=pytest.mark.slow)]


@pytest.mark.parametrize("name", COMPILED)
def test_xla_compiles_forward_and_backward_of_every_kind_of_head(tf, rng, name):
    assert_xla_agrees(tf, tiny_generator(*HEADS[name]), latents(rng))


@pytest.mark.parametrize("resolution", [32, pytest.param(256, marks=pytest.mark.slow)])
def test_xla_compiles_forward_and_backward_of_the_discriminator(tf, rng, resolution):
    assert_xla_agrees(tf, tiny_discriminator(resolution), pictures(rng, resolution))


@pytest.mark.parametrize("make", [lambda: tiny_generator(64, (4,)), tiny_discriminator])
def test_every_trained_weight_has_a_gradient(tf, rng, make):
    network = make()
    x = latents(rng, 4) if isinstance(network, Generator) else pictures(rng, 32, 4)
    for weight in network.trainable_variables:  # off the zero biases, where little is symmetric
        weight.assign_add(0.1 * rng.standard_normal(weight.shape).astype("float32"))
    _, gradients = value_and_gradients(tf, network, x)
    # The softmax cancels the score bias, and a batch norm the bias of the convolution before it.
    cancelled = [w for w in network.weights if w.name == "score_bias"]
    cancelled += [stage.conv.bias for stage in getattr(network, "decoder", [])]
    for gradient, weight in zip(gradients, network.trainable_variables, strict=True):
        if not any(weight is w for w in cancelled):
            assert np.max(np.abs(gradient)) > 0, weight.path


def test_only_batch_norm_statistics_are_not_trained():
    for network in (tiny_generator(64, (4,)), tiny_discriminator()):
        norms = [x for x in network._flatten_layers() if isinstance(x, BatchNormalization)]
        statistics = {id(v) for x in norms for v in (x.moving_mean, x.moving_variance)}
        assert {id(v) for v in network.non_trainable_variables} == statistics


def test_discriminator_in_training_does_not_see_the_scale_of_a_batch(rng):
    """No bias stands before its first batch norms: what the README says of drifting colours."""
    discriminator = tiny_discriminator()
    images = rng.uniform(-1e3, 1e3, (4, 32, 32, 3)).astype("float32")  # epsilon is far below
    logits = discriminator(images, training=True)
    scaled = discriminator(6 * images, training=True)
    np.testing.assert_allclose(scaled, logits, rtol=1e-3, atol=1e-4)
    assert np.max(np.abs(discriminator(6 * images) - discriminator(images))) > 0.1
