"""The generators that come with the package are whole, small, and as good as is written in them."""

import json
import pathlib
import re
import shutil
import socket
import subprocess
import sys
import textwrap
import tomllib

import keras
import numpy as np
import pytest
from fake_hub import FakeHub
from in_process import command, error_line
from PIL import Image

import ladagan_tf
from ladagan_tf import evaluate, generate, zoo
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import formats
from ladagan_tf.flags import evaluate as evaluate_flags
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.flags import help
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.sampling import opening, seeds

ROOT = pathlib.Path(__file__).resolve().parents[2]
MOST, MOST_TOGETHER = 8e6, 25e6  # bytes


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """What comes with the package asks no other machine."""

    def refuse(*arguments):
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def about():
    return {name: json.loads((zoo.FOLDER / name / zoo.ABOUT).read_text()) for name in zoo.names()}


@pytest.fixture
def copy(tmp_path):
    """A copy of the smallest model's folder."""
    return pathlib.Path(shutil.copytree(zoo.FOLDER / "shapes", tmp_path / "copy"))


@pytest.mark.slow
@pytest.mark.parametrize("name", zoo.names())
def test_a_model_measures_what_is_recorded_of_it(name, about, tmp_path):
    """As the command measures it, against the reference that comes with it."""
    recorded = about[name]["check"]
    count = recorded["protocol"]["generated"]["count"]
    with command(evaluate, evaluate_flags.define) as main:
        out = tmp_path / "metrics.jsonl"
        main(f"--model=zoo:{name}", f"--num_samples={count}", "--metrics=fcd", f"--out={out}")
    (found,) = map(json.loads, out.read_text().splitlines())
    assert found["name"] == recorded["name"]
    assert found["value"] == pytest.approx(recorded["value"], rel=0.01)
    same = ("model", "file_sha256", "count", "image_seeds")
    generated, then = (m["protocol"]["generated"] for m in (found, recorded))
    assert {k: generated[k] for k in same} == {k: then[k] for k in same}


def test_nothing_that_is_said_of_a_model_is_a_place_on_somebody_s_machine():
    for path in zoo.FOLDER.glob("*/*"):
        if path.suffix in (".json", ".md"):
            assert not re.search(r"(?<![\w.:/])/(tmp|work|home|root|Users)/", path.read_text()), (
                path
            )


def test_each_model_tells_its_training_licences_and_protocol(about):
    assert {"emoji64", "shapes"} <= about.keys()
    for name, told in about.items():
        assert told["name"] == name and told["licence"] and told["data"]["licence"]
        program = told["trained"]["starts"][0]["command"][0]
        assert program in ("train.py", "ladagan_tf/train.py", "benchmarks/gpu_run.py")
        assert told["trained"]["ema"] and told["trained"]["flags"]["total_kimg"]
        assert "--format=zoo" in told["exported"]["command"] and told["exported"]["date"]
        card = (zoo.FOLDER / name / "README.md").read_text()
        assert told["data"]["licence"] in card and told["data"]["content_sha256"] in card
        for measured in told["measured"]:
            assert {"generated", "reference", "features"} <= measured["protocol"].keys()
            assert measured["name"] in card


