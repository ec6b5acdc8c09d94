"""An entry of the zoo: a generator in half the space, with all that is known of it.

generator.float16.keras   the averaged generator
README.md, samples.png    the card: training, flags, measured metrics with protocols
classifier.keras          of the training images
reference.npz             mean and covariance of its features of them: mu, sigma, count
about.json                the same for programs, a quick measurement, hashes of what is opened

So a generator can be measured where there is neither its data set nor a network.
"""

import dataclasses
import json
import pathlib

import numpy as np

from ladagan_tf import zoo
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import collection, features, images, protocol
from ladagan_tf.evaluation.classifier import default_path, load_classifier
from ladagan_tf.exporting import card, formats
from ladagan_tf.files import json_line, new_folder, sha256_of, write_json
from ladagan_tf.runs.environment import environment
from ladagan_tf.sampling import opening
from ladagan_tf.weights.keras_file import save_deflated

COUNT = 256  # generated images of the quick measurement: seconds on two cores
COUNT_OF_STEPS = 64  # of a flow, whose images take several passes each
MOST = 8e6  # bytes of all files together
GENERATOR = formats.FORMATS["float16"].file
OPENED = (GENERATOR, zoo.CLASSIFIER, zoo.REFERENCE)


def write(sampler, out, run, licence, say=print):
    """Writes an entry, all or nothing.

    Args:
        sampler: Sampler of a run, in float32.
        out: path of the folder to make, whose name is the entry's; it must not exist yet.
        run: `runs.directory.RunDirectory` the generator comes from. Its prepared set must be there,
            with classes; its classifier is trained if it is missing.
        licence: str, of the training images.
        say: function that prints a line.

    Returns:
        Dict, the content of about.json.

    Raises:
        InputError: see `formats.fill`, `features.open_extractor` and `pipeline.open_dataset`; or if
            the set is not the one that the run was trained on, or the files are larger than `MOST`.
            Nothing is left.
    """
    name = pathlib.Path(out).name
    flags = run.flags()
    if not flags.get("dataset"):
        raise InputError(
            f"format=zoo: {run.flags_file} names no --dataset, whose classifier an entry needs"
        )
    side = int(flags["resolution"]) if "resolution" in flags else None
    prepared = pipeline.open_dataset(flags["dataset"], resolution=side)
    _check_content(dataset_info.load_info(prepared), card.recorded_content(run))
    with new_folder(out) as folder:
        errors = formats.fill(folder, sampler, ["float16"], run, licence, say)
        _write_reference(folder, prepared, flags["dataset"])
        size = sum(path.stat().st_size for path in folder.iterdir())
        if size > MOST:
            raise InputError(
                f"format=zoo: {size / 1e6:.2f} MB in all; at most {MOST / 1e6:g} MB are accepted"
            )
        stored = opening.open_model(folder)
        check = measure(stored, folder, name)
        say(f"{check['name']}: {check['value']:.4g}, of the stored generator")
        about = {
            "name": name,
            "makes": card.title(sampler),
            "parameters": sampler.network.count_params(),
            "licence": "Apache-2.0",
            "data": _data(prepared, licence),
            "trained": {**sampler.about, "flags": flags, "starts": run.starts()},
            "measured": card.measurements(run, sampler.about),
            "check": check,
            "float16": {"largest_error": errors["float16"], **_levels(stored, sampler)},
            "exported": environment(),
            # Those that are opened; git may change the ends of a text's lines.
            "files": {name: {"sha256": sha256_of(folder / name)} for name in OPENED},
            "bytes": size,
        }
        write_json(folder / zoo.ABOUT, json.loads(json_line(about)), indent=1)
    return about


def _check_content(info, recorded):
    if recorded not in (None, info.content_sha256):
        raise InputError(
            f"format=zoo: dataset={info.folder} has another content, {info.content_sha256[:12]}.., "
            f"than what the run was trained on, {str(recorded)[:12]}..; put that set there"
        )


def measure(sampler, folder, name):
    """The Frechet distance of an entry's first images, in its own classifier's features.

    `COUNT` of them, `COUNT_OF_STEPS` of a flow.

    Args:
        sampler: Sampler, opened of the entry's folder.
        folder: pathlib.Path of it; about.json need not be there.
        name: str, the entry's, for the protocol.

    Returns:
        Dict, see `protocol.evaluate`.
    """
    about = {**sampler.about, "model": f"{zoo.PREFIX}{name}"}
    about["file_sha256"] = sha256_of(folder / GENERATOR)
    extractor = features.classifier(folder / zoo.CLASSIFIER)
    real = collection.given_moments(folder / zoo.REFERENCE)
    real.about["statistics"] = zoo.REFERENCE
    count = COUNT_OF_STEPS if "sampler" in about else COUNT
    (record,) = protocol.evaluate(
        [images.generated(dataclasses.replace(sampler, about=about), count)],
        real,
        dataclasses.replace(extractor, about={**extractor.about, "file": zoo.CLASSIFIER}),
        ["fcd"],
        progress=False,
    )
    return record


def _write_reference(folder, prepared, dataset):
    """The classifier of a prepared set, and what it makes of all its images."""
    extractor = features.open_extractor(features.CLASSIFIER, dataset=dataset, folder=prepared)
    # Loaded and saved, it is without its optimizer.
    save_deflated(load_classifier(default_path(prepared)), folder / zoo.CLASSIFIER)
    real = collection.collect(images.prepared(prepared), extractor, collection.Needs())
    np.savez(folder / zoo.REFERENCE, mu=real.mean, sigma=real.covariance, count=real.count)


def _data(prepared, licence):
    info = dataset_info.load_info(prepared)
    return {
        "name": info.folder.name,
        "count": info.count,
        "resolution": info.resolution,
        "classes": list(info.classes),
        "content_sha256": info.content_sha256,
        "licence": licence,
    }


def _levels(stored, live):
    """How far the pictures of two Samplers, of seeds 0 to 63, are from each other."""
    pair = map(formats.sample_grid, (stored, live))
    levels = np.abs(np.subtract(*pair, dtype=np.int16))
    return {"mean_levels": float(levels.mean()), "largest_levels": int(levels.max())}
