"""Official checkpoints as networks and runs of ours, and our runs as official checkpoints."""

import pathlib

import numpy as np

from ladagan_tf.errors import InputError, one_line_about, reason
from ladagan_tf.files import new_folder, write_json
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.checks import tensor_problems
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official import lada_fields, lada_folder
from ladagan_tf.official.lada_names import (
    discriminator_names,
    generator_names,
    load_official,
    optimizer_names,
)
from ladagan_tf.runs.checkpoints import Checkpoints, find_average, find_checkpoint, read_part
from ladagan_tf.runs.directory import RunDirectory, read_flags
from ladagan_tf.sampling.run_networks import open_part
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.lada import LadaObjective
from ladagan_tf.training.optimizers import make_optimizer
from ladagan_tf.untrusted import read_json

PARTS = {
    # part of our state  official name
    "averaged":          "ema_generator",
    "generator":         "generator",
    "discriminator":     "discriminator",
}  # fmt: skip
CARRIED = "official.json"  # in a run: what the authors' format holds and ours does not
KERAS_EPSILON = 1e-7  # of runs that began before there was --epsilon
OFFICIAL_SWITCHES = {
    "score": "full",
    "attention": "additive",
    "attention_residual": True,
    "mlp_residual": False,
    "positional": True,
    "modulation": "sln",
    "conv": True,
    "ladaformer": True,
    "output_range": "linear",
    "scale_cue": False,
    "norm": "batch",
    "num_classes": 0,
    "depths": (1, 1, 1),
    "depth": 1,
    "conv_kernel": 3,
}
# Flags that the sizes in an official config.json are, see `lada_fields.FIELDS`.
SIZES = tuple(
    lada_fields.FIELDS[field][0]
    for field in dict.fromkeys(
        (*lada_fields.GENERATOR.values(), *lada_fields.DISCRIMINATOR.values())
    )
)
UNMEASURED = 10_000.0  # the official code's FID before the first measurement


def open_official(folder, part="averaged"):
    """Loads one network of an official folder.

    Args:
        folder: pathlib.Path with config.json and best-training-checkpoints/.
        part: one of `PARTS`.

    Returns:
        keras.Model.

    Raises:
        InputError: if the folder cannot be read, or config and variables do not agree.
    """
    root = PARTS[part]
    config, arrays = lada_folder.read_config(folder), lada_folder.read_arrays(folder, (root,))
    with blank_of(_size(arrays)):
        network = _network(part, config, folder)
    _load(list(_names(network, part)), arrays, folder)
    return network


def write_run(folder, out, flags, optimizers=True):
    """Makes a run directory that can be evaluated, sampled, exported and trained further.

    Args:
        folder: an official folder.
        out: the run directory to make.
        flags: dict of text to record, as `train.py` does; `lada_fields.flags_of` and more.
        optimizers: bool, take over Adam's state; else it starts anew, as it does if there is none.

    Returns:
        Dict of what was found: "images", "step" and "optimizers" (bool).

    Raises:
        InputError: as `open_official`; or if flags and config do not agree, or `out` exists.
    """
    config = lada_folder.read_config(folder)
    implied = lada_fields.flags_of(config, folder)
    for name in SIZES:
        if flags.get(name, implied[name]) != implied[name]:
            raise InputError(f"--{name}={flags[name]}: {folder} has {name}={implied[name]}")
    roots = [r for r in lada_folder.ROOTS if optimizers or r not in lada_folder.OPTIMIZERS]
    arrays = lada_folder.read_arrays(folder, roots)
    optimizers = any(name.split("/")[0] in lada_folder.OPTIMIZERS for name in arrays)
    parts = ("generator", "discriminator", "averaged")
    with blank_of(_size(arrays)):
        networks = [_network(part, config, folder) for part in parts]
    gan = lada_model(*networks, flags, folder)
    _load(_all_names(gan, optimizers), arrays, folder, _counters(optimizers))
    images = int(arrays["n_images"])
    step = images // int(flags["batch_size"])
    gan.step.assign(step)
    carried = {name: arrays[name].item() for name in lada_folder.BOOKKEEPING}
    carried["config"] = read_json(pathlib.Path(folder) / lada_folder.CONFIG)
    with new_folder(out) as partial:
        run = RunDirectory(partial)
        run.start(flags, (gan.generator, gan.discriminator))
        Checkpoints(run.checkpoints, gan.state()).save(step, images)
        write_json(partial / CARRIED, carried)
    return {"images": images, "step": step, "optimizers": optimizers}


