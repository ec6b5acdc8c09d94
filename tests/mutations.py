"""Seeded damage to a file of every format that is read, and what must become of each: it works, or
it is refused in one line.

    python tests/mutations.py [FORMAT ...] --count=2000 [--seed=0]

prints per format how many worked and how many were refused, the slowest, and the peak of memory;
and a traceback of each that did neither. Mutant number i of a seed is always the same.
"""

import argparse
import contextlib
import faulthandler
import io
import json
import os
import pathlib
import resource
import shutil
import sys
import tempfile
import time
import traceback
import zipfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path[:0] = [str(pathlib.Path(__file__).resolve().parents[1])]

import numpy as np  # noqa: E402
from damage import (  # noqa: E402
    damaged,
    edited_json,
    edited_keras,
    edited_npy,
    edited_records,
    edited_saved_model,
    edited_zip,
)

from ladagan_tf.errors import InputError  # noqa: E402

HANGS = 60  # seconds
OUTCOMES = ("works", "builds", "refused", "fell")
NAMES = [
    "views_nested_zip.pth", "views_nested_legacy.pth", "dtypes.safetensors",
    "tiny_inception_like.pb", ".png", ".jpg", ".webp", ".bmp", ".gif", ".ppm", ".tif",
    "weights.npz", "zip", "npz", "reference", "cache", "dataset.json", "records", "keras",
    "gat.keras", "vae.keras", "models.json", "official", "gat.pt", "saved_model",
    "about.json", "averages",
]  # fmt: skip


class NetworkAsked(BaseException):
    """A network would be built now."""


@contextlib.contextmanager
def without_networks():
    """Within it the first weight of a network raises NetworkAsked."""
    import keras

    def asked(*_, **__):
        raise NetworkAsked

    add_weight, keras.layers.Layer.add_weight = keras.layers.Layer.add_weight, asked
    try:
        yield
    finally:
        keras.layers.Layer.add_weight = add_weight


class Format:
    """One format: an example of it, how it is damaged, and how it is read.

    Args:
        make: function from an empty folder to the example in it, a file or a folder.
        read: function from the path of such a thing; it reads all of it.
        edit: function from the name of a file in it, its bytes and a generator to other bytes.
        only: glob of the files that are damaged, of a folder.
        check: function as `read` that reads only what is checked at first; None: as far as `read`
            comes before it makes a network.
    """

    def __init__(
        self, make, read, edit=lambda name, data, rng: damaged(data, rng), only="*", check=None
    ):
        self.make, self.read, self.edit, self.only = make, read, edit, only
        self.check = check or read

    def outcome(self, example, work, seed, number, build=True):
        """What becomes of one mutant: "works" or "refused"; AssertionError or another if neither.

        Or "builds", if what is checked before the first weight is made found nothing.

        Args:
            example: what `make` returned.
            work: an existing folder, for the mutant.
            seed, number: which mutant.
            build: bool, whether all of it is read and networks are built, which takes thirty times
                as long as the checks.
        """
        rng = np.random.default_rng([seed, number])
        mutant = self._placed(example, work)
        file = list(self.originals)[rng.integers(len(self.originals))]
        edited = self.edit(file.name, self.originals[file], rng)
        if self.damaged not in (None, file):
            _replace(self.damaged, self.originals[self.damaged])
        self.damaged = file
        _replace(file, edited)
        try:
            with contextlib.nullcontext() if build else without_networks():
                (self.read if build else self.check)(mutant)
            said = "works"
        except NetworkAsked:
            said = "builds"
        except InputError as error:
            line, said = f"error: {error}", "refused"
            assert len(line) < 400 and line.isprintable(), line
        except BaseException:
            shutil.rmtree(mutant.parent)  # or the next one would have its damage too
            raise
        if _listing(mutant.parent) != {**self.listing, str(file): len(edited)}:
            shutil.rmtree(mutant.parent)
            raise AssertionError("something was written")
        return said

    def _placed(self, example, work):
        """The copy of the example in the folder `work`, made once: most mutants are read fast."""
        mutant = pathlib.Path(work) / "mutant" / example.name
        if not mutant.parent.exists():
            mutant.parent.mkdir()
            if example.is_dir():
                shutil.copytree(example, mutant)
            else:
                shutil.copy(example, mutant)
            files = sorted(p for p in mutant.rglob(self.only) if p.is_file()) or [mutant]
            self.originals = {file: file.read_bytes() for file in files}
            self.listing, self.damaged = _listing(mutant.parent), None
        return mutant


def _replace(file, data):
    """Another file of that name: a reader may have mapped the last one into memory.

    Renaming one over it would be waited for by the disk.
    """
    file.unlink()
    file.write_bytes(data)


def _listing(folder):
    """{path: size} of all files below a folder, and None for folders."""
    found = {}
    for entry in os.scandir(folder):
        found[entry.path] = None if entry.is_dir() else entry.stat().st_size
        if entry.is_dir():
            found |= _listing(entry.path)
    return found


