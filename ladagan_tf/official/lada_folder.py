"""The LadaGAN authors' folders, config.json and best-training-checkpoints/: read and written."""

import json
import math
import pathlib

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.official.lada_fields import parse_config
from ladagan_tf.untrusted import read_json

CONFIG = "config.json"
CHECKPOINTS = "best-training-checkpoints"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"  # of every value in a checkpoint of TensorFlow objects
GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
NETWORKS = ("generator", "ema_generator", "discriminator")
OPTIMIZERS = ("g_optimizer", "d_optimizer")
# What is neither a weight nor part of Adam's table, with its type.
BOOKKEEPING = {
    "n_images": np.int32,
    "fid": np.float32,
    "best_fid": np.float32,
    "save_counter": np.int64,
}
ROOTS = (*NETWORKS, *OPTIMIZERS, *BOOKKEEPING)
FILES = (CONFIG, f"{CHECKPOINTS}/*")  # what to download of one


def is_official(path):
    """Whether a path is a folder of LadaGAN's authors."""
    return (pathlib.Path(path) / CHECKPOINTS).is_dir()


def read_config(folder):
    """The fields of a folder's config.json that we use, see `lada_fields.parse_config`."""
    return parse_config(read_json(pathlib.Path(folder) / CONFIG), pathlib.Path(folder) / CONFIG)


def read_arrays(folder, roots=ROOTS):
    """Reads the values of a folder's newest checkpoint.

    Args:
        folder: an official folder.
        roots: names to read, or first parts of names.

    Returns:
        Dict from official name, as in `official.lada_names`, to array.

    Raises:
        InputError: if there is no checkpoint, it is damaged, or it holds values under other names
            than `ROOTS`.
    """
    checkpoints = pathlib.Path(folder) / CHECKPOINTS
    with one_line_about(checkpoints, "folder of checkpoints"):
        path = tf.train.latest_checkpoint(str(checkpoints))
    if path is None:
        raise InputError(
            f"{checkpoints}: no checkpoint; it needs the file `checkpoint` and the ckpt-N.index "
            "and ckpt-N.data-* that it names"
        )
    with one_line_about(path, "checkpoint"):
        reader = tf.train.load_checkpoint(path)
        shapes = reader.get_variable_to_shape_map()
        names = [name.removesuffix(SUFFIX) for name in shapes if name != GRAPH]
        unknown = sorted(name for name in names if name.split("/")[0] not in ROOTS)
        if unknown:
            raise InputError(
                f"{path}: no LadaGAN checkpoint: {len(unknown)} unknown, e.g. {unknown[0]}; "
                f"expected {', '.join(ROOTS)}"
            )
        wanted = [name for name in names if name.split("/")[0] in roots]
        _check_declared({name: shapes.get(name + SUFFIX) for name in wanted}, path)
        arrays = {name: np.asarray(reader.get_tensor(name + SUFFIX)) for name in wanted}
        for name, array in arrays.items():
            if array.dtype.kind not in "fiu":
                raise ValueError(f"{name} is {array.dtype}, not a number")
            counter = name in BOOKKEEPING or name.endswith("/_learning_rate")
            if counter and (array.ndim or not 0 <= array < np.inf):
                raise ValueError(f"{name} must be one number from 0 on")
        return arrays


def _check_declared(shapes, path):
    """Raises ValueError if values of these shapes cannot be in a checkpoint's files of data.

    Args:
        shapes: dict from name to list of ints; None for a value that is not there.
        path: str, the checkpoint's files without their suffixes.
    """
    stored = sum(file.stat().st_size for file in pathlib.Path(path).parent.glob("*.data-*"))
    if None in shapes.values():
        raise ValueError("its names are not those of variables")
    values = sum(math.prod(shape) for shape in shapes.values())
    if values > stored:
        raise ValueError(f"{values} values in {stored} bytes")


def write_folder(folder, config, arrays):
    """Writes an official folder that the authors' code can restore.

    Args:
        folder: pathlib.Path of an empty folder.
        config: dict of plain values.
        arrays: dict from official name to array, `n_images` among them.
    """
    (folder / CHECKPOINTS).mkdir()
    text = json.dumps(config, indent=1)
    (folder / CONFIG).write_text(text, encoding="utf-8")
    name = f"ckpt-{int(arrays['n_images'])}"
    tf.train.Checkpoint(_objects(arrays)).write(str(folder / CHECKPOINTS / name))
    (folder / CHECKPOINTS / "checkpoint").write_text(
        f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
    )


def _objects(arrays):
    """A tree of objects whose attribute paths are the names, as TensorFlow saves them."""
    root = tf.Module()
    for name, array in arrays.items():
        *parents, leaf = name.split("/")
        node = root
        for parent in parents:
            if not hasattr(node, parent):
                setattr(node, parent, tf.Module())
            node = getattr(node, parent)
        setattr(node, leaf, tf.Variable(array))
    for optimizer in OPTIMIZERS:
        if hasattr(root, optimizer):
            _add_aliases(getattr(root, optimizer))
    return root


def _add_aliases(adam):
    """The other ways to an optimizer's variables, by which the authors' Keras restores them."""
    setattr(adam._variables, "0", adam._iterations)
    adam._momentums, adam._velocities = tf.Module(), tf.Module()
    number = 1
    while hasattr(adam._variables, str(number)):
        owner = adam._momentums if number % 2 else adam._velocities
        setattr(owner, str((number - 1) // 2), getattr(adam._variables, str(number)))
        number += 1