def test_models_are_small_and_all_their_files_are_packaged():
    """By the pattern in pyproject.toml, which setuptools takes relative to the package."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    patterns = project["tool"]["setuptools"]["package-data"]["ladagan_tf.zoo"]
    packaged = {path for pattern in patterns for path in zoo.FOLDER.glob(pattern)}
    packaged = {path for path in packaged if path.is_file() and path.parent.name != "__pycache__"}
    there = {p for name in zoo.names() for p in (zoo.FOLDER / name).rglob("*")}
    assert packaged == there and len(there) == 6 * len(zoo.names())
    sizes = [sum(p.stat().st_size for p in there if p.parent.name == n) for n in zoo.names()]
    assert max(sizes) <= MOST and sum(sizes) <= MOST_TOGETHER


def test_a_damaged_model_is_refused_by_its_hash(copy):
    path = copy / "generator.float16.keras"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"generator[.]float16[.]keras is damaged or another file"):
        opening.open_model(copy)
    path.unlink()
    with pytest.raises(InputError, match=r"cannot be read .*No such file"):
        opening.open_model(copy)
    (copy / zoo.ABOUT).write_text('{"files": {"a": 3}}')
    with pytest.raises(InputError, match="names no files"):
        opening.open_model(copy)


def test_names_are_those_of_the_zoo_and_no_paths():
    every = ", ".join(f"zoo:{name}" for name in zoo.names())
    for wrong in ("emoij64", "", "../zoo/shapes", "shapes/"):
        with pytest.raises(InputError, match=f"no such model; give {every}$"):
            zoo.find(f"zoo:{wrong}")
    with pytest.raises(InputError, match=f"hf:USER/REPO, or {every}$"):
        opening.open_model("nothing")


def test_loading_gives_a_float32_network_and_what_is_known_of_it(about, tmp_path):
    z = seeds.latents(range(2), 64)
    generator, told = ladagan_tf.load("shapes")
    assert isinstance(generator, keras.Model) and generator.compute_dtype == "float32"
    assert {w.dtype for w in generator.weights} == {"float32"}
    assert told == about["shapes"] and "load" in dir(ladagan_tf)
    generator.save(tmp_path / "g.keras")
    same, told = ladagan_tf.load(tmp_path / "g.keras")
    np.testing.assert_array_equal(same(z), generator(z))
    assert told["model"] == str(tmp_path / "g.keras")
    with pytest.raises(InputError, match="zoo:shapes"):
        ladagan_tf.load("shape")
    with pytest.raises(AttributeError, match="has no attribute 'lod'"):
        ladagan_tf.lod  # noqa: B018 - asked for


def test_naming_the_package_imports_nothing_that_computes():
    script = "import ladagan_tf, sys; dir(ladagan_tf); print({'keras', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout == b"set()\n"


@pytest.mark.usefixtures("eagerly")
def test_a_grid_made_by_name_is_the_picture_in_its_folder(about, tmp_path):
    """To the grey levels that float16 moved it, see about.json."""
    with command(generate, generate_flags.define) as main:
        main("--model=zoo:shapes", "--grid=8x8", f"--out={tmp_path / 'grid.png'}")
    pictures = tmp_path / "grid.png", zoo.FOLDER / "shapes" / "samples.png"
    levels = np.abs(np.subtract(*(np.asarray(Image.open(path), int) for path in pictures)))
    assert levels.max() <= about["shapes"]["float16"]["largest_levels"] + 1
    assert levels.mean() < 0.1


def test_without_a_model_one_is_suggested_and_a_wrong_name_is_told_all(tmp_path, capsys):
    with command(generate, generate_flags.define) as main:
        line = error_line(main, [f"--out={tmp_path / 'a.png'}"], capsys)
        assert line.endswith("give either --run_dir or --model, as --model=zoo:emoji64")
        line = error_line(main, ["--model=zoo:shape"], capsys)
        assert line.startswith("error: --model=zoo:shape: the zoo has no such model; give zoo:")


@pytest.mark.parametrize("words", [["--model=zoo:"], ["--grid=2x2", "-model", "zoo:"]])
def test_zoo_alone_lists_the_models(words, about):
    with command(generate, generate_flags.define):
        told = help.answer(generate_flags, "ladagan generate", ["generate", *words], "")
    lines = told.splitlines()
    assert len(lines) == 1 + len(about)
    for line, (name, told) in zip(lines[1:], about.items(), strict=True):
        assert line.startswith(f"zoo:{name} ") and line.endswith(told["data"]["licence"])
        assert f"{told['parameters']:,}" in line


def test_a_pushed_folder_opens_by_its_name_on_the_hub(copy, monkeypatch, tmp_path):
    fake = FakeHub(tmp_path / "repository", tmp_path / "local")
    shutil.copytree(copy, fake.repository / "inside")
    (fake.repository / "notes.txt").write_text("not asked for")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    sampler = opening.open_model("hf:me/mine/inside")
    assert sampler.about["model"] == str(fake.local / "inside" / "generator.float16.keras")
    recorded = json.loads((copy / zoo.ABOUT).read_text())["files"]
    assert sampler.about["file_sha256"] == recorded["generator.float16.keras"]["sha256"]
    assert fake.asked[0][0] == "me/mine" and not (fake.local / "notes.txt").exists()
    with pytest.raises(InputError, match=r"convert --official=hf:me/empty"):
        opening.open_model("hf:me/empty")
    fake.error = ConnectionError("off")
    with pytest.raises(InputError, match=r"^model=hf:me/mine: the download failed [(]off[)]$"):
        opening.open_model("hf:me/mine")


def test_a_class_of_generators_makes_one_of_a_name():
    loaded, _ = ladagan_tf.load("shapes")
    half = Generator.from_preset(zoo.FOLDER / "shapes", dtype="mixed_bfloat16")
    assert half.dtype_policy.name == "mixed_bfloat16" and half.variable_dtype == "float32"
    new = Generator.from_preset("zoo:shapes", load_weights=False)
    assert new.get_config() == loaded.get_config()
    for same, network in ((True, half), (False, new)):
        pairs = zip(network.get_weights(), loaded.get_weights(), strict=True)
        assert all(np.array_equal(*pair) for pair in pairs) == same
    with pytest.raises(InputError, match="zoo:shapes"):
        Generator.from_preset("shape")
    with pytest.raises(InputError, match="precision=flat16: give float32, mixed_bfloat16 or"):
        Generator.from_preset("shapes", dtype="flat16")


def test_a_gat_is_made_with_and_without_its_autoencoder(tiny_gat, tiny_gat_run, tmp_path):
    tiny_gat.generator.save(tmp_path / "latents.keras")
    tiny_gat.save(tmp_path / "whole.keras")
    latents, whole = tmp_path / "latents.keras", tmp_path / "whole.keras"
    made = [GatGenerator.from_preset(name) for name in (tiny_gat_run, latents, whole)]
    pairs = [(network, tiny_gat.generator) for network in made]
    whole_run, decoder = DecodedGenerator.from_preset(tiny_gat_run), tiny_gat.vae.decoder_only()
    pairs += [(whole_run.generator, tiny_gat.generator), (whole_run.vae, decoder)]
    for network, expected in pairs:
        for ours, theirs in zip(network.weights, expected.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)
    with pytest.raises(InputError, match="it generates latents; give --vae"):
        DecodedGenerator.from_preset(latents)
    with pytest.raises(
        InputError, match="it is a DecodedGenerator, not a Generator; DecodedGenera"
    ):
        Generator.from_preset(whole)


def test_what_was_pushed_opens_by_its_name_everywhere(copy, monkeypatch, tmp_path):
    """With the reference and the classifier by which commands measure it."""
    fake = FakeHub(copy, tmp_path / "local")
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    network, about = ladagan_tf.load("hf:me/mine")
    assert about["name"] == "shapes" and network.resolution == 32
    place, same = opening.locate("hf:me/mine")
    assert same == about and all((place / f).is_file() for f in (zoo.CLASSIFIER, zoo.REFERENCE))
    assert {repository for repository, _ in fake.asked} == {"me/mine"}


@pytest.mark.usefixtures("eagerly")
def test_the_functions_of_evaluation_run_as_its_page_shows_them(capsys):
    """With the smaller model, and fewer images."""
    page = (ROOT / "docs" / "evaluation.md").read_text()
    (snippet,) = re.findall(r"## From Python\n\n((?: {4}.*\n|\n)+)", page)
    text = snippet.replace("emoji64", "shapes").replace("count=256", "count=8")
    assert text.count("shapes") == 3 and text.count("count=8") == 2
    exec(textwrap.dedent(text), {})
    assert all(float(line) > 0 for line in capsys.readouterr().out.splitlines())


@pytest.mark.usefixtures("eagerly")
def test_training_from_python_runs_as_its_page_shows_it(tmp_path, monkeypatch, capsys):
    """One step of a batch of two, on a few shapes."""
    monkeypatch.chdir(tmp_path)
    prepare("shapes", "few", resolution=32, num_images=8)
    page = (ROOT / "docs" / "python.md").read_text()
    text = re.search(r"\n\n((?: {4}.*\n|\n)+)", page)[1]
    for shown, here in (
        ('open_dataset("shapes"', 'open_dataset("few"'),
        ("steps_per_epoch=400", "steps_per_epoch=1"),
        ("batch_size=16", "batch_size=2"),
        ("range(64), batch_size=64", "range(2), batch_size=2"),
    ):
        assert text.count(shown) == 1
        text = text.replace(shown, here)
    exec(textwrap.dedent(text), {})
    losses, images = capsys.readouterr().out.splitlines()[-2:]
    assert "d_loss" in losses and images.startswith("(2, 32, 32, 3)")


def test_every_command_that_takes_a_model_opens_it_by_the_same_code():
    """So that each takes what all take; their flag is `define_model`'s."""
    flag = {p.stem for p in ROOT.glob("ladagan_tf/flags/*.py") if "define_model(" in p.read_text()}
    flag.discard("common")
    through = {
        p.stem for p in ROOT.glob("ladagan_tf/flags/*.py") if "define_generator(" in p.read_text()
    }
    verbs = (flag | through) - {"common"}
    assert {"evaluate", "export", "generate", "project", "serve"} <= verbs
    for verb in verbs:
        text = (ROOT / "ladagan_tf" / f"{verb}.py").read_text()
        assert "common.open_generator(" in text or "open_model(FLAGS.model" in text, verb


def test_what_opens_of_a_folder_is_what_export_writes():
    assert set(opening.EXPORTED) <= {form.file for form in formats.FORMATS.values()}
