"""What `benchmarks/gpu_run.py` brings back from a machine without TensorFlow, as a run of ours."""

import math
import pathlib
import shutil

import numpy as np

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.files import new_folder, sha256_of, write_json
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.pictures import grid, save_png, to_uint8
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.untrusted import read_json, read_npy

DESCRIPTION = "run.json"
CARRIED = "gpu_run.json"  # in a run: the description, without the networks
PICTURES = ("samples", "progress")
STARTED = ("date", "command", "device", "jax", "keras")  # of its description: where it began
AT_ONCE = 10  # pictures that are decoded together


def read(folder):
    """What is known of the run, and its weights.

    Args:
        folder: what `benchmarks/gpu_run.py --out` wrote.

    Returns:
        Dict of run.json: "flags" is a dict of text, "step" and "images" are ints; beside them
        "values", float16 (N,), all parts together.

    Raises:
        InputError: if there is no such file, or it describes no run, or a part is missing or
            damaged.
    """
    path = pathlib.Path(folder) / DESCRIPTION
    if not path.is_file():
        raise InputError(f"gpu_run={folder}: no {DESCRIPTION} in it, so gpu_run.py did not make it")
    about = read_json(path)
    with one_line_about(path, "description of a run"):
        counts = {name: int(about[name]) for name in ("step", "images")}
        if not all(0 <= count < 2**63 for count in counts.values()):
            raise ValueError(f"step {counts['step']}, images {counts['images']}")
        flags = {str(name): str(value) for name, value in about["flags"].items()}
        parts = {str(name): str(digest) for name, digest in about["parts"].items()}
        if strange := [name for name in parts if not name or pathlib.Path(name).name != name]:
            raise ValueError(f"a part is called {strange[0]!r}; give names of files beside it")
        networks = {str(name): None for name in about["networks"]}
    found = [_part(path.with_name(name), digest) for name, digest in parts.items()]
    values = np.concatenate([np.empty(0, np.float16), *found])  # none, if one was not finite
    more = {"flags": flags, "parts": parts, "networks": networks, "values": values}
    return {**about, **counts, **more}


def write_run(folder, about, out, flags, model, vae=None):
    """Joins the parts to a run directory.

    The generator starts from its average, which is what was carried, and all optimizers anew:
    training goes on from there, but it is not the run that a machine with TensorFlow would have
    continued.

    Args:
        folder: what `benchmarks/gpu_run.py --out` wrote.
        about: what `read` said of it.
        out: the run directory to make.
        flags: dict of text to record, as `train.py` does.
        model: TrainedModel that these flags describe; it is given the weights.
        vae: AutoencoderKL that decodes what a generator of latents makes, or None.

    Returns:
        Dict: "images" and "step".

    Raises:
        InputError: if the parts do not fit the model, or if `out` exists.
    """
    folder = pathlib.Path(folder)
    networks = {"averaged": model.averaged, **model.networks}
    del networks["generator"]
    alike = about["networks"].keys() == networks.keys()
    order = about["networks"] if alike else networks
    variables = [v for name in order for v in networks[name].weights]
    values = about["values"]
    wanted = sum(math.prod(v.shape) for v in variables)
    if not alike or len(values) != wanted:
        raise InputError(
            f"{folder / DESCRIPTION}: the parts hold {len(values)} values of "
            f"{', '.join(about['networks'])}; the flags describe {wanted} of {', '.join(networks)}"
        )
    start = 0
    for variable in variables:
        count = math.prod(variable.shape)
        variable.assign(values[start : start + count].astype(np.float32).reshape(variable.shape))
        start += count
    model.generator.set_weights(model.averaged.get_weights())
    model.step.assign(about["step"])
    with new_folder(out) as partial:
        run = RunDirectory(partial)
        there = {name: about[name] for name in STARTED if name in about}
        write_json(run.environment_file, [there])  # to which this start is added
        run.start(flags, tuple(model.networks.values()), vae)
        if (folder / run.stats_file.name).is_file():
            shutil.copy(folder / run.stats_file.name, run.stats_file)
        for name in PICTURES:
            _take_picture(folder / name, run.samples / f"{name}.png", model.averaged, vae)
        Checkpoints(run.checkpoints, model.state()).save(about["step"], about["images"])
        carried = {n: value for n, value in about.items() if n not in ("networks", "values")}
        write_json(partial / CARRIED, carried)
    return {"images": about["images"], "step": about["step"]}


def _part(path, digest):
    if not path.is_file():
        raise InputError(f"{path}: no such file; copy all that the run brought back")
    if sha256_of(path) != digest:
        raise InputError(f"{path}: it is not the part that was written; copy it again")
    return read_npy(path).ravel()


def _take_picture(path, out, averaged, vae):
    """A picture of the run, if there is one; of latents (rows, columns, S, S, C) it is decoded."""
    if path.with_suffix(".png").is_file():
        shutil.copy(path.with_suffix(".png"), out)
    elif vae and path.with_suffix(".npy").is_file():
        latents = read_npy(path.with_suffix(".npy"))
        shape = (averaged.latent_size, averaged.latent_size, averaged.channels)
        if latents.dtype.kind != "f" or latents.ndim != 5 or latents.shape[2:] != shape:
            raise InputError(
                f"{path.with_suffix('.npy')}: {latents.dtype} of shape {latents.shape}; floats "
                f"(rows, columns, {', '.join(map(str, shape))}) are accepted"
            )
        rows, columns = latents.shape[:2]
        latents = latents.astype(np.float32).reshape(-1, *shape)
        decode = DecodedGenerator(averaged, vae).decode
        parts = [latents[i : i + AT_ONCE] for i in range(0, rows * columns, AT_ONCE)]
        images = np.concatenate([to_uint8(decode(part)) for part in parts])
        save_png(out, grid(images, columns))