def learning_rates(folder):
    """Flags `g_lr` and `d_lr` as the checkpoint has them, which restoring would set; may be {}."""
    arrays = lada_folder.read_arrays(folder, lada_folder.OPTIMIZERS)
    names = {"g_lr": "g_optimizer/_learning_rate", "d_lr": "d_optimizer/_learning_rate"}
    return {flag: str(arrays[name]) for flag, name in names.items() if name in arrays}


def write_official(path, out, checkpoint="best", average=None):
    """Writes a run's checkpoint as an official folder.

    Args:
        path: a run directory.
        out: the folder to make.
        checkpoint: see `runs.checkpoints.find_checkpoint`.
        average: str, which becomes the EMA, see `open_run_part`.

    Returns:
        int, how many values were written.

    Raises:
        InputError: if the run cannot be read, or the format cannot hold it, or `out` exists.
    """
    run = RunDirectory(path)
    gan, images = _open_run(run, checkpoint, average)
    config = lada_fields.config_of(read_flags(run.flags_file), run.flags_file)
    carried = _carried(run)
    values = {name: variable.numpy() for name, variable in _all_names(gan)}
    for root, optimizer in zip(
        lada_folder.OPTIMIZERS, (gan.g_optimizer, gan.d_optimizer), strict=True
    ):
        values[f"{root}/_learning_rate"] = np.float32(optimizer.learning_rate)
    counts = {"n_images": images, "save_counter": carried["save_counter"]}
    # Weights that were trained further have a FID nobody has measured.
    fid = carried["fid"] if carried["n_images"] == images else UNMEASURED
    counts |= {"fid": fid, "best_fid": carried["best_fid"]}
    if images > np.iinfo(np.int32).max:
        raise InputError(f"{path}: {images} images are more than the format can count")
    values |= {name: kind(counts[name]) for name, kind in lada_folder.BOOKKEEPING.items()}
    with new_folder(out) as partial:
        lada_folder.write_folder(partial, {**carried["config"], **config}, values)
    return len(values)


def open_run_part(path, checkpoint, part, average=None):
    """Loads one network of a run in float32.

    Args:
        path: a run directory.
        checkpoint: see `runs.checkpoints.find_checkpoint`.
        part: one of `PARTS`.
        average: str, which average to take for "averaged", see `runs.checkpoints.find_average`;
            None: the first.

    Returns:
        keras.Model.
    """
    run = RunDirectory(path)
    found, state = find_checkpoint(run.checkpoints, checkpoint)
    if part == "averaged" and average:
        part = find_average(found, state, average)
    return open_part(run, found, part, "float32")


def _open_run(run, checkpoint, average):
    """A run's networks and optimizers at a checkpoint, and its number of images."""
    found, state = find_checkpoint(run.checkpoints, checkpoint)
    averaged = find_average(found, state, average) if average else "averaged"
    parts = ("generator", "discriminator", averaged)
    networks = []
    for part in parts:
        networks.append(open_part(run, found, part, "float32"))
        if not isinstance(networks[0], Generator):
            raise InputError(f"{run.path}: this official format holds LadaGAN only")
    for switch, theirs in OFFICIAL_SWITCHES.items():
        if any(getattr(network, switch, theirs) != theirs for network in networks):
            raise InputError(
                f"{run.path}: {switch} is not {theirs}; the official format holds LadaGAN "
                "without changes"
            )
    try:
        flags = read_flags(run.flags_file)
    except OSError as error:
        raise InputError(f"{run.flags_file}: it cannot be read ({error.strerror})") from None
    gan = lada_model(*networks, flags, run.flags_file)
    for part, optimizer in (("g_optimizer", gan.g_optimizer), ("d_optimizer", gan.d_optimizer)):
        saved = read_part(found, part)
        variables = [v for v in optimizer.variables if v.name != "learning_rate"]
        try:
            for variable, value in zip(variables, saved, strict=True):
                variable.assign(value)
        except ValueError as error:
            raise InputError(f"{found}: {part} does not fit flags.cfg ({reason(error)})") from None
    return gan, state["images"]


