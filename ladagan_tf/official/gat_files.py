"""Official GAT weights, as files and folders hold them: read as state dicts, nothing executed.

The authors publish a .pt file of their training code. The Hugging Face repository
BiliSakura/GAT-diffusers holds it as diffusers writes networks: a folder `generator` of config.json
and safetensors, whole or in shards, with the authors' names. There is one generator in it, and
nothing says which: the converter that made it takes the averaged one unless it is told otherwise.
"""

import dataclasses
import pathlib

import numpy as np
import safetensors

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.untrusted import read_json
from ladagan_tf.weights.reading import read_weights
from ladagan_tf.weights.torch_file import read_torch

PARTS = ("generator", "ema", "discriminator")
KIND = "GAT checkpoint"
CONFIG = "config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
FOLDERS = {"ema": "generator", "discriminator": "discriminator"}  # of diffusers, by part
# What to download of a folder: its autoencoder, if it has one, is none of it.
FILES = (
    *(f"{part}.safetensors" for part in PARTS),
    *(
        f"{folder}{name}"
        for folder in ("", *(f"{folder}/" for folder in FOLDERS.values()))
        for name in (CONFIG, WEIGHTS, INDEX, "diffusion_pytorch_model-*-of-*.safetensors")
    ),
)
WRAPPERS = {"module", "_orig_mod"}  # of DistributedDataParallel and torch.compile, in names


@dataclasses.dataclass
class Content:
    """What was read.

    Attributes:
        states: dict, part -> dict of arrays by official name.
        configs: dict, part -> dict of the fields of its config.json, where there is one.
        args: dict, flags of the run.
        steps: int or None, of training.
    """

    states: dict
    configs: dict = dataclasses.field(default_factory=dict)
    args: dict = dataclasses.field(default_factory=dict)
    steps: int | None = None


def is_folder(path):
    """Whether a path is a folder of official GAT weights, in any layout that `read` knows."""
    path = pathlib.Path(path)
    ours = any((path / f"{part}.safetensors").is_file() for part in PARTS)
    return ours or _is_network(path) or _is_pipeline(path)


def _is_network(folder):
    return (folder / WEIGHTS).is_file() or (folder / INDEX).is_file()


def _is_pipeline(folder):
    return any(_is_network(folder / name) for name in FOLDERS.values())


def read(path, parts):
    """State dicts of an official checkpoint.

    Args:
        path: a .pt file of the training code, or of one state dict, bare or as "model"; a
            .safetensors file or a folder of diffusers with one; a folder of them by part, as
            `gat_runs.write_official` makes it, or as diffusers does.
        parts: tuple of names of `PARTS`. One state dict alone is taken for whichever is asked for.

    Returns:
        Content.

    Raises:
        InputError: if a file cannot be read, or a part is not there.
    """
    path = pathlib.Path(path)
    if path.suffix != ".safetensors" and not path.is_dir():
        return _read_torch(path, parts)
    if path.suffix == ".safetensors" or _is_network(path):
        if len(parts) > 1:
            raise InputError(f"{path}: it holds one network, not {', '.join(parts)}")
        places = dict.fromkeys(parts, path)
    elif _is_pipeline(path):
        there = {part: path / name for part, name in FOLDERS.items() if _is_network(path / name)}
        for part in parts:
            _check_there(path, part, there, parts)
        places = {part: there[part] for part in parts}
    else:
        places = {part: path / f"{part}.safetensors" for part in parts}
    content = Content({})
    for part, place in places.items():
        if place.is_dir():
            content.states[part] = _named(_read_folder(place), place)
            if (place / CONFIG).is_file():
                content.configs[part] = read_json(place / CONFIG)
        else:
            content.states[part] = _named(read_weights(place), place)
            content.args, content.steps = _noted(place)
    return content


def _check_there(path, part, there, parts):
    """InputError if a part is not `there`, which names those that are."""
    if part not in there:
        only = f"only {', '.join(there)}" if there else f"nor any of {', '.join(PARTS)}"
        run = "; that makes a .keras file, but no run" if there and len(parts) > 1 else ""
        raise InputError(f"{path}: it has no state dict {part!r}, {only}{run}")


def _read_torch(path, parts):
    found = read_torch(path)
    with one_line_about(path, KIND):
        if not isinstance(found, dict):
            raise ValueError(f"it holds a {type(found).__name__}, no dict")
        there = {part: found[part] for part in PARTS if isinstance(found.get(part), dict)}
        alone = found.get("model", found)
        bare = isinstance(alone, dict) and any(isinstance(a, np.ndarray) for a in alone.values())
        if bare and not there and len(parts) == 1:
            there = dict.fromkeys(parts, alone)
        for part in parts:
            _check_there(path, part, there, parts)
        states = {part: _named(there[part], path) for part in parts}
        steps = found.get("steps")
        # The training code keeps its flags as "args"; files made for publication as "config".
        args = found.get("args") or found.get("config") or {}
        return Content(states, {}, dict(args), None if steps is None else int(steps))


def _read_folder(folder):
    """The tensors in a folder of diffusers; shards come before a whole file, as there."""
    index = folder / INDEX
    if not index.is_file():
        return read_weights(folder / WEIGHTS)
    names = read_json(index).get("weight_map")
    with one_line_about(index, "index of shards"):
        if not isinstance(names, dict) or not names:
            raise ValueError("it has no weight_map")
        files = sorted(set(names.values()))
        for file in files:  # another folder's files are none of its business
            if pathlib.PurePath(file).name != file or not file.endswith(".safetensors"):
                raise ValueError(f"{file!r} is no .safetensors file beside it")
    state = {}
    for file in files:
        shard = read_weights(folder / file)
        if wrong := {name for name in shard if names.get(name) != file}:
            raise InputError(f"{folder / file}: {INDEX} does not say that it holds {min(wrong)}")
        state |= shard
    if missing := names.keys() - state.keys():
        raise InputError(f"{index}: {min(missing)} is not in {names[min(missing)]}")
    return state


def _named(state, path):
    """A state dict without what wraps networks in its names."""
    plain = {}
    with one_line_about(path, KIND):
        for name, array in state.items():
            if not isinstance(array, np.ndarray):
                raise ValueError(f"{name} is no tensor, but a {type(array).__name__}")
            name = ".".join(part for part in str(name).split(".") if part not in WRAPPERS)
            if name in plain:
                raise ValueError(f"two tensors are called {name}")
            plain[name] = array
    return plain


def _noted(path):
    """(args, steps): what `gat_runs.write_official` notes in a file beside the weights."""
    with one_line_about(path, KIND), safetensors.safe_open(path, framework="np") as file:
        noted = file.metadata() or {}
        args = {name: noted[name] for name in ("batch_size",) if name in noted}
        return args, int(noted["steps"]) if "steps" in noted else None
