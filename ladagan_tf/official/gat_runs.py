"""Official GAT checkpoints as networks and runs of ours, and our runs as official weights.

The optimizers of a checkpoint are left out: their state is numbered, and nothing in the file says
which number belongs to which parameter. With GAT's beta 1 of 0 there is no momentum to lose, and
Adam's second moments, with beta 2 of 0.99, are new after some hundred steps anyway.
"""

import pathlib

import numpy as np
from safetensors.numpy import save_file

from ladagan_tf.errors import InputError, reason
from ladagan_tf.files import new_folder
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.official import gat as official_gat
from ladagan_tf.official import gat_files, lada_fields
from ladagan_tf.official.lada_runs import adversarial_model, open_run_part
from ladagan_tf.runs.checkpoints import Checkpoints, find_checkpoint
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.teachers import StoredTeacher
from ladagan_tf.untrusted import read_json
from ladagan_tf.weights import vae_weights
from ladagan_tf.weights.dinov2_weights import LARGE

PARTS = {
    # part of our state  official name
    "averaged":          "ema",
    "generator":         "generator",
    "discriminator":     "discriminator",
}  # fmt: skip
SHARED = ("latent_size", "channels", "patch", "num_classes", "levels")  # by both networks
SIZES = (
    "noise_dim", "latent_size", "patch", "num_classes", "levels", "g_shape", "d_shape", "class_dim",
    "projector_dim",
)  # fmt: skip
LEVELS = 4  # of the official code
TEACHERS = {1024: f"dinov2:{LARGE}"}  # by their features


def is_official(path):
    """Whether `--official` is GAT's: a weight file, or a folder that `gat_files` knows."""
    path = pathlib.Path(path)
    weights = path.suffix in (".pt", ".pth", ".safetensors") or path.is_file()
    return weights or gat_files.is_folder(path)


def is_run(path):
    """Whether a run's generator is GAT's."""
    try:
        models = read_json(RunDirectory(path).models_file)
        return models["generator"]["class_name"] == GatGenerator.__name__
    except (ValueError, LookupError, TypeError):
        return False  # whoever opens it says why


def open_official(path, part="averaged", official_quirks=False):
    """One network of an official checkpoint.

    Args:
        path: see `gat_files.read`.
        part: one of `PARTS`.
        official_quirks: see `gat.read_checkpoint`.

    Returns:
        (GatGenerator or GatDiscriminator, number of steps it was trained or None).

    Raises:
        InputError: if the file cannot be read, or has no such network.
    """
    return official_gat.read_network(path, PARTS[part], official_quirks)


def with_autoencoder(generator, vae):
    """A generator as one that makes images.

    Args:
        generator: GatGenerator.
        vae: path of an autoencoder, see `vae_weights.load`.

    Returns:
        DecodedGenerator.

    Raises:
        InputError: if it cannot be read, or has other latents, or this is no generator.
    """
    if isinstance(generator, GatDiscriminator):
        raise InputError(f"vae={vae}: it decodes what a generator makes; drop it, or change --part")
    try:
        return DecodedGenerator(generator, vae_weights.load(vae)[0].decoder_only())
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"vae={vae}: it does not fit ({reason(error)})") from None


def flags_of(checkpoint, path):
    """What a checkpoint says as flags of `train.py`.

    Args:
        checkpoint: dict of `gat.read_checkpoint`.
        path: where it is from, for messages.

    Returns:
        Dict from flag name to text, as a run records it.

    Raises:
        InputError: if its two networks do not fit each other, or a number is none.
    """
    generator, discriminator = checkpoint["generator"], checkpoint["discriminator"]
    for name in SHARED:
        ours, theirs = getattr(generator, name), getattr(discriminator, name)
        if ours != theirs:
            raise InputError(
                f"{path}: its generator has {name}={ours}, its discriminator {name}={theirs}"
            )
    flags = {
        "system": "gat",
        "noise_dim": generator.noise_dim,
        "class_dim": discriminator.class_dim,
    }
    flags |= {name: getattr(generator, name) for name in SHARED if name != "channels"}
    flags |= {"g_shape": _shape(generator), "d_shape": _shape(discriminator), "teacher": "none"}
    features = discriminator.teacher_dim
    if features:
        teacher = TEACHERS.get(features, "dinov2")
        flags |= {"projector_dim": discriminator.projector_dim, "teacher": teacher}
    args = checkpoint["args"]
    if "learning_rate" in args:
        rate = _number(args, "learning_rate", lada_fields.number, path)
        flags |= {"g_lr": rate, "d_lr": rate}
    if "batch_size" in args:
        flags["batch_size"] = _number(args, "batch_size", lada_fields.count, path)
        if checkpoint["steps"]:
            flags["total_kimg"] = checkpoint["steps"] * flags["batch_size"] / 1000
    return {name: str(value) for name, value in flags.items()}


