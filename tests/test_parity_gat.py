"""Every recorded array of the official GAT networks is reproduced (tolerances:
tests/golden/README.md).

    python -m pytest tests/test_parity_gat.py --fixtures-dir=DIR

reads another set of the same layout: all sizes come from its config.json. Recorded are NCHW arrays;
ours are NHWC.
"""

import functools
import json
import re

import numpy as np
import pytest
from golden_sets import GOLDEN
from keras import ops

from ladagan_tf.errors import InputError
from ladagan_tf.models.gat.attention import rope_tables, rotate, sincos_table
from ladagan_tf.official import gat_files
from ladagan_tf.official.gat import (
    load_state,
    network_of,
    official_names,
    official_state,
    read_checkpoint,
)
from ladagan_tf.training.autodiff import value_and_grad

TOLERANCE = 1e-4
GRADIENT_TOLERANCE = 1e-3  # of a tensor's L2 norm
DEAD_BIAS = "final_layer.1.bias"  # real and fake share the class: it cancels in every term
ROWS = [0, 1, 16, 17, 255]  # shown of the tables of a 16 x 16 grid
EVERY_SET = pytest.mark.parametrize("name", ["A", "B"])


class Recorded:
    """The fixture folder: arrays by file and the sizes that made them."""

    def __init__(self, folder):
        self.folder = folder
        self.meta = json.loads((folder / "config.json").read_text())

    @functools.cache  # noqa: B019 - one instance per session
    def arrays(self, name):
        with np.load(self.folder / f"{name}.npz") as file:
            return dict(file)

    def generator(self, name, **changes):
        """The recorded generator; `changes` are other constructor arguments."""
        return network_of(self.arrays(f"{name}_weights_G"), **changes)

    def discriminator(self, name, **changes):
        return network_of(self.arrays(f"{name}_weights_D"), **changes)


@pytest.fixture(scope="module")
def recorded(gat_dir):
    return Recorded(gat_dir)


def number(tensor):
    return ops.convert_to_numpy(tensor)


def nchw(latents):
    return np.moveaxis(number(latents), -1, -3)


def nhwc(array):
    return np.moveaxis(array, -3, -1)


def side_by_side(levels):
    """Recorded levels (K, B, C, S, S) as the discriminator takes them, (B, S, S, K C)."""
    return np.concatenate(list(nhwc(levels)), axis=-1)


def assert_close(actual, expected, what="", tolerance=TOLERANCE):
    actual, expected = number(actual).astype("float64"), np.asarray(expected, "float64")
    assert actual.shape == expected.shape, what
    worst = np.max(np.abs(actual - expected), initial=0.0)
    assert worst <= tolerance, f"{what}: {worst:.2e}"


# ---------------------------------------------------------------------------------- networks


@EVERY_SET
def test_sizes_read_from_the_weights_are_the_recorded_ones(recorded, name):
    config = recorded.meta["config"][name]
    for network, sizes in (
        (recorded.generator(name), config["G"]),
        (recorded.discriminator(name), config["D"]),
    ):
        assert network.latent_size == sizes["input_size"]
        assert network.patch == sizes["patch_size"]
        assert network.channels == sizes["in_channels"]
        assert network.width == sizes["hidden_size"]
        assert network.depth == sizes["depth"]
        assert network.num_heads == sizes["num_heads"]
        assert network.num_classes == sizes["num_classes"]
    assert recorded.generator(name).noise_dim == config["G"]["latent_size"]
    discriminator = recorded.discriminator(name)
    assert discriminator.class_dim == config["D"]["cmap_dim"]
    assert (discriminator.teacher_dim or 0) == config["D"]["z_dims"][0]


@EVERY_SET
def test_generator_styles_blocks_and_levels(recorded, name):
    arrays, inputs = recorded.arrays(f"{name}_outputs"), recorded.arrays(f"{name}_inputs")
    generator = recorded.generator(name)
    style = generator.style(inputs["z"], inputs["y"])
    assert_close(style, arrays["G_w"], "w")
    x = ops.expand_dims(generator.positions, 0)
    assert_close(np.broadcast_to(number(x), arrays["G_tokens_in"].shape), arrays["G_tokens_in"])
    found = 0
    for i, block in enumerate(generator.blocks):
        x = block(x, style)
        if f"G_block{i}" in arrays:
            assert_close(x, arrays[f"G_block{i}"], f"block {i}")
            found += 1
    assert found == sum(key.startswith("G_block") for key in arrays) > 0
    outputs = generator(inputs["z"], inputs["y"], return_levels=True)
    for k, (ours, expected) in enumerate(zip(outputs, arrays["G_rgbs"], strict=True)):
        assert_close(nchw(ours), expected, f"level {k}")


# Recorded name: our psi (the official one counts from the other end) and guidance.
STRENGTHS = {"trunc0.3": (0.7, 1.0), "guid1.5": (1.0, 1.5), "guid1.5_trunc0.3": (0.7, 1.5)}


