"""Every notebook runs from top to bottom, and is committed without outputs or local paths."""

import os
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
EVERY_NOTEBOOK = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)

nbformat = pytest.importorskip("nbformat")


def code_cells(path):
    return [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]


@EVERY_NOTEBOOK
def test_notebook_is_committed_without_outputs(path):
    cells = code_cells(path)
    assert cells and all(not c.outputs and c.execution_count is None for c in cells)


@EVERY_NOTEBOOK
def test_notebook_has_no_absolute_paths(path):
    assert not re.search(r"[\"'](/|~/|[A-Z]:\\)\w", "\n".join(c.source for c in code_cells(path)))


@pytest.mark.slow
@EVERY_NOTEBOOK
def test_notebook_runs(path, monkeypatch, tmp_path):
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    # The kernel finds the package here even if it is not installed.
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(notebook, timeout=600, resources=resources).execute()