def _shape(network):
    return f"{network.width},{network.depth},{network.num_heads}"


def _number(args, name, kind, path):
    try:
        return kind(args[name])
    except (ValueError, TypeError, OverflowError):
        raise InputError(
            f"{path}: args.{name}={args[name]!r}; give {lada_fields.ACCEPTED[kind]}"
        ) from None


def write_run(checkpoint, out, flags, path, vae=None):
    """Makes a run directory that can be evaluated, sampled, exported and trained further.

    Args:
        checkpoint: dict of `gat.read_checkpoint`, which was told `--official_quirks`.
        out: the run directory to make.
        flags: dict of text to record, as `train.py` does; `flags_of` and more.
        path: where the checkpoint is from, for messages.
        vae: AutoencoderKL that decodes what the generator makes; without one it cannot be sampled.

    Returns:
        Dict of what was found: "images" and "step".

    Raises:
        InputError: if flags and checkpoint do not agree, or `out` exists.
    """
    generator, discriminator, averaged = (
        checkpoint[part] for part in ("generator", "discriminator", "ema")
    )
    implied = flags_of(checkpoint, path)
    for name in SIZES:
        if implied.get(name, flags[name]) != flags[name]:
            raise InputError(f"--{name}={flags[name]}: {path} has {name}={implied[name]}")
    features = discriminator.teacher_dim
    if (flags["teacher"] == "none") != (features is None):
        head = f"an alignment head of {features} features" if features else "no alignment head"
        raise InputError(f"--teacher={flags['teacher']}: the discriminator of {path} has {head}")
    objective = GatObjective(
        noise_dim=generator.noise_dim,
        latent_size=generator.latent_size,
        channels=generator.channels,
        levels=generator.levels,
        # Any teacher would do: whether there is one decides which metrics the state has.
        teacher=StoredTeacher(features, discriminator.grid) if features else None,
    )
    gan = adversarial_model(generator, discriminator, averaged, objective, flags, path)
    batch = int(flags["batch_size"])
    images = checkpoint["steps"] * int(checkpoint["args"].get("batch_size", batch))
    step = images // batch
    gan.step.assign(step)
    with new_folder(out) as partial:
        run = RunDirectory(partial)
        run.start(flags, (gan.generator, gan.discriminator), vae)
        Checkpoints(run.checkpoints, gan.state()).save(step, images)
    return {"images": images, "step": step}


def write_official(path, out, checkpoint="best", average=None):
    """Writes a run's networks as official state dicts, in three .safetensors files.

    They hold weights only: no optimizers, and no pickle, which is a program. PyTorch loads them
    with `safetensors.torch.load_file`.

    Args:
        path: a run directory.
        out: the folder to make, of generator, ema and discriminator.safetensors.
        checkpoint: see `runs.checkpoints.find_checkpoint`.
        average: str, which becomes the EMA, see `lada_runs.open_run_part`.

    Returns:
        int, how many tensors were written.

    Raises:
        InputError: if the run cannot be read, or the format cannot hold it, or `out` exists.
    """
    _, state = find_checkpoint(RunDirectory(path).checkpoints, checkpoint)
    noted = {"format": "pt", "steps": str(state["step"])}
    if state["step"]:
        noted["batch_size"] = str(state["images"] // state["step"])
    count = 0
    with new_folder(out) as partial:
        for part, official in PARTS.items():
            network = open_run_part(path, checkpoint, part, average)
            if network.paper != "GAT":
                raise InputError(f"{path}: its {part} is CAT's; the official format has GAT's only")
            if network.attention != "dot_product":
                raise InputError(
                    f"{path}: attention={network.attention}; the official format has dot_product"
                )
            if network.levels != LEVELS:
                raise InputError(
                    f"{path}: levels={network.levels}; the official format has {LEVELS}"
                )
            tensors = official_gat.official_state(network)
            tensors = {name: np.ascontiguousarray(array) for name, array in tensors.items()}
            save_file(tensors, partial / f"{official}.safetensors", noted)
            count += len(tensors)
    return count