@EVERY_SET
@pytest.mark.parametrize("strength", STRENGTHS)
def test_truncation_and_official_guidance(recorded, name, strength):
    arrays, inputs = recorded.arrays(f"{name}_outputs"), recorded.arrays(f"{name}_inputs")
    psi, guidance = STRENGTHS[strength]
    generator = recorded.generator(name, official_guidance=True)
    asked = {"psi": psi, "guidance": guidance}
    style = generator.style(inputs["z"], inputs["y"], **asked)
    assert_close(style, arrays[f"G_{strength}_w"], "w")
    if f"G_{strength}_rgbs" in arrays:
        outputs = generator(inputs["z"], inputs["y"], **asked, return_levels=True)
        assert_close(np.stack([nchw(o) for o in outputs]), arrays[f"G_{strength}_rgbs"])


def test_mean_styles_after_the_generators_step(recorded):
    arrays, inputs = recorded.arrays("A_outputs"), recorded.arrays("A_inputs")
    generator = recorded.generator("A")
    generator.mean_style.assign(arrays["w_avg_before"])
    style = generator.style(inputs["z"], inputs["y"])
    updated = generator.updated_mean_style(style, inputs["y"])
    assert_close(updated, arrays["w_avg_after"], tolerance=1e-6)


@EVERY_SET
def test_discriminator_tokens_blocks_logits_and_features(recorded, name):
    arrays, inputs = recorded.arrays(f"{name}_outputs"), recorded.arrays(f"{name}_inputs")
    discriminator = recorded.discriminator(name)
    levels, labels = side_by_side(inputs["d_in"]), inputs["y"]
    x = discriminator.embed(levels)
    assert_close(x, arrays["D_tokens_in"], "tokens")
    for i, block in enumerate(discriminator.blocks):
        x = block(x)
        assert_close(x, arrays[f"D_block{i}"], f"block {i}")
    assert_close(discriminator.class_vectors(labels), arrays["D_yemb"], "class vectors")
    if "D_feat_cls" not in arrays:
        assert_close(discriminator(levels, labels), arrays["D_logits"], "logits")
        return
    logits, cls, patches = discriminator(levels, labels, return_features=True)
    assert_close(logits, arrays["D_logits"], "logits")
    assert_close(cls, arrays["D_feat_cls"][:, 0], "cls")
    assert_close(patches, arrays["D_feat_patch"], "patches")


# ---------------------------------------------------------------------------------- gradients


def cosine_distance(a, b):
    def unit(x):
        return x / ops.sqrt(ops.sum(ops.square(x), axis=-1, keepdims=True))

    return 1.0 - ops.sum(unit(a) * unit(ops.convert_to_tensor(b)), axis=-1)


def test_discriminator_gradients_of_its_whole_loss(recorded):
    """The loss of one step, written out on what the official discriminator really received."""
    arrays, inputs = recorded.arrays("A_outputs"), recorded.arrays("A_inputs")
    discriminator, labels = recorded.discriminator("A", trainable_positions=True), inputs["y"]
    seen = {k: side_by_side(arrays[f"Dstep_{k}_in"]) for k in ("gen", "real", "r1", "r2")}

    def loss():
        real, cls, patches = discriminator(seen["real"], labels, return_features=True)
        logits = {k: discriminator(seen[k], labels)[:, 0] for k in ("gen", "r1", "r2")}
        real = real[:, 0]
        penalty = ops.square((real - logits["r1"]) / 0.01)
        penalty = penalty + ops.square((logits["gen"] - logits["r2"]) / 0.01)
        alignment = cosine_distance(cls, inputs["teacher_cls"])
        alignment += ops.mean(cosine_distance(patches, inputs["teacher_patch"]), axis=-1)
        per_sample = ops.softplus(logits["gen"] - real) + alignment + 0.05 * penalty
        return ops.mean(per_sample), (per_sample, logits | {"real": real})

    (_, (per_sample, logits)), gradients = value_and_grad(loss, discriminator)
    for kind, values in logits.items():
        assert_close(values, arrays[f"Dstep_{kind}_logits"][:, 0], kind)
    assert_close(per_sample, arrays["Dstep_loss"], "loss")
    ours = by_official_name(discriminator, gradients)
    recorded_gradients = recorded.arrays("A_grads_D")
    assert sorted(ours) == sorted(recorded_gradients)
    for key, expected in recorded_gradients.items():
        if key == DEAD_BIAS:
            assert np.max(np.abs(ours[key])) < 1e-6
            continue
        off = np.linalg.norm(ours[key] - expected) / np.linalg.norm(expected)
        assert off <= GRADIENT_TOLERANCE, f"{key}: {off:.1e}"


def by_official_name(network, gradients):
    """Gradients by official name and in official layout, by way of a network that holds them."""
    holder = type(network).from_config(network.get_config())
    for weight, gradient in zip(holder.trainable_variables, gradients, strict=True):
        weight.assign(gradient)
    return {name: view.array() for name, view in official_names(holder).items()}


# -------------------------------------------------------------------------------------- units


