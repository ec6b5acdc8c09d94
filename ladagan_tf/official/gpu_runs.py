"""What `benchmarks/gpu_run.py` brings back from a machine without TensorFlow, as a run of ours."""

import hashlib
import json
import math
import pathlib
import shutil

import keras
import numpy as np

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.files import new_folder, write_text
from ladagan_tf.models.blank import blank_of
from ladagan_tf.official.lada_runs import lada_model
from ladagan_tf.runs.checkpoints import Checkpoints
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.untrusted import read_json, read_npy
from ladagan_tf.weights.keras_file import check_classes, checked_network

DESCRIPTION = "run.json"
CARRIED = "gpu_run.json"  # in a run: the description, without the networks
COPIED = {"stats.jsonl": "stats.jsonl", "samples.png": "samples", "progress.png": "samples"}
STARTED = ("date", "command", "device", "jax", "keras")  # of its description: where it began
NETWORKS = ("averaged", "discriminator")


def write_run(folder, out, flags, class_names=()):
    """Joins the parts to a run directory.

    The generator starts from its average, which is what was carried, and both optimizers anew:
    training goes on from there, but it is not the run that a machine with TensorFlow would have
    continued.

    Args:
        folder: what `benchmarks/gpu_run.py --out` wrote.
        out: the run directory to make.
        flags: dict of text, replaces what the folder records.
        class_names: sequence of str, what the classes of a conditional run are called; that machine
            knows their numbers only.

    Returns:
        Dict: "images" and "step".

    Raises:
        InputError: if the folder is incomplete or damaged, if its run has another number of classes
            than there are names, or if `out` exists.
    """
    folder = pathlib.Path(folder)
    about, networks = read(folder, class_names)
    recorded = {**about["flags"], **flags}
    averaged, discriminator = (networks[name] for name in NETWORKS)
    generator = type(averaged).from_config({**averaged.get_config(), "name": "generator"})
    generator.set_weights(averaged.get_weights())
    gan = lada_model(generator, discriminator, averaged, recorded, folder / DESCRIPTION)
    gan.step.assign(about["step"])
    with new_folder(out) as partial:
        run = RunDirectory(partial)
        there = {name: about[name] for name in STARTED if name in about}
        write_text(run.environment_file, json.dumps([there]))  # to which this start is added
        run.start(recorded, (generator, discriminator))
        for name, place in COPIED.items():
            if (folder / name).is_file():
                shutil.copy(folder / name, partial / place)
        Checkpoints(run.checkpoints, gan.state()).save(about["step"], about["images"])
        carried = {name: value for name, value in about.items() if name != "networks"}
        write_text(partial / CARRIED, json.dumps(carried, indent=2) + "\n")
    return {"images": about["images"], "step": about["step"]}


def read(folder, class_names=()):
    """The description and both networks with their weights.

    Args:
        folder: pathlib.Path.
        class_names: see `write_run`.

    Returns:
        Dict of run.json and dict from `NETWORKS` to keras.Model.

    Raises:
        InputError: as `write_run`.
    """
    path = folder / DESCRIPTION
    if not path.is_file():
        raise InputError(f"gpu_run={folder}: no {DESCRIPTION} in it, so gpu_run.py did not make it")
    about = read_json(path)
    with one_line_about(path, "description of a run"):
        about = {**about, "step": int(about["step"]), "images": int(about["images"])}
        parts = [(folder / name, digest) for name, digest in about["parts"].items()]
        configs = {name: about["networks"][name]["config"] for name in NETWORKS}
        check_classes(configs)
        sizes = configs["averaged"]["config"]
        count = int(sizes.get("num_classes", 0))
    if count and class_names:
        if len(class_names) != count:
            raise InputError(f"{path}: {count} classes, and the set has {len(class_names)}")
        sizes["class_names"] = list(class_names)
    values = np.concatenate([_part(*part) for part in parts])
    with one_line_about(path, "description of a run"), blank_of(len(values)):
        networks = {
            name: checked_network(keras.saving.deserialize_keras_object(config))
            for name, config in configs.items()
        }
    variables = [w for name in NETWORKS for w in networks[name].weights]
    wanted = sum(math.prod(w.shape) for w in variables)
    if len(values) != wanted:
        raise InputError(f"{path}: the parts hold {len(values)} values, its networks {wanted}")
    start = 0
    for variable in variables:
        count = math.prod(variable.shape)
        variable.assign(values[start : start + count].astype(np.float32).reshape(variable.shape))
        start += count
    return about, networks


def _part(path, digest):
    if not path.is_file():
        raise InputError(f"{path}: no such file; copy all that the run brought back")
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != digest:
            raise InputError(f"{path}: it is not the part that was written; copy it again")
    return read_npy(path).ravel()
