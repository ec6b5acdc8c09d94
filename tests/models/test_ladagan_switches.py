"""The generator's and discriminator's switches of the paper's ablation (Sec. IV-C)."""

import functools
import math
import random

import keras
import numpy as np
import pytest
from ladagan_networks import (
    TINY,
    Z,
    latents,
    number,
    pictures,
    tiny_discriminator,
    tiny_generator,
)
from traced_products import multiply_adds

from ladagan_tf.cost.lada import discriminator_multiply_adds, generator_multiply_adds
from ladagan_tf.models.attention import ATTENTIONS
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.lada.generator import GRID, soft_clip
from ladagan_tf.models.lada.sizes import NORMS, OUTPUTS

WIDTHS, HEADS, MLP = (32, 8, 8), 2, 4
RANK, WINDOW = 5, 4
# Every switch in one of few networks: what each does to the others is counted, too.
SWITCHES = {
    "additive": {},
    "per_head": {"score": "per_head"},
    "dot_product": {
        "attention": "dot_product",
        "attention_residual": False,
        "output_range": "tanh",
    },
    "fastformer": {
        "attention": "fastformer",
        "modulation": "layer_norm",
        "conv": False,
        "widths": (32, 8, 2),
    },
    "linformer": {
        "attention": "linformer",
        "mlp_residual": True,
        "positional": False,
        "output_range": "softclip",
    },
    "swin": {"attention": "swin"},
    "swin_pair": {"attention": "swin_pair", "modulation": "vitgan_sln"},
}
EVERY_SWITCH = pytest.mark.parametrize("name", SWITCHES)


@functools.cache
def built(name):
    """The generator of some switches, built once for all that is said of it."""
    sizes = {"widths": WIDTHS, "rank": RANK, "window": WINDOW}
    with blank_of(math.inf):  # filled where it computes images
        return tiny_generator(**{**sizes, **SWITCHES[name]})


def parameters(
    widths=WIDTHS,
    attention="additive",
    score="full",
    modulation="sln",
    conv=True,
    positional=True,
    **others,
):
    """The closed form, from the layers' definitions."""
    total = Z * 64 * widths[0]  # latent to tokens
    if modulation == "vitgan_sln":
        total += 2 * (Z * Z + Z)
    for i, (side, d) in enumerate(zip(GRID, widths, strict=True)):
        tokens, affine, window = side**2, d * d + d, min(WINDOW, side)
        swin = 4 * affine + HEADS * (2 * window - 1) ** 2
        total += positional * tokens * d
        total += {
            "additive": 4 * affine + (HEADS * (d + 1) if score == "full" else d),
            "fastformer": 3 * affine + 2 * HEADS * (d + 1),
            "linformer": 4 * affine + 2 * tokens * RANK,
            "swin": swin,
            "swin_pair": 2 * swin,
            "dot_product": 4 * affine,
        }[attention]
        total += d * MLP + MLP + MLP * d + d
        total += (
            2
            * {
                "sln": Z * d + d + 2 * affine,
                "vitgan_sln": 2 * (Z * d + d),
                "layer_norm": 2 * d,
            }[modulation]
        )
        if conv and i < 2:
            total += 9 * d // 4 * widths[i + 1] + widths[i + 1]
    return total + 9 * widths[2] * 3 + 3


@EVERY_SWITCH
def test_parameters_are_the_closed_form(name):
    assert built(name).count_params() == parameters(**SWITCHES[name])


@EVERY_SWITCH
def test_multiply_adds_are_those_of_the_traced_graph(name):
    generator = built(name)
    # The paper's score per head is an elementwise product and a sum, not a matrix product.
    per_head = SWITCHES[name].get("score") == "per_head"
    in_sums = sum(side**2 * d for side, d in zip(GRID, WIDTHS, strict=True)) if per_head else 0
    assert generator_multiply_adds(generator) == multiply_adds(generator, (1, Z)) + in_sums


# Those of additive attention are saved in test_ladagan.py, and a pair has the parts of "swin".
@pytest.mark.parametrize("name", ["dot_product", "fastformer", "linformer", "swin_pair"])
def test_a_saved_network_is_the_same_network(tmp_path, randomised, rng, name):
    generator = randomised(built(name))
    generator.save(tmp_path / "generator.keras")
    loaded = keras.saving.load_model(tmp_path / "generator.keras")
    assert loaded.get_config() == generator.get_config()
    z = latents(rng)
    np.testing.assert_array_equal(number(loaded(z)), number(generator(z)))


