"""Trained generators behind one interface: from a run, a file, a folder, the zoo or the hub."""

import collections.abc
import os
import pathlib

import keras

from ladagan_tf import zoo
from ladagan_tf.data.source import printable
from ladagan_tf.errors import InputError
from ladagan_tf.files import sha256_of
from ladagan_tf.models import PRECISIONS
from ladagan_tf.models.gat.decoded import DecodedGenerator, undecoded
from ladagan_tf.runs import MODELS_FILE
from ladagan_tf.runs.checkpoints import find_average, find_checkpoint
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling.run_networks import decoded, makes_latents, open_part, read_network
from ladagan_tf.sampling.sampler import Sampler, check_no_sampler, of_function, of_network
from ladagan_tf.sampling.saved_models import load_saved_model
from ladagan_tf.weights import download, vae_weights
from ladagan_tf.weights.keras_file import in_precision, load_network, network_sha256
from ladagan_tf.weights.reading import content_sha256

Path = str | os.PathLike
Openable = Sampler | keras.Model | Path | collections.abc.Callable  # see `sampler_of`
# What opens of a folder of `ladagan_tf.export`: the first of these that is there.
EXPORTED = ("generator.keras", "generator.float16.keras", "saved_model")
WANTED = (*EXPORTED[:2], "saved_model/*", zoo.ABOUT, zoo.CLASSIFIER, zoo.REFERENCE)  # of the hub
MOST_UNTRAINED = 2**30  # weights of a network that no checkpoint bounds


def open_source(
    run_dir: Path | None,
    model: Path | None,
    *,
    checkpoint: str = "best",
    ema: bool = True,
    precision: str = "float32",
    psi: float = 1.0,
    guidance: float = 1.0,
    vae: Path | None = None,
    average: str | None = None,
    truncation_z: float | None = None,
    sampler: str | None = None,
    sampler_steps: int | None = None,
) -> Sampler:
    """`open_run` or `open_model`, whichever the flags of these names give.

    Args:
        run_dir, model: the two flags, one of them empty or None.
        checkpoint, ema, precision, psi, guidance, vae, average: see both functions.
        truncation_z: see `Sampler.within`; None for none.
        sampler, sampler_steps: see `of_network`.

    Returns:
        Sampler.

    Raises:
        InputError: see both; or unless exactly one of them is given.
    """
    if bool(run_dir) == bool(model):
        raise InputError(
            f"give either --run_dir or --model, as --model={zoo.PREFIX}{zoo.names()[0]}"
        )
    if model and (checkpoint != "best" or not ema):
        raise InputError("--checkpoint and --ema choose within --run_dir; --model has one network")
    if model and average:
        raise InputError(f"average={average}: it chooses within --run_dir; --model has one network")
    how = {"psi": psi, "guidance": guidance, "sampler": sampler, "sampler_steps": sampler_steps}
    if model:
        source = open_model(model, precision, vae=vae, **how)
    else:
        source = open_run(run_dir, checkpoint, ema, precision, vae=vae, average=average, **how)
    return source if truncation_z is None else source.within(truncation_z)


