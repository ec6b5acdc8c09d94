"""A generator as files others can load, each compared with the live model before it is kept."""

import collections.abc
import dataclasses
import functools
import importlib

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf import extras, pictures
from ladagan_tf.errors import InputError, reason
from ladagan_tf.exporting import card, endpoints, litert_file, onnx_file, rounding, web
from ladagan_tf.files import disk_errors, new_folder
from ladagan_tf.weights.keras_file import in_precision, save_deflated

LIMIT = 1e-5
ROUNDINGS = 10  # a sharper network may differ by so many times what rounding its weights does
FLOAT16_LIMIT = 0.1  # of single values, which layer norms of small variance may move; few do
FLOAT32 = "float32"  # weights as they are; the others round them
MIN_PSNR = 30.0  # dB, of pictures of rounded weights
BATCHES = (1, 7, 64)
COLUMNS = 8  # of the sample grid, which is square


@dataclasses.dataclass(frozen=True)
class Format:
    """How a format is written and run.

    Attributes:
        file: name in the export folder.
        write: function (network, path).
        load: function from a path to a function from arrays (z, *labels) to images, computed by
            the format's own runtime.
        modules: tuple of the modules of the export extra that it needs.
        limit: float, the largest error that is accepted, see `Live.difference`.
        rounds: bool, whether `write` takes how to store weights, float16 or int8, as a third
            argument.
    """

    file: str
    write: collections.abc.Callable
    load: collections.abc.Callable
    modules: tuple = ()
    limit: float = LIMIT
    rounds: bool = False


def export(sampler, out, formats, run=None, licence=None, say=print, **how):
    """Writes a generator in some formats, with a model card and samples, all or nothing.

    Args:
        sampler, formats, run, licence, say, how: see `fill`.
        out: path of the folder to make; it must not exist yet.

    Returns:
        See `fill`.

    Raises:
        InputError: see `fill`; or if `out` cannot be written. Nothing is left.
    """
    with new_folder(out) as folder:
        return fill(folder, sampler, formats, run, licence, say, **how)


def fill(
    folder,
    sampler,
    formats,
    run=None,
    licence=None,
    say=print,
    weights=FLOAT32,
    min_psnr=MIN_PSNR,
    runtime=None,
):
    """Writes a generator in some formats, with a model card and samples, into a folder.

    Args:
        folder: pathlib.Path of an empty folder.
        sampler: Sampler with a network, in float32.
        formats: sequence of names in `FORMATS`.
        run: `runs.directory.RunDirectory` the generator comes from, for the card; or None.
        licence: str, of the training images, for the card; None if it is not known.
        say: function that prints a line.
        weights: str, how the files store them: "float32", "float16" or "int8".
        min_psnr: float, in dB; files of rounded weights whose pictures differ more are refused.
        runtime: dict, see `web.find_runtime`; for the format web.

    Returns:
        Dict from format to its largest error, see `Live.difference`.

    Raises:
        InputError: if a format is unknown, needs packages that are not here, cannot hold such
            weights, cannot be written or loaded, or differs by more than its limit and `ROUNDINGS`
            times `Live.nudge`, or than `min_psnr`; or if the generator is truncated or guided.
    """
    check_formats(formats, weights)
    network = sampler.network
    if sampler.about.get("psi", 1.0) != 1.0 or sampler.about.get("guidance", 1.0) != 1.0:
        raise InputError(
            "psi, guidance: what is exported has psi=1 and guidance=1; a SavedModel takes psi when "
            "it is called"
        )
    if network is None or network.compute_dtype != "float32":
        raise InputError(
            f"{sampler.about.get('model')}: export needs a run or a .keras file, opened in float32"
        )
    compare = None if weights == FLOAT32 else rounding.Comparison(sampler, run)
    live, errors, notes = Live(sampler), {}, []
    for name in formats:
        file = FORMATS[name].file
        exported, errors[name] = _write(name, network, live, folder, weights)
        if compare:
            psnr, verdict = compare(exported)
            if not psnr >= min_psnr:
                raise InputError(
                    f"weights={weights}: as {name}, {verdict}; below min_psnr={min_psnr:g}, "
                    "nothing was written"
                )
        else:
            verdict = _exact(name, live, errors[name])
        say(f"{name}: {file}, largest error {errors[name]:.1e}, {verdict}")
        if weights != FLOAT32:
            notes.append(f"`{file}` stores {weights}: {verdict}.")
    pictures.save_png(folder / card.SAMPLES, sample_grid(sampler))
    files = {FORMATS[name].file: error for name, error in errors.items()}
    card.write(folder, sampler, files, batches(sampler), run, licence, notes)
    if WEB in formats:
        web.write_page(folder, sampler, runtime, weights)
    return errors


def check_formats(formats, weights=FLOAT32):
    """Raises InputError unless each is known, holds such weights, and its packages can be imported.

    Args:
        formats: sequence of names.
        weights: str.
    """
    if not formats:
        raise InputError(f"format=: give some of {', '.join(FORMATS)}")
    for name in formats:
        if name not in FORMATS:
            raise InputError(f"format={name}: give some of {', '.join(FORMATS)}")
        with extras.needed(f"format={name}", "export"):
            for module in FORMATS[name].modules:
                importlib.import_module(module)
        if weights != FLOAT32 and not FORMATS[name].rounds:
            able = ", ".join(n for n, form in FORMATS.items() if form.rounds)
            raise InputError(f"weights={weights}: format {name} cannot hold them, only {able} can")


