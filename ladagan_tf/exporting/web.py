"""A page that makes images in the visitor's browser, as a folder for any static host.

index.html, page.css, page.js    the page
worker.js, latents.js            the model's run in a thread of its own; latents of seeds
service_worker.js                keeps all of it for the next visit, also offline
model.onnx.gz, model.json        the generator with psi and attention, and what the page knows of it
ort/                             onnxruntime-web and its licence; who has no GPU downloads half
"""

import functools
import gzip
import hashlib
import html
import os
import pathlib
import tarfile

import matplotlib
import numpy as np

from ladagan_tf.errors import InputError
from ladagan_tf.exporting import card, onnx_file
from ladagan_tf.files import json_line
from ladagan_tf.weights.download import PublishedFile, find_published

MODEL, ABOUT = "model.onnx.gz", "model.json"
FLAG = "--ort_web"
# Its WebAssembly grows from version to version; this one's packs to 3.0 MB, 5.2 with WebGPU.
VERSION = "1.20.1"
PUBLISHED = PublishedFile(
    "the files of onnxruntime-web",
    f"onnxruntime-web-{VERSION}.tgz",
    f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz",
    "0a38facf0672dfaaeaf352e8a9f44533732b60b4af93b9dd507fe7c2d2be437b",
    FLAG,
)
RUNTIME = {
    "ort.wasm.min.mjs": "f53ed4792e758e7232f779d479eb8931b97ff3ab2e3b9a33ee00d1251ffdaad6",
    "ort.webgpu.min.mjs": "e1a0817ac08d5a6ade7f229754c2aecd444bff0bd22c259ca148a04b9f9e9f65",
    "ort-wasm-simd-threaded.mjs": (
        "745eb7c0ce6f18a6aa521971b2877babc7ffb27eecb58ab3bc6e5ef4692672e8"
    ),
    "ort-wasm-simd-threaded.jsep.mjs": (
        "2fb14505d39926e4c544de8c57fe59a2f2bc74caba6f71890be9afecc5046758"
    ),
    "ort-wasm-simd-threaded.wasm": (
        "207d02be4591c156b0a98f024f3d58005b5b04c92274d759fb390338c63559ea"
    ),
    "ort-wasm-simd-threaded.jsep.wasm": (
        "185b0861a6cd6cbdfb057289338090436483cc59e10a7bc83bd167b15531a51b"
    ),
}
MOST = 30_000_000  # bytes of one of them
PARTS = pathlib.Path(__file__).parent / "site"
PAGE = "index.html"
STATIC = ("page.css", "page.js", "worker.js", "latents.js", "service_worker.js")
LICENCE = "licence.txt"  # the package on npm names its licence and does not hold the text


def find_runtime(given=None):
    """The files of onnxruntime-web, proven to be the published ones.

    Args:
        given: path of the tarball that npm packs, or of a folder with its files or with their
            `dist`; None for the cached tarball, else a download from npm.

    Returns:
        Dict from file name to bytes.

    Raises:
        InputError: if it cannot be read or downloaded, or is not version `VERSION`.
    """
    place = pathlib.Path(os.path.expanduser(given)) if given else find_published(PUBLISHED)
    wanted = f"give what `npm pack onnxruntime-web@{VERSION}` writes, or that unpacked"
    try:
        files = _from_folder(place) if place.is_dir() else _from_tarball(place)
    except (OSError, tarfile.TarError, EOFError) as error:
        raise InputError(f"ort_web={place}: it cannot be read ({error}); {wanted}") from None
    for name, content in files.items():
        if hashlib.sha256(content).hexdigest() != RUNTIME[name]:
            raise InputError(f"ort_web={place}: its {name} is not that of {VERSION}; {wanted}")
    return files


def _from_folder(place):
    folder = place / "dist" if (place / "dist").is_dir() else place
    found = {}
    for name in RUNTIME:
        with (folder / name).open("rb") as file:
            found[name] = file.read(MOST)
    return found


def _from_tarball(place):
    found = {}
    with tarfile.open(place, "r:gz") as archive:
        for member in archive:  # once through: to go back is to unpack it again
            name = member.name.removeprefix("package/dist/")
            if name in RUNTIME and member.isfile():
                found[name] = archive.extractfile(member).read(MOST)
            if len(found) == len(RUNTIME):
                return found
    raise tarfile.TarError(f"no {next(name for name in RUNTIME if name not in found)} in it")


def write_model(network, path, weights=None):
    """Writes a generator for the page, packed.

    Args:
        network, weights: see `onnx_file.write_everything`.
        path: pathlib.Path.
    """
    plain = path.with_suffix("")
    onnx_file.write_everything(network, plain, weights)
    path.write_bytes(_packed(plain.read_bytes()))
    plain.unlink()


def load_model(path):
    """The packed model at a path as a function of arrays."""
    return onnx_file.load(gzip.decompress(path.read_bytes()))


def write_page(folder, sampler, runtime, weights):
    """Writes the page around the model that is in a folder already.

    Args:
        folder: pathlib.Path, with `MODEL` in it.
        sampler: Sampler with a network.
        runtime: dict, see `find_runtime`.
        weights: str, how the model's weights are stored.
    """
    title = card.title(sampler)
    for name in STATIC:
        (folder / name).write_bytes((PARTS / name).read_bytes())
    text = (PARTS / PAGE).read_text(encoding="utf-8").replace("TITLE", html.escape(title))
    (folder / PAGE).write_text(text, encoding="utf-8")
    loaded = {MODEL: (folder / MODEL).read_bytes()}
    (folder / "ort").mkdir()
    for name, content in runtime.items():
        if name.endswith(".wasm"):
            loaded[f"ort/{name}.gz"] = _packed(content)
        else:
            (folder / "ort" / name).write_bytes(content)
    (folder / "ort" / LICENCE).write_bytes((PARTS / LICENCE).read_bytes())
    about = describe(sampler, title, weights)
    about["loaded"] = {}
    for name, content in loaded.items():
        (folder / name).write_bytes(content)
        found = hashlib.sha256(content).hexdigest()[:16]
        about["loaded"][name] = {"bytes": len(content), "hash": found}
    (folder / ABOUT).write_text(json_line(about), encoding="utf-8")


def describe(sampler, title, weights):
    """What the page must know of its model, as a dict of plain values.

    Args:
        sampler: Sampler with a network.
        title: str.
        weights: str, how they are stored.
    """
    network = sampler.network
    names = list(sampler.class_names) or [str(i) for i in range(sampler.num_classes)]
    maps = []
    if getattr(network, "has_attention_maps", False):
        # Their shapes: (1, H, N) of one image.
        z = np.zeros((1, sampler.noise_dim), np.float32)
        labels = [np.zeros(1, np.int32)] if sampler.num_classes else []
        maps = [tuple(m.shape[1:]) for m in network.attention_maps(z, *labels)[1]]
    colours = matplotlib.colormaps["inferno"](np.arange(256))[:, :3] * 255
    return {
        "title": title,
        "model": sampler.about.get("model", ""),
        "weights": weights,
        "resolution": sampler.resolution,
        "noise_dim": sampler.noise_dim,
        "classes": names,
        "psi": sampler.truncated is not None,
        "attention": [{"heads": h, "side": round(n**0.5)} for h, n in maps],
        "colours": bytes(colours.astype(np.uint8).reshape(-1)).hex() if maps else "",
    }


@functools.cache  # the runtime is the same for every page
def _packed(content):
    return gzip.compress(content, 9, mtime=0)