def units(recorded, pattern):
    """Recorded units whose names match: (numbers in the name, array)."""
    arrays = recorded.arrays("units")
    found = [(re.fullmatch(pattern, key), array) for key, array in arrays.items()]
    found = [([int(n) for n in match.groups()], array) for match, array in found if match]
    assert found
    return found


def shown(table, array):
    return table[ROWS] if len(array) < len(table) else table


def test_table_of_positions(recorded):
    for (width, grid), array in units(recorded, r"sincos_(\d+)_(\d+)(?:_rows.*)?"):
        assert_close(shown(sincos_table(width, grid), array), array, f"{width}", 1e-6)


@pytest.mark.parametrize("part", ["cos", "sin"])
def test_tables_of_rotation(recorded, part):
    for (width, grid), array in units(recorded, rf"rope_{part}_(\d+)_(\d+)"):
        table = rope_tables(width, grid)[part == "sin"]
        assert_close(shown(table, array), array, f"{width}", 1e-6)


def test_rotation_leaves_the_cls_token_alone(recorded):
    arrays = recorded.arrays("units")
    x, y = (arrays[f"rope_{k}_17tok_hd16"].transpose(0, 2, 1, 3) for k in ("in", "out"))
    grid = round((x.shape[1] - 1) ** 0.5)
    cos, sin = rope_tables(x.shape[-1], grid)
    rotated = rotate(ops.convert_to_tensor(x[:, 1:]), cos, sin)
    assert_close(rotated, y[:, 1:], tolerance=1e-6)
    np.testing.assert_array_equal(x[:, 0], y[:, 0])


# -------------------------------------------------------------------------- official checkpoint


def test_official_checkpoint_gives_the_recorded_outputs(gat_checkpoint):
    about = json.loads((GOLDEN / "gat_checkpoint" / "about.json").read_text())
    recorded = Recorded(GOLDEN / "gat")  # whose weights it holds, whatever set is tested beside
    found = read_checkpoint(gat_checkpoint)
    assert found["steps"] == about["steps"]
    assert isinstance(found["args"], dict) and "model" in found["args"]
    arrays, inputs = recorded.arrays("A_outputs"), recorded.arrays("A_inputs")
    latents = found["generator"](inputs["z"], inputs["y"])
    assert_close(nchw(latents), arrays["G_rgbs"][-1])
    logits = found["discriminator"](side_by_side(inputs["d_in"]), inputs["y"])
    assert_close(logits, arrays["D_logits"])
    generator = recorded.generator("A")
    for average, weight in zip(found["ema"].weights, generator.weights, strict=True):
        assert_close(average, 0.9 * number(weight), average.path, 1e-6)


@EVERY_SET
@pytest.mark.parametrize("network", ["G", "D"])
def test_there_and_back_an_official_state_is_the_same(recorded, name, network):
    state = recorded.arrays(f"{name}_weights_{network}")
    back = official_state(network_of(state))
    assert sorted(back) == sorted(state)
    for key, array in state.items():
        if key.startswith("feat_rope"):
            assert_close(back[key], array, key, 1e-6)
        elif network == "D" or not key.startswith("x_embedder"):  # G's is dead: written as zeros
            np.testing.assert_array_equal(back[key], array, err_msg=key)
        assert back[key].shape == array.shape and back[key].dtype == "float32"


def test_missing_unknown_and_misshapen_tensors_are_listed_and_nothing_is_assigned(recorded):
    state = dict(recorded.arrays("A_weights_D"))
    network = network_of(state)
    before = network.get_weights()
    state["extra.weight"] = state.pop("cls_token") + 1.0
    state["blocks.0.ls_mlp"] = state["blocks.0.ls_mlp"][1:]
    state["final_layer.0.weight"] = state["final_layer.0.weight"] + 1.0
    expected = r"1 missing \(cls_token\), 1 of another shape \(blocks.0.ls_mlp.*1 unknown \(extra"
    with pytest.raises(ValueError, match=expected):
        load_state(network, state)
    for weight, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_a_file_that_is_no_gat_checkpoint_is_refused_by_name(monkeypatch, recorded):
    states = {k: dict(recorded.arrays(f"A_weights_{k}")) for k in "GD"}
    good = {"generator": states["G"], "ema": states["G"], "discriminator": states["D"]}
    del states["D"]["pos_embed"]
    for content, message in (
        (good, r"x\.pt: .*discriminator: 1 missing \(pos_embed\)"),
        ({part: {} for part in good}, r"x\.pt: .*generator: 1 missing \(pos_embed\)"),
        ({"generator": {}}, r"x\.pt: it has no state dict 'ema', only generator"),
        ({"model": {}}, r"x\.pt: it has no state dict 'generator', nor any"),
        ([1], r"x\.pt: .*it holds a list, no dict"),
    ):
        monkeypatch.setattr(gat_files, "read_torch", lambda path, content=content: content)
        with pytest.raises(InputError, match=message):
            read_checkpoint("x.pt")
