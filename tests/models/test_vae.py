"""The autoencoder's parts in closed form, its strips, its precision and the names it loads."""

import re

import keras
import numpy as np
import pytest
import tensorflow as tf
from rule_weights import rule_weights

from ladagan_tf.errors import InputError
from ladagan_tf.models.vae import names
from ladagan_tf.models.vae.autoencoder import AutoencoderKL, kl_per_image, split_moments
from ladagan_tf.models.vae.layers import (
    Downsample,
    GroupNorm,
    ResnetBlock,
    SpatialAttention,
    Upsample,
)
from ladagan_tf.weights import vae_weights

SIZES = {"widths": (8, 16), "resnets": 1, "groups": 4}


@pytest.fixture(scope="module")
def vae():
    network = AutoencoderKL(**SIZES)
    network.load_tensors(rule_weights(network.tensor_shapes(), gain=1.0))
    return network


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


def equal(a, b, atol=0.0):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=0, atol=atol)


# ------------------------------------------------------------------------------------ layers


def test_group_norm_makes_every_group_standard_normal():
    x = GroupNorm(2)(3.0 * normal(2, 5, 4, 6) + 7.0).numpy().reshape(2, 20, 2, 3)
    equal(x.mean((1, 3)), np.zeros((2, 2)), atol=1e-6)
    equal(x.std((1, 3)), np.ones((2, 2)), atol=1e-5)


def test_group_norm_has_the_small_epsilon():
    x = np.tile(np.array([-1e-3, 1e-3], "float32"), 8).reshape(1, 4, 4, 1)  # variance 1e-6
    equal(np.abs(GroupNorm(1)(x)), np.full(x.shape, 0.5**0.5), atol=1e-4)


def test_group_norm_computes_in_float32_under_half_precision():
    x = normal(1, 8, 8, 4) + 100.0
    half = GroupNorm(2, dtype="mixed_bfloat16")(x)
    assert half.dtype == tf.bfloat16
    equal(tf.cast(half, tf.float32), GroupNorm(2)(x), atol=2e-2)


def test_downsampling_pads_below_and_right():
    layer = Downsample()
    layer.build((None, 4, 4, 1))
    layer.conv.kernel.assign(np.ones((3, 3, 1, 1)))
    assert layer(np.ones((1, 4, 4, 1), "float32"))[0, ..., 0].numpy().tolist() == [[9, 6], [6, 4]]


def test_upsampling_repeats_pixels():
    layer = Upsample()
    layer.build((None, 2, 2, 1))
    layer.conv.kernel.assign(np.pad([[1.0]], 1).reshape(3, 3, 1, 1))
    found = layer(np.array([[1, 2], [3, 4]], "float32").reshape(1, 2, 2, 1))[0, ..., 0]
    equal(found, np.kron([[1, 2], [3, 4]], np.ones((2, 2))))


def test_attention_is_equivariant_to_permuted_positions():
    layer, x = SpatialAttention(2), normal(1, 3, 4, 8)
    order = np.random.default_rng(1).permutation(12)
    permute = lambda x: np.asarray(x).reshape(1, 12, 8)[:, order].reshape(1, 3, 4, 8)  # noqa: E731
    equal(layer(permute(x)), permute(layer(x)), atol=1e-5)


# ----------------------------------------------------------------------------------- network


def test_divergence_is_that_of_closed_form():
    mean, logvar = normal(2, 3, 3, 4), normal(2, 3, 3, 4, seed=1)
    assert kl_per_image(np.zeros((2, 3)), np.zeros((2, 3))).numpy().tolist() == [0.0, 0.0]
    variance = np.exp(logvar.astype("float64"))
    expected = 0.5 * (mean.astype("float64") ** 2 + variance - 1 - np.log(variance))
    np.testing.assert_allclose(kl_per_image(mean, logvar), expected.sum((1, 2, 3)), rtol=1e-5)


def test_log_variances_are_clipped():
    _, logvar = split_moments(np.array([0.0, 0.0, -99.0, 99.0], "float32"))
    assert logvar.numpy().tolist() == [-30.0, 20.0]


def test_shapes_follow_from_the_images(vae):
    images = normal(2, 16, 24, 3)
    mean, std = vae.encode(images)
    assert mean.shape == std.shape == (2, 8, 12, 4) and np.min(std) > 0
    assert vae(images).shape == images.shape
    assert vae.factor == 2 and vae.scaling_factor == 0.18215


def test_images_that_do_not_divide_are_refused(vae):
    with pytest.raises(ValueError, match="2 must divide both"):
        vae.moments(normal(1, 16, 17, 3))
    with pytest.raises(ValueError, match="groups=3"):
        AutoencoderKL((8, 16), groups=3)