def formats():
    """Dict: name -> Format. Imports TensorFlow."""
    import golden_sets
    import keras
    import tensorflow as tf
    from PIL import Image

    from ladagan_tf import zoo
    from ladagan_tf.data import dataset_info, pipeline, sources
    from ladagan_tf.data.conversion import Conversion, convert_items
    from ladagan_tf.data.preparation import prepare
    from ladagan_tf.evaluation import collection, images
    from ladagan_tf.files import sha256_of
    from ladagan_tf.models.lada.generator import Generator
    from ladagan_tf.models.vae.autoencoder import AutoencoderKL
    from ladagan_tf.official import gat as official_gat
    from ladagan_tf.official import lada_fields, lada_folder, lada_runs
    from ladagan_tf.runs.checkpoints import Checkpoints
    from ladagan_tf.runs.directory import RunDirectory
    from ladagan_tf.runs.snapshots import Snapshots
    from ladagan_tf.sampling import opening, posthoc, seeds
    from ladagan_tf.weights import vae_weights
    from ladagan_tf.weights.reading import read_weights

    golden, rng = golden_sets.GOLDEN, np.random.default_rng(0)
    widths = {"widths": (8, 8, 8), "num_heads": (2, 2, 2), "mlp_widths": (4, 4, 4)}

    def copied(name):
        return lambda folder: pathlib.Path(shutil.copy(golden / name, folder))

    def generate(source):
        labels = [np.zeros(2, np.int32)] if source.num_classes else []
        # Not traced, which takes far longer than a few images.
        generator = source.network or source.generate
        generator(seeds.latents(range(2), source.noise_dim), *labels)

    def vae_file(folder):
        AutoencoderKL(widths=(4, 4), resnets=1, groups=2).save(folder / "vae.keras")
        return folder / "vae.keras"

    def prepared(folder):
        return prepare("shapes", folder / "set", resolution=8, num_images=10, shards=2).folder

    def stored_averages(folder):
        weights = [rng.normal(size=shape).astype("f4") for shape in ((2, 3), (3,), (3,))]
        for step in (1, 2):
            averages = {s: [step * w for w in weights] for s in (0.05, 0.1)}
            Snapshots(folder / "averages", averages, [1, 2], [2]).save(step, 8 * step)
        return folder / "averages"

    def read_set(folder):
        *_, last = pipeline.iterate_images(folder, 4)
        with pipeline.damage_as_input_error(folder):
            stream = pipeline.make_dataset(folder, batch_size=2, seed=0)
            for _ in stream.take(5):
                pass
        return last

    def npz_source(folder):
        shape = (4, 6, 6, 3)
        pixels = rng.integers(0, 256, shape, np.uint8)
        np.savez(folder / "a.npz", images=pixels, labels=np.arange(4))
        return folder / "a.npz"

    def read_source(path):
        source = sources.open_source(str(path), resolution=6)
        convert_items(source.read, Conversion(6), source.items())

    def references(folder):
        scatter = rng.normal(size=(6, 6))
        np.savez(folder / "r.npz", mu=scatter[0], sigma=scatter @ scatter.T, count=7)
        return folder / "r.npz"

    def cached(folder):
        found = collection.Collected(5, np.zeros(3), np.eye(3), None, np.zeros((5, 3)))
        collection._save(folder / "c.npz", "key", found)
        return folder / "c.npz"

    def picture(suffix, **how):
        def make(folder):
            (folder / "images").mkdir()
            pixels = Image.fromarray(rng.integers(0, 256, (12, 12, 3), np.uint8))
            pixels.save(folder / "images" / f"0{suffix}", **how)
            return folder / "images"

        return make

    def zipped(folder):
        with zipfile.ZipFile(folder / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for number in range(3):
                buffer = io.BytesIO()
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), np.uint8)).save(buffer, "PNG")
                archive.writestr(f"{number}.png", buffer.getvalue())
        return folder / "a.zip"

    def official(folder):
        source = golden / "ladagan_checkpoint" / "ckpt_32"
        return pathlib.Path(shutil.copytree(source, folder / "official"))

    def read_official(folder):
        lada_runs.open_official(folder)
        config = lada_folder.read_config(folder)
        lada_fields.flags_of(config, folder)
        lada_runs.learning_rates(folder)

    def gat_file(folder):
        golden_sets.fill_checkpoint(folder / "latest.pt")
        return folder / "latest.pt"

    def saved_model(folder):
        module = tf.Module()
        module.kernel = tf.Variable(tf.random.normal((4, 8 * 8 * 3)))
        spec = tf.TensorSpec((None, 4), tf.float32, name="z")

        @tf.function(input_signature=[spec])
        def serve(z):
            return tf.reshape(z @ module.kernel, (-1, 8, 8, 3))

        module.serve = serve
        tf.saved_model.save(module, str(folder / "saved"), {"serving_default": serve})
        return folder / "saved"

    def entry(folder):  # its files cut short, which are hashed anew for every mutant
        shutil.copytree(zoo.FOLDER / "shapes", folder / "entry")
        about = json.loads((folder / "entry/about.json").read_text())
        for name, recorded in about["files"].items():
            file = folder / "entry" / name
            file.write_bytes(file.read_bytes()[:1000])
            recorded["sha256"] = sha256_of(file)
        (folder / "entry/about.json").write_text(json.dumps(about, indent=1))
        return folder / "entry"

    def run(folder):
        network, directory = Generator(noise_dim=4, **widths), RunDirectory(folder / "run")
        directory.start({}, [network])
        state = {f"averaged/{i:03d}/{v.path}": v for i, v in enumerate(network.weights)}
        Checkpoints(directory.checkpoints, state).save(step=1, images=1)
        return directory.path

    def as_zip(edit):
        return lambda name, data, rng: edited_zip(data, rng, edit)

    def npy(name, data, rng):
        return edited_npy(data, rng)

    def as_json(name, data, rng):
        return edited_json(data, rng)

    def as_records(name, data, rng):
        return edited_records(data, rng)

    def config_or_bytes(name, data, rng):
        return (edited_json if name == "config.json" else damaged)(data, rng)

    def bare(name, data, rng):
        return damaged(data, rng)

    weights = {
        name: Format(copied(f"oracle/formats/{name}"), read_weights)
        for name in (
            "views_nested_zip.pth", "views_nested_legacy.pth", "dtypes.safetensors",
            "tiny_inception_like.pb",
        )
    }  # fmt: skip
    pictures = {
        suffix: Format(picture(suffix, **how), images.stored)
        for suffix, how in {
            ".png": {}, ".jpg": {}, ".webp": {}, ".bmp": {}, ".gif": {}, ".ppm": {},
            ".tif": {"compression": "tiff_lzw"},
        }.items()
    }  # fmt: skip
    keras.utils.set_random_seed(0)
    return {
        **weights,
        **pictures,
        "weights.npz": Format(npz_source, read_weights, as_zip(npy)),
        "zip": Format(zipped, images.stored, as_zip(bare)),
        "npz": Format(npz_source, read_source, as_zip(npy)),
        "reference": Format(references, collection.given_moments, as_zip(npy)),
        "cache": Format(
            cached, lambda p: collection._load(p, "key", collection.Needs(features=True)),
            as_zip(npy),
        ),
        "dataset.json": Format(
            prepared, read_set, as_json, "dataset.json", dataset_info.load_info
        ),
        "records": Format(prepared, read_set, as_records, "*.tfrecord"),
        "keras": Format(
            copied("moved/lada.keras"), lambda p: generate(opening.open_model(p)),
            as_zip(edited_keras),
        ),
        "gat.keras": Format(
            copied("moved/gat.keras"), lambda p: generate(opening.open_model(p)),
            as_zip(edited_keras),
        ),
        "vae.keras": Format(vae_file, vae_weights.load, as_zip(edited_keras)),
        "models.json": Format(run, lambda p: generate(opening.open_run(p)), as_json, "models.json"),
        "official": Format(official, read_official, config_or_bytes),
        "gat.pt": Format(gat_file, lambda p: official_gat.read_network(p, "ema"), as_zip(bare)),
        "saved_model": Format(
            saved_model, lambda p: generate(opening.open_model(p)), edited_saved_model,
        ),
        "about.json": Format(entry, opening.locate, as_json, "about.json"),
        "averages": Format(
            stored_averages, lambda p: posthoc.PosthocAverages(p).reconstruct([0.07]), as_zip(npy),
        ),
    }  # fmt: skip


