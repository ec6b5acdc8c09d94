"""The LadaGAN authors' folders, config.json and best-training-checkpoints/: read and written."""

import json
import pathlib

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError, reason
from ladagan_tf.official.lada_fields import parse_config

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
HUB = "hf:"


def locate(source):
    """The local folder of `--official`, downloaded if it is `hf:USER/REPO/SUBFOLDER`.

    Raises:
        InputError: if huggingface_hub is not installed, or the download fails.
    """
    if not str(source).startswith(HUB):
        return pathlib.Path(source)
    user, repo, subfolder = (*str(source).removeprefix(HUB).strip("/").split("/", 2), "", "")[:3]
    if not user or not repo:
        raise InputError(f"official={source}: give hf:USER/REPO/SUBFOLDER")
    try:
        import huggingface_hub
    except ImportError:
        raise InputError(
            f"official={source}: downloading needs huggingface_hub; pip install huggingface_hub"
        ) from None
    inside = f"{subfolder}/" if subfolder else ""
    try:
        local = huggingface_hub.snapshot_download(
            f"{user}/{repo}", allow_patterns=[f"{inside}{CONFIG}", f"{inside}{CHECKPOINTS}/*"]
        )
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise InputError(f"official={source}: the download failed ({reason(error)})") from None
    return pathlib.Path(local) / subfolder


def read_config(folder):
    """The fields of a folder's config.json that we use, see `official_fields.parse_config`."""
    return parse_config(read_json(pathlib.Path(folder) / CONFIG), pathlib.Path(folder) / CONFIG)


def read_json(path):
    """The dict in a JSON file; InputError if it is not there or is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: it cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise InputError(f"{path}: it is not JSON ({reason(error)})") from None
    if not isinstance(content, dict):
        raise InputError(f"{path}: give a JSON object, not {type(content).__name__}")
    return content


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
    path = tf.train.latest_checkpoint(str(checkpoints))
    if path is None:
        raise InputError(
            f"{checkpoints}: no checkpoint; it needs the file `checkpoint` and the ckpt-N.index "
            "and ckpt-N.data-* that it names"
        )
    try:
        reader = tf.train.load_checkpoint(path)
        names = [n.removesuffix(SUFFIX) for n in reader.get_variable_to_shape_map() if n != GRAPH]
        unknown = sorted(name for name in names if name.split("/")[0] not in ROOTS)
        if unknown:
            raise InputError(
                f"{path}: no LadaGAN checkpoint: {len(unknown)} unknown, e.g. {unknown[0]}; "
                f"expected {', '.join(ROOTS)}"
            )
        wanted = [name for name in names if name.split("/")[0] in roots]
        return {name: np.asarray(reader.get_tensor(name + SUFFIX)) for name in wanted}
    except (tf.errors.OpError, RuntimeError, IndexError, OSError) as error:
        raise InputError(f"{path}: this checkpoint is damaged ({reason(error)})") from None


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