@pytest.mark.parametrize("tile", [1, 3, 50])
def test_strips_are_the_plain_decode(vae, tile):
    latents = normal(2, 4, 5, 4)
    equal(vae.decode_tiled(latents, tile), vae.decode(latents), atol=2e-5)


def test_strips_of_no_rows_are_refused(vae):
    with pytest.raises(ValueError, match="tile=0"):
        vae.decode_tiled(normal(1, 4, 4, 4), 0)


def test_half_precision_is_close_and_returns_float32(vae):
    half = AutoencoderKL(**SIZES, dtype="mixed_bfloat16")
    half.load_tensors(vae.tensors())
    images, latents = normal(1, 16, 16, 3), normal(1, 4, 4, 4)
    for method in ("moments", "decode", "decode_tiled"):
        argument = images if method == "moments" else latents
        found, exact = getattr(half, method)(argument), getattr(vae, method)(argument)
        assert found.dtype == tf.float32
        assert np.sqrt(np.mean(np.square(found - exact))) < 0.03 * np.std(exact)


def test_gradients_reach_every_variable():
    vae = AutoencoderKL(widths=(4, 8), resnets=1, groups=2)
    vae.load_tensors(rule_weights(vae.tensor_shapes(), gain=1.0))
    with tf.GradientTape() as tape:
        mean, logvar = split_moments(vae.moments(normal(1, 8, 8, 3)))
        loss = tf.reduce_sum(tf.square(vae.decode(mean + tf.exp(0.5 * logvar))))
    gradients = tape.gradient(loss, vae.trainable_variables)
    for gradient, variable in zip(gradients, vae.trainable_variables, strict=True):
        # A constant added to all keys leaves softmax as it is.
        assert np.any(gradient) or variable.path.endswith("to_k/bias"), variable.path


