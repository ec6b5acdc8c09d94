"""Every notebook runs from top to bottom, with and without a trained run beside it.

Those of samples and results are committed with the pictures of a trained run.
"""

import base64
import dataclasses
import json
import os
import pathlib
import re
import subprocess
import sys
import types

import pytest
from paper_sizes import zero_weights

from ladagan_tf.models.gat import sizes as gat
from ladagan_tf.models.lada import sizes as lada
from ladagan_tf.models.lada.generator import Generator

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
MAX_BYTES = 600_000
ELSEWHERE = re.compile(r"/(?:work|root|home|tmp|Users)/\w")  # as they are written on this machine
STANDS_IN = ("UNTRAINED", "SYNTHETIC")  # what is printed where there is no trained run

nbformat = pytest.importorskip("nbformat")


def code_cells(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


def printed(cells):
    return "".join(o.text for c in cells for o in c.outputs if o.get("name") == "stdout")


def pictures(cells):
    kinds = [kind for c in cells for o in c.outputs for kind in o.get("data", {})]
    return sum(kind.startswith("image/") for kind in kinds)


def execute_in_kernel(path, monkeypatch, folder):
    """Runs a notebook in an empty folder, without runs; returns its code cells."""
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # The kernel finds the package here even if it is not installed.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = nbformat.read(path, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = []
    resources = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
    return [c for c in notebook.cells if c.cell_type == "code"]


def execute(path, monkeypatch, folder):
    """As `execute_in_kernel`, in this process, which saves a start and an import of TensorFlow."""
    interactiveshell = pytest.importorskip("IPython.core.interactiveshell")
    from IPython.utils.capture import capture_output

    monkeypatch.chdir(folder)
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])  # the shell replaces it
    cells = code_cells(path)
    shell = interactiveshell.InteractiveShell.instance()
    try:
        for cell in cells:
            with capture_output() as captured:
                result = shell.run_cell(cell.source)
            result.raise_error()
            shown = [output.data for output in captured.outputs]
            if result.result is not None:  # of the last line
                shown.append(as_sent(shell.display_formatter.format(result.result)[0]))
            cell.outputs = [
                nbformat.v4.new_output("stream", name="stdout", text=captured.stdout),
                *(nbformat.v4.new_output("display_data", data) for data in shown),
            ]
    finally:
        shell.reset()
        interactiveshell.InteractiveShell.clear_instance()
    return cells


def as_sent(data):
    """What a kernel sends of an output's data: pictures as text."""
    return {
        kind: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for kind, value in data.items()
    }


def notebook(start):
    return next(path for path in NOTEBOOKS if path.name.startswith(start))


def test_there_are_notebooks_of_models_samples_and_results():
    names = ["1_models", "2_samples", "3_results", "4_training"]
    assert [path.stem for path in NOTEBOOKS] == names


@EVERY_NOTEBOOK
def test_notebook_is_committed_without_errors_or_warnings(path):
    outputs = [o for c in code_cells(path) for o in c.outputs]
    assert all(o.output_type != "error" and o.get("name") != "stderr" for o in outputs)
    assert path.stat().st_size < MAX_BYTES


@EVERY_NOTEBOOK
def test_notebook_is_committed_unexecuted_or_executed_once_from_top_to_bottom(path):
    counts = [c.execution_count for c in code_cells(path)]
    assert counts in ([None] * len(counts), list(range(1, len(counts) + 1)))


@EVERY_NOTEBOOK
def test_notebook_has_no_absolute_paths(path):
    cells = code_cells(path)
    assert not re.search(r"[\"'](/|~/|[A-Z]:\\)\w", "\n".join(c.source for c in cells))
    texts = [o.get("text", "") for c in cells for o in c.outputs]
    texts += [
        text
        for c in cells
        for o in c.outputs
        for kind, text in o.get("data", {}).items()
        if kind.startswith("text/")
    ]
    assert not ELSEWHERE.search("\n".join(texts))


@pytest.mark.parametrize("start", ["2_", "3_"])
def test_notebook_is_committed_with_pictures_of_a_trained_run(start):
    cells = code_cells(notebook(start))
    assert pictures(cells) >= 3
    assert not any(word in printed(cells) for word in STANDS_IN)


def test_the_first_notebook_opens_and_installs_itself_on_colab(monkeypatch):
    """From the repository that its badge opens it of; elsewhere its first cell does nothing."""
    first = nbformat.read(notebook("1_"), as_version=4).cells
    setup = next(cell.source for cell in first if cell.cell_type == "code")
    installed = []
    monkeypatch.setattr(subprocess, "run", lambda words, check: installed.append(words))
    exec(setup, {})
    assert installed == []
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    exec(setup, {})
    ((*command, what),) = installed
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    (badge,) = re.findall(r"\]\((https://[^()\s]+ipynb)\)", first[0].source, re.M)
    repository = what.removeprefix("git+https://github.com/")
    path = f"/github/{repository}/blob/main/notebooks/1_models.ipynb"
    assert badge == f"https://colab.research.google.com{path}"


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
@EVERY_NOTEBOOK
def test_notebook_runs_where_nothing_was_trained_and_says_so(path, monkeypatch, tmp_path):
    for name in ("LADAGAN_RUN", "LADAGAN_RUNS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LADAGAN_STEPS", "1")  # of training
    # The first notebook's tables have fewer rows, and its GAT fewer blocks.
    monkeypatch.setattr(lada, "PRESETS", {n: lada.PRESETS[n] for n in ("cifar10_32", "ffhq_256")})
    monkeypatch.setitem(gat.SIZES, "S", dataclasses.replace(gat.SIZES["S"], depth=4))
    # One by a real kernel, as it is done in a browser.
    run = execute_in_kernel if path == notebook("3_") else execute
    with zero_weights():  # of the first notebook's tables of sizes
        cells = run(path, monkeypatch, tmp_path)
    if path == notebook("4_"):
        assert "step    1: D " in printed(cells) and "2 batches" in printed(cells)
    if path.name[0] in "23":
        assert any(word in printed(cells) for word in STANDS_IN)
        assert pictures(cells) >= 2


@pytest.mark.slow
@pytest.mark.usefixtures("eagerly")
def test_samples_are_of_the_model_that_is_given(monkeypatch, tmp_path):
    Generator(noise_dim=8, widths=(16, 16, 16), mlp_widths=(8, 8, 8)).save(tmp_path / "g.keras")
    monkeypatch.setenv("LADAGAN_RUN", "g.keras")
    cells = execute(notebook("2_"), monkeypatch, tmp_path)
    assert "g.keras is there" in printed(cells) and "UNTRAINED" not in printed(cells)


@pytest.mark.slow
def test_results_are_of_the_runs_that_are_given(monkeypatch, tmp_path):
    lines = [{"step": 1, "kimg": 1.0, "d_loss": 1.0, "img_per_s": 5.0}]
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (tmp_path / name / "stats.jsonl").write_text(text + '{"step": 2, "ki')  # still going on
    monkeypatch.setenv("LADAGAN_RUNS", "one,two,three")
    cells = execute(notebook("3_"), monkeypatch, tmp_path)
    assert "There is no three" in printed(cells) and "SYNTHETIC" not in printed(cells)
    assert "| two | 1 | 5 |" in "".join(
        o.data.get("text/markdown", "") for c in cells for o in c.outputs if "data" in o
    )
