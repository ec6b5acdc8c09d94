"""Networks of a run's files: those of a checkpoint, or of other weights, with what decodes them."""

import os
import pathlib

import keras
import numpy as np

from ladagan_tf.data.source import printable
from ladagan_tf.errors import InputError, one_line_about, reason
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.runs.checkpoints import read_part
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.untrusted import read_json
from ladagan_tf.weights import vae_weights
from ladagan_tf.weights.keras_file import check_classes, checked_network


def open_part(
    run: RunDirectory, checkpoint: pathlib.Path, part: str, precision: str
) -> keras.Model:
    """One network of a run.

    Args:
        run: RunDirectory.
        checkpoint: pathlib.Path of one of its checkpoints.
        part: str, "generator", "discriminator", or an average, see `checkpoints.average_part`.
        precision: Keras dtype policy.

    Returns:
        keras.Model.

    Raises:
        InputError: if models.json or the checkpoint cannot be read, or they do not fit.
    """
    with one_line_about(checkpoint, "checkpoint"):
        arrays = read_part(checkpoint, part)
    name = "discriminator" if part == "discriminator" else "generator"
    return _filled(run, name, precision, arrays, f"{checkpoint}: {part} does")


def _filled(run, name, precision, arrays, what):
    """A network of models.json with given weights; InputError beginning with `what` if unfit."""
    network = read_network(run, name, precision, sum(array.size for array in arrays))
    try:
        network.set_weights(arrays)
    except ValueError as error:
        raise InputError(f"{what} not fit {run.models_file.name} ({reason(error)})") from None
    return network


def read_network(
    run: RunDirectory, name: str, precision: str, most: int, drawn: bool = False
) -> keras.Model:
    """A network of a run's models.json with new weights.

    Args:
        run: RunDirectory.
        name: str, "generator" or "discriminator".
        precision: Keras dtype policy.
        most: int, values that it may have; it is built within that.
        drawn: bool, with weights as a new run's; else they are there to be overwritten.

    Returns:
        keras.Model.

    Raises:
        InputError: if it cannot be read, has more values, or there is no such network.
    """
    with one_line_about(run.models_file, name), blank_of(most, drawn):
        known = read_json(run.models_file)
        if name == "discriminator" and name not in known:
            raise InputError(f"{run.path}: a flow has no discriminator")
        saved = known[name]
        check_classes(saved)
        saved["config"]["dtype"] = precision
        return checked_network(keras.saving.deserialize_keras_object(saved))


def open_average(path: str | os.PathLike, weights: list[np.ndarray]) -> keras.Model:
    """A run's generator with other weights, in float32, with its autoencoder if it makes latents.

    Args:
        path: a run directory.
        weights: list of arrays, in the order of the generator's.

    Returns:
        keras.Model, from latents, and labels if conditional, to images.

    Raises:
        InputError: as `open_run`; or if the weights are not of its generator's shapes.
    """
    run = RunDirectory(path)
    network = _filled(run, "generator", "float32", weights, f"{run.averages}: they do")
    if makes_latents(network):
        network = decoded(network, run.vae_file, f"run_dir={path}", {})
    return network


def makes_latents(network: keras.Model) -> bool:
    """Whether what a network makes has to be decoded to be images."""
    return not getattr(network, "makes_images", True)


def decoded(
    generator: keras.Model,
    file: pathlib.Path,
    source: str,
    about: dict,
    other: str | os.PathLike | None = None,
) -> DecodedGenerator:
    """The generator with the decoder of an autoencoder's file, in its precision.

    Args:
        generator: keras.Model that makes latents.
        file: pathlib.Path of the autoencoder.
        source: str, the flag and value that errors name.
        about: dict, which is told the autoencoder's name and hash.
        other: what `vae_weights.find` takes, in its place: published ones share an encoder.

    Returns:
        DecodedGenerator.

    Raises:
        InputError: if the file is not there or does not fit, or `other` has another encoder.
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
    about["vae"] = printable(file.name)
    try:
        return DecodedGenerator(generator, vae.decoder_only())
    except ValueError as error:
        raise InputError(f"{source}: {file} does not fit ({reason(error)})") from None