def _write(name, network, live, folder, weights):
    """Writes a format: (what it computes as a function of arrays, its largest error)."""
    form = FORMATS[name]
    path = folder / form.file
    try:
        with disk_errors():
            form.write(network, path, *(() if weights == FLOAT32 else (weights,)))
        exported = form.load(path)
        return exported, live.difference(exported)
    except (OSError, InputError):
        raise  # a full disk, not a format's fault; or told already
    except Exception as failure:  # each converter and runtime has exceptions of its own
        raise InputError(
            f"format={name}: it cannot be written or loaded ({reason(failure)})"
        ) from failure


def _exact(name, live, error):
    """The limit that the error of a format is within, in words; InputError if it is not."""
    limit = FORMATS[name].limit
    if error > limit:
        limit = max(limit, ROUNDINGS * live.nudge)
    if not error <= limit:  # also when it is not a number
        raise InputError(
            f"format={name}: its images differ from the live model's by {error:.1e}, more than "
            f"{limit:.2g}; nothing was written"
        )
    return f"limit {limit:.2g}"


class Live:
    """A live generator's images over some `batches`, made once, for exported ones to be compared.

    Args:
        sampler: Sampler with a network.
    """

    def __init__(self, sampler):
        self._sampler = sampler
        inputs = [sampler.inputs(range(batch)) for batch in batches(sampler)]
        self._made = [(given, np.asarray(sampler.generate(*given))) for given in inputs]

    def difference(self, exported):
        """How far an exported generator is from the live one, each batch made twice.

        Args:
            exported: function from arrays (z, *labels) to images.

        Returns:
            float: the largest absolute difference, divided by the largest absolute value of the
            live images where that is above 1. Images are not clipped, and those of a young
            generator leave [-1, 1] by far: float32 is only as fine as its largest values.
        """
        errors = []
        for inputs, live in self._made:
            for _ in range(2):  # a runtime may be right at its first call alone
                errors.append(_error(live, np.asarray(exported(*inputs))))
        return float(np.max(errors))  # NaN if any is

    @functools.cached_property
    def nudge(self):
        """How far images move where each weight moves by at most half of float32's last place.

        Runtimes add the same numbers in another order, which moves images about as far: a little,
        or much where a layer norm divides by a small variance. As `difference`, a float; weights
        are the same afterwards.
        """
        network, (inputs, live) = self._sampler.network, self._made[-1]
        weights, random = network.get_weights(), np.random.default_rng(0)
        network.set_weights([_nudged(weight, random) for weight in weights])
        try:
            moved = np.asarray(self._sampler.generate(*inputs))
        finally:
            network.set_weights(weights)
        return float(_error(live, moved))


def _error(live, ours):
    if live.shape != ours.shape:
        raise ValueError(f"images {ours.shape} instead of {live.shape}")
    return np.abs(live - ours).max() / max(1.0, np.abs(live).max())


def _nudged(weight, random):
    if weight.dtype != np.float32:
        return weight
    return weight * (1 + random.uniform(-1, 1, weight.shape) * 2.0**-24)


def batches(sampler):
    """Batch sizes that are compared: `BATCHES`, smaller ones of large images."""
    return sorted({sampler.affordable(batch) for batch in BATCHES})


def sample_grid(sampler):
    """Images of seeds 0 to 63 as one uint8 picture; few at a time, to bound memory."""
    few = sampler.affordable(COLUMNS)
    parts = [range(first, min(first + few, COLUMNS**2)) for first in range(0, COLUMNS**2, few)]
    images = [np.asarray(sampler.generate(*sampler.inputs(part))) for part in parts]
    return pictures.grid(pictures.to_uint8(np.concatenate(images)), COLUMNS)


def load_saved_model(path):
    """The SavedModel at a path as a function of arrays."""
    loaded = tf.saved_model.load(str(path))
    return lambda *inputs: loaded.serve(*(tf.convert_to_tensor(array) for array in inputs))


def load_keras(path):
    """The .keras file at a path as a function of arrays."""
    network = keras.saving.load_model(path, compile=False)
    return lambda *inputs: network(*inputs, training=False)


def write_float16(network, path):
    """Writes a generator to a path as a .keras file of float16 variables, packed."""
    save_deflated(in_precision(network, "float16"), path)


def load_float16(path):
    """The .keras file at a path as a function of arrays, computed in float32."""
    network = in_precision(keras.saving.load_model(path, compile=False), "float32")
    return lambda *inputs: network(*inputs, training=False)


WEB = "web"
_ONNX = ("onnx", "tf2onnx", "onnxruntime")
FORMATS = {
    "saved_model": Format("saved_model", endpoints.write_saved_model, load_saved_model),
    "onnx": Format("generator.onnx", onnx_file.write, onnx_file.load, _ONNX, rounds=True),
    "litert": Format(
        "generator.tflite", litert_file.write, litert_file.load, ("ai_edge_litert",), rounds=True
    ),
    "keras": Format("generator.keras", lambda network, path: network.save(path), load_keras),
    "float16": Format("generator.float16.keras", write_float16, load_float16, limit=FLOAT16_LIMIT),
    WEB: Format(web.MODEL, web.write_model, web.load_model, _ONNX, rounds=True),
}