def main():
    """Runs what the command line asks for; exits with 1 if a mutant did neither."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("names", nargs="*", help="formats; all by default")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--nobuild", action="store_true", help="no networks: only what is checked")
    parser.add_argument("--first", type=int, default=0, help="number of the first mutant")
    given = parser.parse_args()
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - warnings of libraries, by the thousand
    failed, found = 0, formats()
    note = pathlib.Path(tempfile.gettempdir()) / f"mutant-{os.getpid()}"  # should the process crash
    for name in given.names or found:
        with tempfile.TemporaryDirectory() as work:
            made = pathlib.Path(work) / "example"
            made.mkdir()
            example = found[name].make(made)
            counts, slowest = dict.fromkeys(OUTCOMES, 0), (0.0, 0)
            for number in range(given.first, given.first + given.count):
                faulthandler.dump_traceback_later(HANGS, exit=True, file=sys.stdout)
                started = time.monotonic()
                note.write_text(f"{name} {given.seed} {number}\n")
                try:
                    tried = found[name].outcome(
                        example, work, given.seed, number, build=not given.nobuild
                    )
                    counts[tried] += 1
                except Exception:
                    counts["fell"] += 1
                    lines = traceback.format_exc().splitlines()
                    print(f"--- {name} {given.seed} {number}", *lines[-9:], sep="\n", flush=True)
                slowest = max(slowest, (time.monotonic() - started, number))
            faulthandler.cancel_dump_traceback_later()
            failed += counts["fell"]
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{name}: {counts}, slowest {slowest[0]:.1f} s (number {slowest[1]}), "
                  f"peak {peak} MiB", flush=True)  # fmt: skip
    note.unlink(missing_ok=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
