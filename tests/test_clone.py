"""A clone alone proves everything: its numbers are in it, and small; a skipped proof is noticed."""

import os
import pathlib
import subprocess
import sys

import pytest
from golden_sets import GOLDEN

TESTS = pathlib.Path(__file__).resolve().parent
HARDWARE = """
import pytest

def test_with_a_browser():
    pytest.skip("no Chromium: apt-get install chromium-headless-shell")

@pytest.mark.xfail
def test_that_is_known_to_fail():
    assert False

def test_without():
    pass
"""
UNNOTICED = """
import pytest

def test_with_numbers_kept_elsewhere():
    pytest.skip("the numbers are not here")
"""
NOT_COLLECTED = """
import pytest

pytest.importorskip("a_package_that_nobody_has")
"""


def test_recorded_numbers_take_at_most_twelve_megabytes():
    paths = [GOLDEN, *GOLDEN.rglob("*")]
    assert 5e6 < sum(path.stat().st_size for path in paths) <= 12e6


def test_no_link_in_the_recorded_numbers_leads_elsewhere():
    assert not [path for path in GOLDEN.rglob("*") if path.is_symlink()]


@pytest.fixture
def finish(tmp_path):
    """`finish(sources, *options)` runs files of tests under this project's conftest.py."""
    (tmp_path / "conftest.py").write_text((TESTS / "conftest.py").read_text())
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}

    def run(sources, *options):
        for i, source in enumerate(sources):
            (tmp_path / f"test_{i}.py").write_text(source)
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("workers", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_skipping_a_test_or_a_file_for_another_reason_fails_a_strict_run(finish, workers):
    done = finish([HARDWARE, UNNOTICED, NOT_COLLECTED], "--strict-skips", *workers)
    assert done.returncode == 1, done.stdout
    _, told = done.stdout.split("not for hardware, Chromium or npm")
    assert "test_1.py::test_with_numbers_kept_elsewhere: " in told
    assert "test_2.py: " in told and "a_package_that_nobody_has" in told
    assert "test_0.py" not in told


def test_skipping_for_hardware_or_chromium_does_not(finish):
    done = finish([HARDWARE], "--strict-skips")
    assert done.returncode == 0 and "1 skipped" in done.stdout, done.stdout


def test_only_a_strict_run_fails(finish):
    assert finish([HARDWARE, UNNOTICED]).returncode == 0
