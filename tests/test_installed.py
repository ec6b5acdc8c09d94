"""What is installed is whole: the wheel alone, in an empty folder, has every command and config."""

import os
import pathlib
import shutil
import subprocess
import sys
import tomllib

import pytest

from ladagan_tf import flagfiles
from ladagan_tf.__main__ import commands
from ladagan_tf.extras import EXTRAS

ROOT = pathlib.Path(__file__).resolve().parents[1]
BUILD = "import setuptools.build_meta as b, sys; print(b.build_wheel(sys.argv[1]))"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_install_hints_are_the_project_s_optional_dependencies():
    declared = {
        name: tuple(packages) for name, packages in PROJECT["optional-dependencies"].items()
    }
    assert declared.pop("dev") and declared == EXTRAS


def test_no_hint_names_packages_in_another_way():
    """Without a bound, or as an extra of a name that no index knows."""
    sources = {path: path.read_text() for path in (ROOT / "ladagan_tf").rglob("*.py")}
    hints = [p.name for p, text in sources.items() if "pip install" in text]
    assert hints == ["extras.py"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, unpacked by pip into a folder; the other packages are those of the tests."""
    place = tmp_path_factory.mktemp("installed")
    source = place / "source"  # a copy: building leaves files
    shutil.copytree(ROOT / "ladagan_tf", source / "ladagan_tf")
    for name in ("pyproject.toml", "requirements.txt", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    done = subprocess.run(
        [sys.executable, "-c", BUILD, str(place)], cwd=source, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    wheel = place / done.stdout.splitlines()[-1]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*pip, f"--target={place / 'site'}", str(wheel)], check=True)
    return place / "site"


@pytest.fixture
def run(installed, tmp_path):
    """`run(*words)`: what `ladagan` prints in an empty folder; its status is 0."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    environment.pop("TF_CPP_MIN_LOG_LEVEL", None)  # JAX sets it where another test imported it

    def ladagan(*words):
        done = subprocess.run(
            [installed / "bin" / "ladagan", *words],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0 and done.stderr == "", done.stderr
        assert not list(tmp_path.iterdir())
        return done.stdout

    return ladagan


@pytest.mark.slow
def test_the_wheel_has_every_module_and_every_config(installed):
    def files(package):
        found = [*package.rglob("*.py"), *(package / "configs").glob("**/*.cfg")]
        found += [package / "py.typed", *package.rglob("*.pyi")]  # for type checkers
        assert (package / "py.typed").is_file()
        return {str(path.relative_to(package)) for path in found}

    assert files(installed / "ladagan_tf") == files(ROOT / "ladagan_tf")


@pytest.mark.slow
def test_the_installed_program_knows_its_commands_and_configs_anywhere(run):
    assert set(commands()) <= set(run().split())
    assert run("--version") == f"ladagan_tf {PROJECT['version']}\n"
    listed = [line.split()[0] for line in run("train", "--config=list").splitlines()]
    assert listed == flagfiles.names()
    told = run("train", "--config=quickstart", "--dry_run")
    assert "--dataset=shapes" in told and "generator: 813,807 parameters" in told
