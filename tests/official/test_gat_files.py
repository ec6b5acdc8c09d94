"""GAT's published layouts are read, each to the same network; what is none of them is refused."""

import argparse
import json

import keras
import numpy as np
import pytest
from ml_dtypes import bfloat16
from safetensors.numpy import save_file
from torch_writing import save_torch

from ladagan_tf.errors import InputError
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.official import gat as official_gat
from ladagan_tf.official import gat_files, gat_runs

SIZES = {"latent_size": 8, "patch": 4, "width": 8, "num_heads": 2, "num_classes": 3}
CONFIG = {  # as diffusers writes the constructor's arguments
    "_class_name": "GATGenerator", "_diffusers_version": "0.38.0", "input_size": 8, "patch_size": 4,
    "in_channels": 4, "latent_size": 6, "hidden_size": 8, "depth": 4, "num_heads": 2,
    "mlp_ratio": 4.0, "class_dropout_prob": 0.0, "num_classes": 3, "z_dims": [768],
    "projector_dim": 2048, "fused_attn": True, "qk_norm": True,
}  # fmt: skip


def contiguous(state):
    return {name: np.ascontiguousarray(array) for name, array in state.items()}


@pytest.fixture(scope="module")
def state():
    """The state dict of a generator whose weights are all different."""
    network = GatGenerator(**SIZES, depth=4, noise_dim=6)
    rng = np.random.default_rng(0)
    network.set_weights([rng.normal(size=w.shape).astype("float32") for w in network.weights])
    return contiguous(official_gat.official_state(network))


@pytest.fixture(scope="module")
def discriminator():
    network = GatDiscriminator(**SIZES, depth=1, class_dim=8, teacher_dim=None)
    return contiguous(official_gat.official_state(network))