def test_a_config_from_before_the_switches_is_the_paper_s_network():
    new = (
        "attention",
        "rank",
        "window",
        "attention_residual",
        "mlp_residual",
        "positional",
        "modulation",
        "conv",
        "output_range",
    )
    generator = tiny_generator()
    config = {key: value for key, value in generator.get_config().items() if key not in new}
    assert type(generator).from_config(config).get_config() == generator.get_config()


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_every_attention_but_linformer_says_where_it_looks(randomised, rng, kind):
    generator = randomised(built(kind))
    _, maps = generator.attention_maps(latents(rng))
    assert generator.has_attention_maps == (kind != "linformer")
    for side, weights in zip(GRID, maps, strict=True):
        if kind == "linformer":
            assert weights is None
        else:
            np.testing.assert_allclose(number(weights).sum(axis=2), np.ones((2, HEADS)), rtol=1e-5)
            assert weights.shape[2] == side**2


@pytest.mark.parametrize("name", ["additive", "swin_pair", "fastformer"])
def test_the_norms_read_the_latent_unless_they_are_plain(randomised, rng, name):
    """With tokens that do not depend on z, images do only through the norms."""
    generator = randomised(built(name))
    kernel = generator.latent_to_tokens.kernel
    kernel.assign(np.zeros(kernel.shape))
    first, second = number(generator(latents(rng)))
    # Not to the bit: processors without AVX-512 compute the rows of a batch in different ways.
    assert np.allclose(first, second, atol=1e-4) == (generator.modulation == "layer_norm")


def test_all_norms_of_vitgan_read_one_mapped_latent(randomised, rng):
    generator = randomised(built("swin_pair"))
    z = latents(rng)
    w = z
    for layer in generator.mapping:
        w = np.maximum(w @ number(layer.kernel) + number(layer.bias), 0.0)
    norm, x = generator.blocks[1].mlp_norm, rng.standard_normal((2, 256, WIDTHS[1]))
    deviation = x - x.mean(axis=2, keepdims=True)
    normed = deviation / np.sqrt((deviation**2).mean(axis=2, keepdims=True) + 1e-6)
    scale, shift = (
        (w @ number(part.kernel) + number(part.bias))[:, None] for part in (norm.scale, norm.shift)
    )
    np.testing.assert_allclose(
        number(norm(x.astype("float32"), w.astype("float32"))),
        normed * scale + shift,
        rtol=1e-4,
        atol=1e-5,
    )


def test_without_convolutions_a_width_is_a_quarter_of_the_one_before():
    message = r"conv=False with widths=\[8, 8, 64\]: 8 is not a quarter of 8"
    with pytest.raises(ValueError, match=message):
        tiny_generator(**{**TINY, "conv": False})


def test_an_unknown_modulation_is_refused():
    with pytest.raises(ValueError, match="modulation='film' is not one of sln, vitgan_sln"):
        tiny_generator(modulation="film")


def test_a_bounded_output_is_a_function_of_the_linear_one(randomised, rng, monkeypatch):
    network, z, images = randomised(built("additive")), latents(rng), {}
    for name in OUTPUTS:
        monkeypatch.setattr(network, "output_range", name)
        images[name] = number(network(z))
    linear = images["linear"]
    np.testing.assert_allclose(images["tanh"], np.tanh(linear), rtol=1e-5, atol=1e-6)
    beyond = np.abs(linear) > 1
    assert 0 < beyond.sum() < beyond.size
    np.testing.assert_array_equal(images["softclip"][~beyond], linear[~beyond])
    bent = np.sign(linear) * (1 + 0.1 * np.tanh((np.abs(linear) - 1) / 0.1))
    np.testing.assert_allclose(images["softclip"][beyond], bent[beyond], rtol=1e-5, atol=1e-6)


def test_a_soft_clip_has_a_slope_of_one_within_and_none_far_beyond():
    x = np.array([-3.0, -1.0, 0.0, 0.5, 1.0, 1.05, 3.0])
    h = 1e-4
    slope = (number(soft_clip(x + h)) - number(soft_clip(x - h))) / (2 * h)
    expected = np.where(np.abs(x) > 1, 1 / np.cosh((np.abs(x) - 1) / 0.1) ** 2, 1.0)
    np.testing.assert_allclose(slope, expected, atol=2e-2)


# ------------------------------------------------------------------------------ discriminator


