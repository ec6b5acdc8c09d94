"""Trained generators behind one interface: from a run, a `.keras` file or a SavedModel."""

import json
import pathlib

import keras
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.generators import Trained, of_network
from ladagan_tf.training.checkpoints import find_checkpoint, read_part
from ladagan_tf.training.run import RunDirectory


def open_run(path, checkpoint="best", ema=True, precision="float32"):
    """Loads the generator of a run.

    Args:
        path: a run directory.
        checkpoint: see `training.checkpoints.find_checkpoint`; or "untrained", new weights from
            the seed 0, as a baseline (this sets Keras's global seed).
        ema: bool, the averaged weights or those that were trained.
        precision: Keras dtype policy to compute in; the weights are float32 in each.

    Returns:
        Trained.

    Raises:
        InputError: if it is no run, or has no such checkpoint.
    """
    run = RunDirectory(path)
    if not run.models_file.is_file():
        raise InputError(f"run_dir={path}: no {run.models_file.name} in it, so it is not a run")
    about = {"model": str(path), "checkpoint": checkpoint, "kimg": 0, "precision": precision}
    if checkpoint == "untrained":
        keras.utils.set_random_seed(0)
        return of_network(read_network(run, "generator", precision), about)
    found, state = find_checkpoint(run.checkpoints, checkpoint)
    network = read_network(run, "generator", precision)
    load_part(network, found, "averaged" if ema else "generator")
    about |= {"checkpoint": found.name, "kimg": state["images"] / 1000, "ema": ema}
    return of_network(network, about)


def read_network(run, name, precision=None):
    """Builds a network of a run with new weights, in another dtype policy if one is given."""
    try:
        saved = json.loads(run.models_file.read_text())[name]
        if precision:
            saved["config"]["dtype"] = precision
        return keras.saving.deserialize_keras_object(saved)
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{run.models_file}: {name} cannot be read ({reason})") from None


def load_part(network, checkpoint, part):
    """Sets a network's weights to one part of a checkpoint, e.g. "averaged" or "discriminator"."""
    arrays = read_part(checkpoint, part)
    try:
        network.set_weights(arrays)
    except ValueError as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{checkpoint}: {part} does not fit models.json ({reason})") from None


def open_model(path, precision="float32"):
    """Loads a generator from a `.keras` file or a SavedModel folder.

    Args:
        path: a file ending in .keras, or a folder with a saved_model.pb.
        precision: Keras dtype policy; a SavedModel computes as it was exported.

    Returns:
        Trained.

    Raises:
        InputError: if it is neither, or no generator.
    """
    path = pathlib.Path(path)
    if path.is_file() and path.suffix == ".keras":
        return of_network(
            _load_keras(path, precision), {"model": str(path), "precision": precision}
        )
    if (path / "saved_model.pb").is_file():
        return _load_saved_model(path)
    raise InputError(f"model={path}: give a .keras file or a SavedModel folder")


def _load_keras(path, precision):
    try:
        network = keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"model={path}: Keras cannot load it ({reason})") from None
    if network.dtype_policy.name != precision and hasattr(network, "noise_dim"):
        weights = network.get_weights()
        network = type(network).from_config({**network.get_config(), "dtype": precision})
        network.set_weights(weights)
    return network


def _load_saved_model(path):
    loaded = tf.saved_model.load(str(path))
    signature = loaded.signatures.get("serve") or loaded.signatures.get("serving_default")
    inputs = list(signature.structured_input_signature[1].items()) if signature else []
    outputs = list(signature.structured_outputs.values()) if signature else []
    latents = [(name, spec) for name, spec in inputs if spec.dtype.is_floating]
    if len(latents) != 1 or len(inputs) > 2 or len(outputs) != 1 or outputs[0].shape.rank != 4:
        raise InputError(
            f"model={path}: its signature must take one float tensor of latents (B, Z), and "
            "integer labels if conditional, and return images (B, S, S, 3)"
        )
    (latent, spec), image = latents[0], outputs[0]
    others = [name for name, _ in inputs if name != latent]

    def generate(z, *labels):
        feed = {latent: z, **dict(zip(others, labels, strict=True))}
        (images,) = signature(**tf.nest.map_structure(tf.convert_to_tensor, feed)).values()
        return images

    classes = int(getattr(loaded, "num_classes", 0)) if others else 0
    about = {"model": str(path), "precision": "as exported"}
    return Trained(generate, spec.shape[-1], image.shape[1], classes, None, about)