def open_run(
    path: Path,
    checkpoint: str = "best",
    ema: bool = True,
    precision: str = "float32",
    psi: float = 1.0,
    guidance: float = 1.0,
    vae: Path | None = None,
    average: str | None = None,
    decode: bool = True,
    sampler: str | None = None,
    sampler_steps: int | None = None,
) -> Sampler:
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
        average: str, which of the averages, see `runs.checkpoints.find_average`; None: the first.
        decode: bool; False leaves a generator of latents as it is.
        sampler, sampler_steps: see `of_network`.

    Returns:
        Sampler.

    Raises:
        InputError: if it is no run, or has no such checkpoint or average, or lacks the autoencoder,
            or `ema` is False of untrained weights, or `vae` is another or one too many.
    """
    run = RunDirectory(path)
    if not run.models_file.is_file():
        raise InputError(f"run_dir={path}: no {run.models_file.name} in it, so it is not a run")
    about = {"model": str(path), "checkpoint": checkpoint, "kimg": 0, "precision": precision}
    if average and (checkpoint == "untrained" or not ema):
        given = "--checkpoint=untrained" if ema else "--noema"
        raise InputError(f"average={average}: {given} asks for weights that are no average")
    if checkpoint == "untrained" and not ema:
        raise InputError("--noema: --checkpoint=untrained has no other weights; leave it out")
    if checkpoint == "untrained":
        keras.utils.set_random_seed(0)
        network = read_network(run, "generator", precision, MOST_UNTRAINED, drawn=True)
    else:
        found, state = find_checkpoint(run.checkpoints, checkpoint)
        first = "averaged" if ema else "generator"
        part = find_average(found, state, average) if average else first
        network = open_part(run, found, part, precision)
        about |= {"checkpoint": found.name, "kimg": state["images"] / 1000, "ema": ema}
        about |= {"average": average} if part != first else {}
    if decode and makes_latents(network):
        network = decoded(network, run.vae_file, f"run_dir={path}", about, vae)
    elif vae:
        raise _has_none_to_take(vae, path)
    return of_network(network, about, psi, guidance, sampler=sampler, sampler_steps=sampler_steps)


def check_average(path: str | Path | None, checkpoint: str, average: str) -> None:
    """Raises InputError unless a run keeps an average of this name; see `open_run`."""
    if not path:
        raise InputError("it chooses within --run_dir")
    find_average(*find_checkpoint(RunDirectory(path).checkpoints, checkpoint), average)


def load(
    name: Path, precision: str = "float32", vae: Path | None = None, decode: bool = True
) -> tuple[keras.Model, dict]:
    """A trained generator and what is known of it, as `ladagan_tf.load`.

        generator, about = ladagan_tf.load("emoji64")
        images = generator(keras.random.normal((4, generator.noise_dim)))

    Args:
        name: see `open_named`; but no SavedModel.
        precision: Keras dtype policy to compute in.
        vae, decode: see `open_model`; False for the latter, of a GAT: what makes latents, not
            images.

    Returns:
        (keras.Model, dict): the generator, from latents (B, generator.noise_dim), and labels (B,)
        if conditional, to images (B, S, S, 3), nominally in [-1, 1]; and the content of about.json,
        where there is one (the zoo's models have it), else what identifies it in a protocol.

    Raises:
        InputError: if there is no such generator, or it is damaged.
    """
    sampler, about = open_named(name, precision, vae, decode)
    if sampler.network is None:
        raise InputError(f"{name}: a SavedModel is no Keras model; tf.saved_model.load opens it")
    return sampler.network, about


def open_named(
    name: Path, precision: str = "float32", vae: Path | None = None, decode: bool = True
) -> tuple[Sampler, dict]:
    """`open_run` or `open_model`, whichever a name is for, and what is known of the generator.

    Args:
        name: a model of the zoo, with or without "zoo:"; or what `--model` takes: a .keras file, a
            SavedModel, a folder of `ladagan_tf.export`, hf:USER/REPO; or a run.
        precision, vae, decode: see `open_model`.

    Returns:
        (Sampler, dict): see `load`.

    Raises:
        InputError: see `load`.
    """
    if precision not in PRECISIONS:
        raise InputError(f"precision={precision}: give float32, mixed_bfloat16 or mixed_float16")
    name = str(name)
    if name in zoo.names():  # a folder of this name here is ./NAME
        name = zoo.PREFIX + name
    place, about = locate(name)
    how = {"precision": precision, "vae": vae, "decode": decode}
    is_run = (place / MODELS_FILE).is_file()
    sampler = open_run(place, **how) if is_run else open_model(name, **how)
    return sampler, about or sampler.about


def sampler_of(generator: Openable) -> Sampler:
    """`Sampler` of whatever a caller has: itself, a Keras generator, or the name of one.

    Args:
        generator: Sampler; keras.Model, see `of_network`; what `open_named` takes; or a function
            with an attribute `noise_dim`, and `num_classes` if conditional, see `of_function`.

    Raises:
        InputError: if it is none of them, or no generator.
    """
    if isinstance(generator, Sampler):
        return generator
    if isinstance(generator, keras.Model):
        precision = undecoded(generator).dtype_policy.name
        about = {"model": generator.name, "precision": precision}
        return of_network(generator, {**about, "weights_sha256": network_sha256(generator)})
    if isinstance(generator, str | os.PathLike):
        return open_named(generator)[0]
    if callable(generator) and hasattr(generator, "noise_dim"):
        classes = getattr(generator, "num_classes", 0)
        name = getattr(generator, "__name__", type(generator).__name__)
        return of_function(generator, generator.noise_dim, classes, name)
    raise InputError(
        f"generator={generator!r}: give a keras.Model that ladagan_tf.load returns, its name, or a "
        "function with an attribute noise_dim, from latents to images"
    )


def is_generator(name: Path) -> bool:
    """Whether a name is one that `open_named` takes, and not one of images."""
    name = str(name)
    if name.startswith((zoo.PREFIX, download.HUB)) or name.endswith(".keras"):
        return True
    return any(
        pathlib.Path(name, file).exists() for file in (MODELS_FILE, *EXPORTED, "saved_model.pb")
    )


def locate(model: Path) -> tuple[pathlib.Path, dict | None]:
    """Where what `--model` names lies, and what it says of itself.

    Args:
        model: str or path: a file or folder; zoo:NAME; or hf:USER/REPO, which is downloaded.

    Returns:
        (pathlib.Path, dict): it need not exist; and what `zoo.read_about` returns, None for what is
        not of `--format=zoo`.

    Raises:
        InputError: if there is none of that name, it cannot be downloaded, or it is damaged.
    """
    model = str(model)
    in_zoo = model.startswith(zoo.PREFIX)
    place = zoo.find(model) if in_zoo else download.locate(model, WANTED, "model")
    return place, zoo.read_about(place, model)


def open_model(
    model: Path,
    precision: str = "float32",
    psi: float = 1.0,
    guidance: float = 1.0,
    vae: Path | None = None,
    decode: bool = True,
    sampler: str | None = None,
    sampler_steps: int | None = None,
) -> Sampler:
    """Loads a generator from a `.keras` file, a SavedModel, or a folder that has one of them.

    Args:
        model: see `locate`. A file ends in .keras, a SavedModel is a folder with a saved_model.pb,
            another folder has one of `EXPORTED`.
        precision: Keras dtype policy; of a SavedModel, which computes as it was exported, float32.
        psi, guidance: see `of_network`; a SavedModel has no guidance.
        vae: what `weights.vae_weights.find` takes, for a GAT generator without an autoencoder, as
            `ladagan_tf.convert` writes it; None for all others.
        decode: bool; False takes the generator of latents, without an autoencoder.
        sampler, sampler_steps: see `of_network`; a SavedModel samples as it was exported.

    Returns:
        Sampler.

    Raises:
        InputError: if it is neither, or no generator, or `vae` is missing or one too many, or for a
            SavedModel what only others can be asked for.
    """
    place, _ = locate(model)
    inside = [place / name for name in EXPORTED if (place / name).exists()]
    path = inside[0] if inside else place
    if path.is_file() and path.suffix == ".keras":
        # Where the package lies tells nothing; a path in the hub's cache tells the revision.
        shown = model if str(model).startswith(zoo.PREFIX) else path
        about = {"model": printable(str(shown)), "precision": precision}
        network = _load_keras(path, precision)
        about["file_sha256"] = sha256_of(path)
        network = network if decode else undecoded(network)
        if decode and makes_latents(network):
            if not vae:
                raise InputError(
                    f"model={path}: it generates latents; give --vae, the autoencoder to decode "
                    f"them: {', '.join(vae_weights.PUBLISHED)} or a file"
                )
            network = decoded(network, vae_weights.find(vae), f"model={path}", about)
        elif vae:
            raise _has_none_to_take(vae, path)
        elif isinstance(network, DecodedGenerator):
            about["vae_sha256"] = content_sha256(network.vae.tensors())
        return of_network(
            network, about, psi, guidance, sampler=sampler, sampler_steps=sampler_steps
        )
    if (path / "saved_model.pb").is_file():
        if vae:
            raise _has_none_to_take(vae, path)
        if precision != PRECISIONS[0]:
            raise InputError(f"precision={precision}: a SavedModel computes as it was exported")
        check_no_sampler(sampler, sampler_steps, "a SavedModel samples as it was exported")
        return load_saved_model(path, psi, guidance)
    raise InputError(_no_generator(str(model), place))


def _no_generator(model, place):
    """What is said of a `--model` that holds none, or is not at its place."""
    if model.startswith(download.HUB):
        return (
            f"model={model}: there is none of {', '.join(EXPORTED)} in it, which ladagan_tf.export "
            f"--push writes; of the authors' checkpoints ladagan_tf.convert --official={model} "
            "makes a .keras file"
        )
    there = "it is no model" if place.exists() else "there is no such file or folder"
    return (
        f"model={model}: {there}; give a .keras file, a SavedModel folder, a folder of "
        f"ladagan_tf.export, hf:USER/REPO, or {zoo.known()}"
    )


def _has_none_to_take(vae, path):
    return InputError(
        f"vae={vae}: it is for a GAT generator without an autoencoder; {path} makes images itself"
    )


def _load_keras(path, precision):
    network = load_network(path, f"model={path}")
    return in_precision(network, precision) if hasattr(network, "noise_dim") else network