def test_a_convolutional_discriminator_lacks_the_block_and_its_positions():
    whole, convolutional = (tiny_discriminator(ladaformer=on) for on in (True, False))
    d, mlp = 4, 3
    block = 4 * (d * d + d) + 2 * (d + 1) + 2 * d * mlp + mlp + d + 4 * d
    assert whole.count_params() - convolutional.count_params() == block + 256 * d
    assert whole.count_params() - tiny_discriminator(positional=False).count_params() == 256 * d
    in_block = 256 * (4 * d**2 + 2 * d + 2 * d * mlp)
    difference = discriminator_multiply_adds(whole) - discriminator_multiply_adds(convolutional)
    assert difference == in_block


def test_without_positions_a_discriminator_s_blocks_see_no_order(randomised, rng):
    moved = {}
    for positional in (True, False):
        network = randomised(tiny_discriminator(positional=positional))
        tokens, order = rng.standard_normal((1, 256, 4)).astype("float32"), rng.permutation(256)
        added = network.positions(tokens) if positional else tokens
        mixed = network.positions(tokens[:, order]) if positional else tokens[:, order]
        through, of_mixed = (number(network.block(x)[0]) for x in (added, mixed))
        moved[positional] = np.abs(through[:, order] - of_mixed).max()
    assert moved[False] < 1e-5 < 1e-1 < moved[True]


@pytest.mark.parametrize(
    "switches",
    [{"ladaformer": False, "norm": "none"}, {"positional": False, "norm": "group"}],
)
def test_a_saved_switched_discriminator_is_the_same(tmp_path, randomised, rng, switches):
    network = randomised(tiny_discriminator(scale_cue=True, **switches))
    network.save(tmp_path / "discriminator.keras")
    loaded = keras.saving.load_model(tmp_path / "discriminator.keras")
    assert loaded.get_config() == network.get_config()
    images = pictures(rng, 32)
    np.testing.assert_array_equal(number(loaded(images)), number(network(images)))


def test_only_a_scale_cue_shows_d_how_large_the_values_of_a_whole_batch_are(rng):
    images = pictures(rng, 32, 4)
    moved = {}
    for cue in (False, True):
        network = tiny_discriminator(scale_cue=cue)
        small, large = (number(network(s * images, training=True)) for s in (1.0, 4.0))
        moved[cue] = np.abs(large - small).max() / np.abs(small).max()
    assert moved[False] < 0.05 < 0.2 < moved[True]  # not 0: batch norm adds 1e-3 to a variance


def test_a_scale_cue_is_one_more_input_channel():
    plain, cued = (tiny_discriminator(scale_cue=cue) for cue in (False, True))
    assert cued.count_params() - plain.count_params() == 9 * 4
    assert discriminator_multiply_adds(cued) - discriminator_multiply_adds(plain) == 9 * 4 * 32**2


@pytest.mark.parametrize("norm", NORMS)
def test_a_norm_decides_what_d_sees_of_a_batch_and_of_its_scale(norm, rng):
    network, images = tiny_discriminator(norm=norm), pictures(rng, 32, 4)
    whole, half = (number(network(x, training=True)) for x in (images, images[:2]))
    assert np.allclose(whole[:2], half, rtol=1e-3, atol=1e-5) == (norm != "batch")
    large = number(network(4.0 * images, training=True))
    moved = np.abs(large - whole).max() / np.abs(whole).max()
    assert (moved > 0.2) == (norm == "none")


def test_a_configuration_from_before_there_was_a_choice_has_batch_norm():
    config = tiny_discriminator().get_config()
    assert config.pop("norm") == "batch"
    rebuilt = type(tiny_discriminator()).from_config(config)
    paths = [w.path for w in tiny_discriminator().weights]
    assert [w.path for w in rebuilt.weights] == paths
    assert any("moving_variance" in path for path in paths)


def test_a_choice_that_was_not_made_takes_nothing_of_the_seed():
    """Every initializer takes a number when it is made; one too many changes all later weights."""
    keras.utils.set_random_seed(0)
    network = tiny_discriminator()
    following = random.randint(1, 10**9)
    keras.utils.set_random_seed(0)
    drawn = [random.randint(1, 10**9) for w in network.weights if len(w.shape) > 1]
    assert len(drawn) > 5 and random.randint(1, 10**9) == following


def test_another_norm_is_refused():
    with pytest.raises(ValueError, match="norm='layer' is not one of batch, none, group"):
        tiny_discriminator(norm="layer")


def test_without_attention_to_all_a_logit_reads_a_part_of_the_image(rng):
    images = pictures(rng, 32, 1)
    changed = images.copy()
    changed[:, :4, :4] *= -1.0
    moved = {}
    for on in (True, False):
        network = tiny_discriminator(ladaformer=on)
        moved[on] = number(network(changed) != network(images))[0].reshape(5, 5)
    assert moved[True].all()
    assert moved[False][0, 0] and not moved[False][4, 4]
