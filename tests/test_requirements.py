"""`requirements.txt` alone is enough for what needs no extra: test environments hide what lacks."""

import importlib.metadata
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).resolve().parents[1]
# With every package that requirements.txt does not bring as good as not installed.
SCRIPT = """
import importlib, importlib.abc, json, pathlib, sys
sys.path[:0] = ["", "tests"]
blocked, work = set(json.loads(sys.argv[1])), pathlib.Path(sys.argv[2])

class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Blocked())
import keras, numpy, ladagan_tf
loaded = keras.saving.load_model(work / "generator.keras")  # nothing else is imported yet
numpy.save(work / "images.npy", loaded(numpy.load(work / "z.npy")))
for path in sorted(pathlib.Path("ladagan_tf").rglob("*.py")):
    # But for those of the demo and serve extras.
    if path.name not in ("asked.py", "page.py", "page_server.py", "service.py", "listening.py"):
        importlib.import_module(".".join(path.with_suffix("").parts).removesuffix(".__init__"))

import tfds_sets.handmade
from ladagan_tf.data.preparation import prepare
info = prepare("tfds:handmade_tfds_set", work / "out", resolution=8, data_dir=str(work / "tfds"))
print(info.count, "images")
generator, about = ladagan_tf.load("shapes")
print(about["makes"], generator.count_params() == about["parameters"])
"""


def brought_by(file):
    """Names of the distributions that a file of requirements brings, with all they need."""
    lines = [line.partition("#")[0].strip() for line in file.read_text().splitlines()]
    pending, found = [Requirement(line) for line in lines if line], set()
    while pending:
        wanted = pending.pop()
        name = wanted.name.lower().replace("_", "-")
        if (name, *sorted(wanted.extras)) in found:
            continue
        found.add((name, *sorted(wanted.extras)))
        try:
            needs = map(Requirement, importlib.metadata.requires(name) or ())
        except importlib.metadata.PackageNotFoundError:
            continue  # of another platform
        for need in needs:
            environments = [{"extra": extra} for extra in (*wanted.extras, "")]
            if need.marker is None or any(need.marker.evaluate(e) for e in environments):
                pending.append(need)
    return {name for name, *_ in found}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small generator's file, images of it, and what `SCRIPT` made of the file."""
    from ladagan_tf.models.lada.generator import Generator

    place = tmp_path_factory.mktemp("alone")
    generator = Generator(64, 8, (8, 8, 8), (2, 2, 2), (4, 4, 4), (4,))  # with a decoder
    z = np.random.default_rng(0).standard_normal((2, 8)).astype("float32")
    generator.save(place / "generator.keras")
    np.save(place / "z.npy", z)
    np.save(place / "expected.npy", generator(z))
    kept = brought_by(ROOT / "requirements.txt") | {"ladagan-tf"}  # which may be installed, too
    assert {"tensorflow", "keras", "matplotlib"} <= kept and "pytest" not in kept
    blocked = [
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not kept & {owner.lower().replace("_", "-") for owner in owners}
    ]
    assert {"pytest", "onnx", "fastapi"} <= set(blocked)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(blocked), str(place)],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (place / "said").write_text(done.stdout)
    return place


@pytest.mark.slow
def test_everything_but_the_extras_runs_on_requirements_txt_alone(place):
    assert (place / "said").read_text().endswith("6 images\nLadaGAN 32 x 32 True\n")


@pytest.mark.slow
def test_a_saved_generator_loads_where_only_the_package_was_imported(place):
    found, expected = (np.load(place / f"{name}.npy") for name in ("images", "expected"))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
