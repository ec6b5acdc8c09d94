"""What a new run can start from: networks of a run, a file, the zoo, the hub or the authors."""

import pathlib

from ladagan_tf import zoo
from ladagan_tf.decimals import in_kimg
from ladagan_tf.errors import InputError
from ladagan_tf.models.flow.networks import FlowGenerator
from ladagan_tf.models.gat.decoded import undecoded
from ladagan_tf.models.gat.networks import GatDiscriminator, GatGenerator
from ladagan_tf.models.lada.discriminator import Discriminator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.official import gat_files, gat_runs, lada_folder, lada_runs
from ladagan_tf.runs import checkpoints
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling.opening import EXPORTED
from ladagan_tf.sampling.run_networks import open_part
from ladagan_tf.weights import download
from ladagan_tf.weights.keras_file import in_precision, load_network

PARTS = ("generator", "averaged", "discriminator")
FILES = EXPORTED[:2]  # of a folder of `ladagan_tf.export`
ACCEPTED = (
    "a run, its checkpoints/step-N, a .keras file, a folder of ladagan_tf.export, zoo:NAME, "
    "hf:USER/REPO, or a folder or file of the authors' weights"
)


def open_networks(source):
    """The networks that `--init_from` names, in float32.

    Args:
        source: str, see `ACCEPTED`. Of a run it is the best checkpoint, the latest if none was
            scored.

    Returns:
        (dict from a name of `PARTS` to keras.Model, str that says what was found).

    Raises:
        InputError: if there is none, or it is damaged or no such network.
    """
    named = f"init_from={source}"
    if source.startswith(zoo.PREFIX):
        path = zoo.find(source, "init_from")
    else:
        path = download.locate(source, (*FILES, *lada_folder.FILES, *gat_files.FILES), "init_from")
    step = checkpoints.NAME.fullmatch(path.name)
    run = RunDirectory(path.parent.parent if step else path)
    inside = [path / name for name in FILES if (path / name).is_file()]
    if run.models_file.is_file():
        return _of_run(run, path if step else None, named)
    if inside or path.suffix == ".keras":
        file = (inside or [path])[0]
        return _of_file(load_network(file, named), named), f".keras file {file.name}"
    if lada_folder.is_official(path):
        return {part: lada_runs.open_official(path, part) for part in PARTS}, "LadaGAN's authors'"
    if path.exists() and gat_runs.is_official(path):
        return _of_gats_authors(path), "GAT's authors'"
    missing = "" if path.exists() else "it is not there; "
    raise InputError(f"{named}: {missing}give {ACCEPTED}")


def _of_run(run, checkpoint, named):
    if checkpoint is None:
        checkpoint, state = checkpoints.find_checkpoint(run.checkpoints, "best")
    else:
        kept = [path.name for path in checkpoints.checkpoint_paths(run.checkpoints)]
        if checkpoint.name not in kept:
            raise InputError(
                f"{named}: it has no {checkpoint.name}; kept are {', '.join(kept) or 'none'}"
            )
        if problem := checkpoints.damage(checkpoint):
            raise InputError(f"{named}: this checkpoint is damaged ({problem})")
        state = checkpoints.read_state(checkpoint)
    there = [part for part in PARTS if checkpoints.read_part(checkpoint, part)]
    networks = {part: open_part(run, checkpoint, part, "float32") for part in there}
    return networks, f"{checkpoint.name}, {in_kimg(state['images'])} kimg"


def _of_file(network, named):
    network = undecoded(network)
    if isinstance(network, Generator | GatGenerator | FlowGenerator):
        return {"averaged": in_precision(network, "float32")}
    if isinstance(network, Discriminator | GatDiscriminator):
        return {"discriminator": in_precision(network, "float32")}
    raise InputError(
        f"{named}: it is a {type(network).__name__}; give a generator or a discriminator"
    )


def _of_gats_authors(path):
    """Those that are there: published are a whole .pt file, or one generator alone."""
    networks, problems = {}, []
    for part in PARTS:
        try:
            networks[part], _ = gat_runs.open_official(pathlib.Path(path), part)
        except InputError as error:
            problems.append(error)
    if not networks:
        raise problems[0]
    return networks
