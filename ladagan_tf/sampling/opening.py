"""Trained generators behind one interface: from a run, a `.keras` file or a SavedModel."""

import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError, reason
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.runs.checkpoints import find_checkpoint, read_part
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling.sampler import Sampler, of_network
from ladagan_tf.weights import vae_weights
from ladagan_tf.weights.keras_file import load_network
from ladagan_tf.weights.reading import content_sha256


def open_source(
    run_dir,
    model,
    *,
    checkpoint="best",
    ema=True,
    precision="float32",
    psi=1.0,
    guidance=1.0,
    vae=None,
):
    """`open_run` or `open_model`, whichever the flags of these names give.

    Args:
        run_dir, model: the two flags, one of them empty or None.
        checkpoint, ema, precision, psi, guidance, vae: see both functions.

    Returns:
        Sampler.

    Raises:
        InputError: see both; or unless exactly one of them is given.
    """
    if bool(run_dir) == bool(model):
        raise InputError("give either --run_dir or --model")
    if model:
        return open_model(model, precision, psi, guidance, vae)
    return open_run(run_dir, checkpoint, ema, precision, psi, guidance, vae)


def open_run(
    path, checkpoint="best", ema=True, precision="float32", psi=1.0, guidance=1.0, vae=None
):
    """Loads the generator of a run, with its autoencoder if it generates latents.

    Args:
        path: a run directory.
        checkpoint: see `runs.checkpoints.find_checkpoint`; or "untrained", new weights from
            the seed 0, as a baseline (this sets Keras's global seed).
        ema: bool, the averaged weights or those that were trained.
        precision: Keras dtype policy to compute in; the weights are float32 in each.
        psi, guidance: see `of_network`.
        vae: what `weights.vae_weights.find` takes, to decode with instead of the run's own
            autoencoder: of the same encoder. None for that.

    Returns:
        Sampler.

    Raises:
        InputError: if it is no run, or has no such checkpoint, or lacks the autoencoder, or `vae`
            is another or one too many.
    """
    run = RunDirectory(path)
    if not run.models_file.is_file():
        raise InputError(f"run_dir={path}: no {run.models_file.name} in it, so it is not a run")
    about = {"model": str(path), "checkpoint": checkpoint, "kimg": 0, "precision": precision}
    if checkpoint == "untrained":
        keras.utils.set_random_seed(0)
        network = read_network(run, "generator", precision)
    else:
        found, state = find_checkpoint(run.checkpoints, checkpoint)
        network = read_network(run, "generator", precision)
        load_part(network, found, "averaged" if ema else "generator")
        about |= {"checkpoint": found.name, "kimg": state["images"] / 1000, "ema": ema}
    if isinstance(network, GatGenerator):
        network = _decoded(network, run.vae_file, f"run_dir={path}", about, vae)
    elif vae:
        raise _has_none_to_take(vae, path)
    return of_network(network, about, psi, guidance)


def _decoded(generator, file, source, about, other=None):
    """The generator with the autoencoder of a file, in its precision; tells `about` its hash.

    `other`, if given, names one that takes its place: published ones share an encoder.
    """
    if not file.is_file():
        raise InputError(f"{source}: it generates latents, and {file} to decode them is not there")
    vae, about["vae_sha256"] = vae_weights.load(file, generator.dtype_policy)
    if other:
        encoder, file = vae_weights.encoder_sha256(vae), vae_weights.find(other)
        vae, about["vae_sha256"] = vae_weights.load(file, generator.dtype_policy)
        if vae_weights.encoder_sha256(vae) != encoder:
            raise InputError(
                f"vae={other}: its encoder is not that of {source}'s own autoencoder, so it does "
                "not know these latents"
            )
    about["vae"] = file.name
    try:
        return DecodedGenerator(generator, vae)
    except ValueError as error:
        raise InputError(f"{source}: {file} does not fit ({reason(error)})") from None


def read_network(run, name, precision=None):
    """Builds a network of a run with new weights.

    Args:
        run: RunDirectory.
        name: str, the network's in the run's models.json.
        precision: Keras dtype policy; None is that of the run.

    Returns:
        keras.Model.
    """
    try:
        saved = json.loads(run.models_file.read_text())[name]
        if precision:
            saved["config"]["dtype"] = precision
        return keras.saving.deserialize_keras_object(saved)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{run.models_file}: {name} cannot be read ({reason(error)})") from None