def write_network(folder, state, config=CONFIG, shards=None):
    """A folder as diffusers saves a network, whole or in shards."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    if shards is None:
        save_file(state, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
        return folder
    names, weight_map = sorted(state), {}
    for number in range(shards):
        file = f"diffusion_pytorch_model-{number + 1:05d}-of-{shards:05d}.safetensors"
        part = {name: state[name] for name in names[number::shards]}
        save_file(part, folder / file, {"format": "pt"})
        weight_map |= dict.fromkeys(part, file)
    index = {"metadata": {"total_size": 1}, "weight_map": weight_map}
    (folder / "diffusion_pytorch_model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def published_torch(path, state):
    """What the authors published: both generators, and flags; no discriminator."""
    halved = {name: array / 2 for name, array in state.items()}
    args = argparse.Namespace(model="GAT-XL/2", resolution=256, resume=None)
    return save_torch(path / "x.pt", {"ema": state, "generator": halved, "args": args, "steps": 9})


def wrapped_torch(path, state):
    wrapped = {}
    for name, array in state.items():
        first, _, rest = name.partition(".")
        wrapped[f"module._orig_mod.{first}{rest and f'._orig_mod.{rest}'}"] = array
    return save_torch(path / "x.pt", {"ema": wrapped, "config": {"model": "GAT-XL/2"}})


LAYOUTS = {
    "the .pt of June 2026": published_torch,
    "names of compiled and distributed networks": wrapped_torch,
    "a bare state dict": lambda path, state: save_torch(path / "x.pt", state),
    "a model": lambda path, state: save_torch(path / "x.pth", {"model": state}),
    "diffusers": lambda path, state: write_network(path / "x" / "generator", state).parent,
    "its generator": lambda path, state: write_network(path / "x", state),
    "its shards": lambda path, state: write_network(path / "x", state, shards=3),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_network(state, tmp_path, layout):
    path = LAYOUTS[layout](tmp_path, state)
    assert gat_runs.is_official(path)
    network, steps = gat_runs.open_official(path)
    assert steps == (9 if layout == "the .pt of June 2026" else None)
    for name, view in official_gat.official_names(network).items():
        np.testing.assert_allclose(view.array(), state[name], 0, 1e-6, err_msg=name)


def test_a_discriminator_of_diffusers_is_read_beside_the_generator(state, discriminator, tmp_path):
    write_network(tmp_path / "generator", state)
    config = {**CONFIG, "_class_name": "GATDiscriminator", "depth": 1, "cmap_dim": 8}
    del config["latent_size"]
    write_network(tmp_path / "discriminator", discriminator, config)
    network, _ = gat_runs.open_official(tmp_path, "discriminator")
    for name, view in official_gat.official_names(network).items():
        np.testing.assert_array_equal(view.array(), discriminator[name], err_msg=name)


@pytest.mark.parametrize("kind", [np.float16, bfloat16])
def test_half_precision_becomes_float32(state, tmp_path, kind):
    halves = {name: array.astype(kind) for name, array in state.items()}
    network, _ = gat_runs.open_official(write_network(tmp_path / "x", halves))
    for name, view in official_gat.official_names(network).items():
        np.testing.assert_array_equal(view.array(), halves[name].astype("float32"))


def test_a_generator_alone_makes_no_run(state, tmp_path):
    for path, message in (
        (published_torch(tmp_path, state), "'discriminator', only generator, ema; that makes a .k"),
        (write_network(tmp_path / "x" / "generator", state).parent, "'generator', only ema; that"),
    ):
        with pytest.raises(InputError, match=f"no state dict {message}"):
            official_gat.read_checkpoint(path)
    with pytest.raises(InputError, match=r"no state dict 'generator', only ema$"):
        gat_runs.open_official(tmp_path / "x", "generator")  # the averaged one under its name
    with pytest.raises(InputError, match="no state dict 'ema', nor any of generator, ema, disc"):
        gat_runs.open_official(save_torch(tmp_path / "y.pt", {"steps": 3}))


def test_other_names_are_refused_and_listed(state, tmp_path):
    other = {f"transformer_{name}": array for name, array in state.items()}
    more = {**state, "blocks.0.attn.to_q.weight": state["w_avg"]}
    for number, (tensors, message) in enumerate((
        (other, r"1 missing \(pos_embed\); its names are transformer_blocks.0.adaLN_modulation"),
        (more, r"1 unknown \(blocks.0.attn.to_q.weight\)"),
        ({"module.w_avg": state["w_avg"], "w_avg": state["w_avg"]}, "two tensors are called w_avg"),
    )):  # fmt: skip
        path = write_network(tmp_path / str(number), tensors)
        with pytest.raises(InputError, match=message):
            gat_runs.open_official(path)
    listed = save_torch(tmp_path / "x.pt", {"ema": {"w_avg": "text"}})
    with pytest.raises(InputError, match="w_avg is no tensor, but a str"):
        gat_runs.open_official(listed)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"_class_name": "DiTTransformer2DModel"}, "is of a DiTTransformer2DModel, not GATGener"),
        ({"num_heads": 4}, "config.json has num_heads=4, its tensors 2"),
        ({"input_size": "big"}, "config.json has input_size=big, its tensors 8"),
    ],
)
def test_a_config_that_its_tensors_contradict_is_refused(state, tmp_path, changes, message):
    path = write_network(tmp_path / "x", state, CONFIG | changes)
    with pytest.raises(InputError, match=message):
        gat_runs.open_official(path)


def test_an_index_that_does_not_fit_its_shards_is_refused(state, tmp_path):
    folder = write_network(tmp_path / "x", state, shards=2)
    file = folder / gat_files.INDEX
    names = json.loads(file.read_text())["weight_map"]
    first, second = sorted(set(names.values()))
    ours = next(name for name, shard in names.items() if shard == first)
    for weight_map, message in (
        (None, "it has no weight_map"),
        ({**names, ours: "../other.safetensors"}, "'../other.safetensors' is no .safetensors file"),
        ({**names, ours: second}, f"does not say that it holds {ours}"),
        ({**names, "extra": first}, f"extra is not in {first}"),
        ({**names, "extra": "none.safetensors"}, "none.safetensors: no such file"),
    ):
        file.write_text(json.dumps({"weight_map": weight_map}))
        with pytest.raises(InputError, match=message):
            gat_runs.open_official(folder)


def test_what_a_diffusers_folder_holds_besides_is_not_downloaded():
    assert "generator/diffusion_pytorch_model.safetensors" in gat_files.FILES
    assert not any(file.startswith(("vae", "*", "optim")) for file in gat_files.FILES)


def test_the_network_draws_what_it_did(state, tmp_path):
    """The layout with the most between file and network: its outputs are those of the original."""
    original = official_gat.network_of(state)
    again, _ = gat_runs.open_official(write_network(tmp_path / "x", state, shards=2))
    z, labels = np.random.default_rng(1).normal(size=(2, 6)).astype("float32"), np.array([0, 2])
    expected = keras.ops.convert_to_numpy(original(z, labels))
    np.testing.assert_allclose(again(z, labels), expected, 0, 1e-6)
