"""What lies around the code: the image, the cluster's script, templates, what git leaves out.

`python tests/test_around.py https://github.com/NAME/ladagan_tf` writes the repository's address
wherever it stands.
"""

import os
import pathlib
import re
import subprocess
import sys
import sysconfig
import tomllib

import pytest
import yaml

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
SLURM = ROOT / "examples" / "train.slurm"
# Files that say where the project is published, as a page or as what Colab opens.
ADDRESSED = ("pyproject.toml", "README.md", "CITATION.cff", "notebooks/1_models.ipynb")
ADDRESS = re.compile(r"(?<=//github\.com/)[\w.-]+/ladagan_tf|(?<=\.com/github/)[\w.-]+/ladagan_tf")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
TEMPLATES = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("[!c]*.yml"))


def test_the_dockerfile_has_nothing_that_its_linter_minds():
    linter = pathlib.Path(sysconfig.get_path("scripts")) / "hadolint"
    done = subprocess.run([linter, ROOT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_of_one_python_keeps_no_cache_and_runs_as_nobody_special():
    """Of a version that pyproject.toml allows, and of files that .dockerignore lets through."""
    assert re.search(r"^FROM python:3\.11\.\d+-slim-\w+$", DOCKERFILE, re.M)
    installs = re.findall(r"pip install.*", DOCKERFILE)
    assert installs and all("--no-cache-dir" in line for line in installs)
    assert (
        re.findall(r"^USER (\d+)$", DOCKERFILE, re.M)[-1]
        == re.search(r"--uid (\d+)", DOCKERFILE)[1]
    )
    copied = {
        word for line in re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M) for word in line.split()
    }
    let_through = re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.M)
    assert copied == set(let_through) and all((ROOT / name).exists() for name in copied)


def test_the_image_has_every_file_that_the_package_is_built_of():
    copied = re.findall(r"^COPY (.*) \S+$", DOCKERFILE, re.M)
    words = {word for line in copied for word in line.split()}
    assert {"pyproject.toml", PROJECT["readme"], "LICENSE", "requirements.txt"} <= words
    assert {os.readlink(ROOT / "ladagan_tf" / "configs")} == {"../configs"} and "configs" in words
    extras = re.search(r"^ARG EXTRAS=(.*)$", DOCKERFILE, re.M)[1].split(",")
    extras += re.search(r"--build-arg EXTRAS=(\S+)", DOCKERFILE)[1].split(",")
    assert set(extras) <= PROJECT["optional-dependencies"].keys()
    assert re.search(r'^ENTRYPOINT \["(\w+)"\]$', DOCKERFILE, re.M)[1] in PROJECT["scripts"]


def test_all_files_agree_on_where_the_project_is_published():
    published = ADDRESS.findall(PROJECT["urls"]["Repository"])
    assert len(published) == 1
    for name in ADDRESSED:
        assert set(ADDRESS.findall((ROOT / name).read_text())) == set(published), name


def publish(address):
    """Writes the repository's address, https://github.com/NAME/ladagan_tf, wherever it stands."""
    (found,) = ADDRESS.findall(address)
    for name in ADDRESSED:
        text = (ROOT / name).read_text()
        (ROOT / name).write_text(ADDRESS.sub(found, text))


@pytest.fixture
def slurm(tmp_path):
    """`slurm(status)`: (status, what was run, what was asked of scontrol) of a job of two tasks."""
    programs = {
        "srun": 'for i in 0 1; do SLURM_PROCID=$i "$@"; status=$?; done; exit $status',
        "scontrol": 'echo "$@" >> asked',
        "ladagan": 'echo "$SLURM_PROCID $*" >> ran; exit $STATUS',
    }
    for name, script in programs.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{script}\n")
        (tmp_path / name).chmod(0o755)

    def run(status, *words):
        environment = {
            **os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}", "STATUS": str(status),
            "SLURM_JOB_ID": "7",
        }  # fmt: skip
        done = subprocess.run(["bash", SLURM, *words], cwd=tmp_path, env=environment)
        asked = tmp_path / "asked"
        lines = (tmp_path / "ran").read_text().splitlines()
        return done.returncode, lines, asked.read_text() if asked.exists() else ""

    return run


def test_every_task_of_a_cluster_s_job_gets_all_flags(slurm):
    """Who the others are it reads of Slurm's variables: tests/test_slurm.py."""
    status, ran, asked = slurm(0, "--config=cifar10", "--run_dir=a b")
    assert (status, asked) == (0, "")
    words = "train --strategy=multiworker --config=cifar10 --run_dir=a b"
    assert ran == [f"0 {words}", f"1 {words}"]


@pytest.mark.parametrize(("status", "asked"), [(4, "requeue 7\n"), (2, ""), (3, "")])
def test_a_job_that_was_stopped_queues_again_and_one_that_failed_does_not(slurm, status, asked):
    assert slurm(status)[::2] == (status, asked)


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: path.stem)
def test_issue_templates_ask_in_the_form_that_github_reads(path):
    form = yaml.safe_load(path.read_text())
    assert form.keys() == {"name", "description", "labels", "body"}
    ids = [part["id"] for part in form["body"]]
    assert len(ids) == len(set(ids)) and all(part["attributes"]["label"] for part in form["body"])
    assert any(part.get("validations", {}).get("required") for part in form["body"])


def test_git_leaves_out_what_the_pages_commands_write():
    pages = [ROOT / "README.md", *ROOT.glob("docs/*.md")]
    given = {
        word
        for page in pages
        for word in re.findall(r"--(?:out|run_dir)=([^ `)\n]+)", page.read_text())
    }
    given -= {
        word for word in given if word.startswith(("/", "docs/", "ladagan_tf/", "benchmarks/"))
    }
    written = {
        *given,
        "metrics.jsonl",
        "emoji-datasource-google-16.0.0.tgz",
        "build/docs",
        "dist/a.whl",
    }
    names = "\n".join(sorted(written))
    done = subprocess.run(
        ["git", "check-ignore", "--no-index", "--stdin"],
        cwd=ROOT, input=names, capture_output=True, text=True,
    )  # fmt: skip
    assert set(done.stdout.splitlines()) == written
    tracked = subprocess.run(
        ["git", "ls-files", "-ci", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert tracked.stdout == ""


if __name__ == "__main__":
    publish(sys.argv[1])