def _carried(run):
    """What `write_run` kept, or the official code's values at a start."""
    path = run.path / CARRIED
    if path.is_file():
        found = read_json(path)
        with one_line_about(path, "record of what the authors' format holds"):
            counts = {name: kind(found[name]) for name, kind in lada_folder.BOOKKEEPING.items()}
            return {**counts, "config": dict(found["config"])}
    fresh = {"n_images": None, "fid": UNMEASURED, "best_fid": UNMEASURED, "save_counter": 1}
    return {**fresh, "config": lada_fields.THEIRS}


def _size(arrays):
    return sum(array.size for array in arrays.values())


def _network(part, config, source):
    try:
        if part == "discriminator":
            return Discriminator(**lada_fields.arguments(lada_fields.DISCRIMINATOR, config))
        name = "averaged_generator" if part == "averaged" else "generator"
        return Generator(**lada_fields.arguments(lada_fields.GENERATOR, config), name=name)
    except ValueError as error:  # sizes that do not fit: the message names field and value
        raise InputError(f"{pathlib.Path(source) / lada_folder.CONFIG}: {error}") from None


def lada_model(generator, discriminator, averaged, flags, source):
    """As `adversarial_model`, with the objective of LadaGAN that the flags describe."""
    try:
        objective = LadaObjective(
            noise_dim=generator.noise_dim,
            resolution=generator.resolution,
            loss=flags["loss"],
            r2_weight=float(flags.get("r2_weight", 0.0)),  # decides, too
            policy=flags["policy"],
            bcr=lada_fields.switch(flags["bcr"]),  # decides which metrics the state has
        )
    except KeyError as error:
        raise InputError(f"{source}: no flag {error.args[0]!r}") from None
    except ValueError as error:
        raise InputError(f"{source}: {error}") from None
    return adversarial_model(generator, discriminator, averaged, objective, flags, source)


def adversarial_model(generator, discriminator, averaged, objective, flags, source):
    """Networks with the weights they have, and optimizers as a run's flags say.

    Args:
        generator, discriminator, averaged, objective: see `AdversarialModel`.
        flags: dict of text, as a run records it.
        source: where they are from, for messages.

    Returns:
        AdversarialModel, compiled.

    Raises:
        InputError: if a flag is missing or is no number.
    """
    try:
        betas = float(flags["beta1"]), float(flags["beta2"])
        rates = float(flags["g_lr"]), float(flags["d_lr"])
        epsilon = float(flags.get("epsilon", KERAS_EPSILON))
    except KeyError as error:
        raise InputError(f"{source}: no flag {error.args[0]!r}") from None
    except ValueError as error:
        raise InputError(f"{source}: {error}") from None
    weights = averaged.get_weights()
    gan = AdversarialModel(generator, discriminator, averaged, objective)
    averaged.set_weights(weights)
    precision = flags.get("precision", "float32")
    gan.compile(*(make_optimizer(rate, *betas, precision, epsilon) for rate in rates))
    return gan


def _names(network, part):
    names = discriminator_names if part == "discriminator" else generator_names
    return names(network, PARTS[part])


def _all_names(gan, optimizers=True):
    """Pairs (official name, variable) of everything that is a variable of ours."""
    pairs = [pair for part in PARTS for pair in _names(getattr(gan, part), part)]
    if optimizers:
        g, d = lada_folder.OPTIMIZERS
        pairs += optimizer_names(gan.g_optimizer, generator_names, gan.generator, g)
        pairs += optimizer_names(gan.d_optimizer, discriminator_names, gan.discriminator, d)
    return pairs


def _counters(optimizers):
    rates = [f"{root}/_learning_rate" for root in lada_folder.OPTIMIZERS] if optimizers else []
    return (*lada_folder.BOOKKEEPING, *rates)


def _load(names, arrays, folder, counters=()):
    """Assigns `arrays`, of which `counters` have no variable; InputError if they do not fit."""
    shapes = {name: variable.shape for name, variable in names}
    shapes |= {name: np.shape(arrays.get(name)) for name in counters}  # of any shape
    if problems := tensor_problems(arrays, shapes):
        raise InputError(f"{folder}: config.json and the variables do not agree: {problems}")
    load_official(names, arrays)