def test_xla_compiles_forward_and_backward_of_every_kind_of_layer():
    layers = keras.Sequential([ResnetBlock(8, 2), Downsample(), SpatialAttention(2), Upsample()])
    layers.build((1, 4, 4, 4))
    x = tf.constant(normal(1, 4, 4, 4))

    def gradients():
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(layers(x)))
        return tape.gradient(loss, layers.trainable_variables)

    compiled = tf.function(gradients, jit_compile=True, autograph=False)()
    for found, expected in zip(compiled, gradients(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


def test_a_decoder_alone_decodes_the_same_and_is_saved_alone(vae, tmp_path):
    alone = vae.decoder_only()
    assert alone.decoder_only() is alone
    assert alone.tensors().keys() == {
        name for name in vae.tensors() if name.startswith(("decoder.", "post_quant_conv."))
    }
    alone.save(tmp_path / "v.keras")
    loaded = keras.saving.load_model(tmp_path / "v.keras")
    latents = normal(1, 4, 4, 4)
    expected = vae.decode(latents)
    for network in (alone, loaded):
        equal(network.decode(latents), expected)
    equal(loaded.decode_tiled(latents, 2), expected, 1e-5)
    with pytest.raises(ValueError, match="this autoencoder only decodes"):
        loaded.encode(normal(1, 8, 8, 3))
    with pytest.raises(InputError, match=r"v\.keras: it holds a decoder alone"):
        vae_weights.load(tmp_path / "v.keras")


# ------------------------------------------------------------------------------------- names

OLD_ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
LDM = [  # (canonical, LDM's), applied in this order
    (r"down_blocks\.(\d)\.resnets", r"down.\1.block"),
    (r"down_blocks\.(\d)\.downsamplers\.0", r"down.\1.downsample"),
    (r"mid_block\.resnets\.0", "mid.block_1"),
    (r"mid_block\.resnets\.1", "mid.block_2"),
    (r"mid_block\.attentions\.0\.group_norm", "mid.attn_1.norm"),
    (r"mid_block\.attentions\.0\.to_([qkv])", r"mid.attn_1.\1"),
    (r"mid_block\.attentions\.0\.to_out\.0", "mid.attn_1.proj_out"),
    (r"conv_shortcut", "nin_shortcut"),
    (r"conv_norm_out", "norm_out"),
]


def with_old_attention(tensors):
    found = {}
    for name, array in tensors.items():
        for new, old in OLD_ATTENTION.items():
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{old}.")
        found[name] = array
    return found


def as_ldm(tensors, prefix=""):
    found = {}
    for name, array in tensors.items():
        if ".attentions.0.to_" in name and array.ndim == 2:
            array = array[:, :, None, None]
        for new, old in LDM:
            name = re.sub(new, old, name)
        for new, old in (("resnets", "block"), ("upsamplers.0", "upsample")):
            pattern = rf"up_blocks\.(\d)\.{re.escape(new)}"
            name = re.sub(pattern, lambda m, old=old: f"up.{1 - int(m[1])}.{old}", name)
        found[prefix + name] = array
    return found


def full_checkpoint(tensors):
    return {"model.diffusion_model.x": np.ones(3), **as_ldm(tensors, "first_stage_model.")}


def autoencoder_checkpoint(tensors):
    return {"loss.logvar": np.ones(()), **as_ldm(tensors)}


@pytest.fixture(scope="module")
def other():
    return AutoencoderKL(**SIZES)


@pytest.mark.parametrize(
    "spelling", [dict, with_old_attention, as_ldm, full_checkpoint, autoencoder_checkpoint]
)
def test_every_spelling_loads(vae, other, spelling):
    tensors, expected = spelling(vae.tensors()), vae.get_weights()
    other.set_weights([np.zeros_like(weight) for weight in expected])
    other.load_tensors(tensors)
    for a, b in zip(other.get_weights(), expected, strict=True):
        equal(a, b)
    assert names.sizes(names.canonical(tensors)) == {
        "widths": (8, 16), "resnets": 1, "latent_channels": 4,
    }  # fmt: skip


def test_all_problems_are_listed_at_once(vae):
    tensors = vae.tensors()
    del tensors["quant_conv.bias"]
    tensors["extra"] = np.ones(1)
    tensors["encoder.conv_in.bias"] = np.ones(9)
    with pytest.raises(ValueError) as refused:
        vae.load_tensors(tensors)
    for part in ("1 missing (quant_conv.bias)", "1 unknown (extra)", "1 of another shape (encoder"):
        assert part in str(refused.value)


def test_ambiguous_and_infinite_tensors_are_refused(vae):
    tensors = vae.tensors()
    name = "encoder.mid_block.attentions.0.{}.bias"
    twice = {**tensors, name.format("query"): tensors[name.format("to_q")]}
    with pytest.raises(ValueError, match="is there twice"):
        vae.load_tensors(twice)
    with pytest.raises(ValueError, match=r"quant_conv\.bias is not finite"):
        vae.load_tensors({**tensors, "quant_conv.bias": np.full(8, np.nan, "float32")})


# ------------------------------------------------------------------------------------- files


@pytest.fixture(scope="module")
def standard():
    """A network of 32 groups, which files without a config are taken to have."""
    network = AutoencoderKL((32,), resnets=1)
    network.load_tensors(rule_weights(network.tensor_shapes(), gain=1.0))
    return network


def test_the_same_weights_have_the_same_hash_in_every_file(standard, tmp_path):
    np.savez(tmp_path / "new.npz", **standard.tensors())
    np.savez(tmp_path / "old.npz", **with_old_attention(standard.tensors()))
    standard.save(tmp_path / "own.keras")
    loaded = [vae_weights.load(tmp_path / n) for n in ("new.npz", "old.npz", "own.keras")]
    assert len({digest for _, digest in loaded}) == 1
    images = normal(1, 8, 8, 3)
    expected = standard(images)
    for network, _ in loaded:
        equal(network(images), expected, 1e-5)
    assert loaded[-1][0].get_config() == standard.get_config()
    half, digest = vae_weights.load(tmp_path / "own.keras", dtype="mixed_bfloat16")
    assert digest == loaded[0][1] and half.compute_dtype == "bfloat16"
    assert half.decoder.conv_out.compute_dtype == "bfloat16"


def test_what_is_no_autoencoder_is_one_line(tmp_path):
    np.savez(tmp_path / "w.npz", **{"conv.weight": np.zeros(3)})
    with pytest.raises(InputError, match=r"w\.npz: .*not the tensors of this autoencoder"):
        vae_weights.load(tmp_path / "w.npz")
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).save(tmp_path / "o.keras")
    with pytest.raises(InputError, match="holds a Sequential"):
        vae_weights.load(tmp_path / "o.keras")
    with pytest.raises(InputError, match=r"--vae=.*no such file; it must be sd15, sd-mse"):
        vae_weights.find(tmp_path / "absent")


def test_a_published_file_that_is_missing_offline_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"downloading is off: put https.*--vae") as refused:
        vae_weights.find("sd-mse", tmp_path, download=False)
    assert "\n" not in str(refused.value)


def test_an_autoencoder_without_a_published_hash_is_taken_as_it_is(tmp_path):
    for name in ("sd-ema", "sd-mse"):
        (tmp_path / vae_weights.PUBLISHED[name].name).write_bytes(b"weights")
    assert vae_weights.find("sd-ema", tmp_path).read_bytes() == b"weights"
    with pytest.raises(InputError, match=r"its SHA-256 is .* not the published"):
        vae_weights.find("sd-mse", tmp_path)