def load_part(network, checkpoint, part):
    """Sets a network's weights to one part of a checkpoint, e.g. "averaged" or "discriminator"."""
    arrays = read_part(checkpoint, part)
    try:
        network.set_weights(arrays)
    except ValueError as error:
        raise InputError(
            f"{checkpoint}: {part} does not fit models.json ({reason(error)})"
        ) from None


def open_model(path, precision="float32", psi=1.0, guidance=1.0, vae=None):
    """Loads a generator from a `.keras` file or a SavedModel folder.

    Args:
        path: a file ending in .keras, or a folder with a saved_model.pb.
        precision: Keras dtype policy; a SavedModel computes as it was exported.
        psi, guidance: see `of_network`; a SavedModel has no guidance.
        vae: what `weights.vae_weights.find` takes, for a GAT generator without an autoencoder, as
            `ladagan_tf.convert` writes it; None for all others.

    Returns:
        Sampler.

    Raises:
        InputError: if it is neither, or no generator, or `vae` is missing or one too many.
    """
    path = pathlib.Path(path)
    if path.is_file() and path.suffix == ".keras":
        about = {"model": str(path), "precision": precision}
        network = _load_keras(path, precision)
        if isinstance(network, GatGenerator):
            if not vae:
                raise InputError(
                    f"model={path}: it generates latents; give --vae, the autoencoder to decode "
                    f"them: {', '.join(vae_weights.PUBLISHED)} or a file"
                )
            network = _decoded(network, vae_weights.find(vae), f"model={path}", about)
        elif vae:
            raise _has_none_to_take(vae, path)
        elif isinstance(network, DecodedGenerator):
            about["vae_sha256"] = content_sha256(network.vae.tensors())
        return of_network(network, about, psi, guidance)
    if (path / "saved_model.pb").is_file():
        if vae:
            raise _has_none_to_take(vae, path)
        return _load_saved_model(path, psi, guidance)
    raise InputError(f"model={path}: give a .keras file or a SavedModel folder")


def _has_none_to_take(vae, path):
    return InputError(
        f"vae={vae}: it is for a GAT generator without an autoencoder; {path} makes images itself"
    )


def _load_keras(path, precision):
    network = load_network(path, f"model={path}")
    return _in_precision(network, precision) if hasattr(network, "noise_dim") else network


def _in_precision(network, precision):
    if isinstance(network, DecodedGenerator):
        parts = [_in_precision(part, precision) for part in (network.generator, network.vae)]
        return DecodedGenerator(*parts, tile=network.tile)
    if network.dtype_policy.name == precision:
        return network
    other = type(network).from_config({**network.get_config(), "dtype": precision})
    other.set_weights(network.get_weights())
    return other


def _load_saved_model(path, psi, guidance):
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
    if guidance != 1.0:
        raise InputError(
            f"guidance={guidance:g}: a SavedModel has only guidance=1; give --run_dir or a .keras "
            "file"
        )
    (latent, spec), image = latents[0], outputs[0]
    others = [name for name, _ in inputs if name != latent]
    truncate = loaded.signatures.get("truncate")
    about = {"model": str(path), "precision": "as exported"}

    def truncated(psi, z, *labels):
        return _call(truncate, ("z", "labels", "psi"), (z, *labels, np.float32(psi)))

    source = Sampler(
        lambda z, *labels: _call(signature, (latent, *others), (z, *labels)),
        spec.shape[-1],
        image.shape[1],
        int(getattr(loaded, "num_classes", 0)) if others else 0,
        None,
        about | ({"psi": 1.0, "guidance": 1.0} if truncate else {}),
        truncated if truncate else None,
    )
    return source if psi == 1.0 else source.at(psi)


def _call(signature, names, values):
    """The only output of a signature, which takes tensors by name."""
    tensors = map(tf.convert_to_tensor, values)
    (images,) = signature(**dict(zip(names, tensors, strict=True))).values()
    return images
