"""Options and the one place that knows where recorded fixtures and sample data live."""

import pathlib

import pytest

SHARED = pathlib.Path(__file__).resolve().parents[2] / "shared"


def pytest_addoption(parser):
    # Not `--fixtures`: pytest has a flag of that name, which takes no value and cannot be replaced.
    parser.addoption("--fixtures-dir", default=None, help="folder of recorded parity arrays")


@pytest.fixture(scope="session")
def shared():
    """`shared("fixtures/ladagan")` is a path beside the project, or the test is skipped."""

    def find(relative):
        path = SHARED / relative
        if not path.exists():
            pytest.skip(f"{path} is not here: this test reads data kept beside the project")
        return path

    return find


@pytest.fixture(scope="session")
def fixtures_dir(request, shared):
    """Folder of LadaGAN parity arrays: `--fixtures-dir=DIR`, else the recorded set."""
    option = request.config.getoption("--fixtures-dir")
    return pathlib.Path(option) if option else shared("fixtures/ladagan")


@pytest.fixture(scope="session")
def oracle_dir(request, shared):
    """Folder of the numerical oracle: `--fixtures-dir=DIR`, else the recorded set."""
    option = request.config.getoption("--fixtures-dir")
    return pathlib.Path(option) if option else shared("fixtures/oracle")


@pytest.fixture(scope="session")
def tiny_gat():
    """`DecodedGenerator` of `tiny_gat.make_network`."""
    from tiny_gat import make_network  # not above: some tests need no TensorFlow

    return make_network()


@pytest.fixture(scope="session")
def tiny_gat_run(tiny_gat, tmp_path_factory):
    """The path of a run of `tiny_gat`, see `tiny_gat.make_run`."""
    from tiny_gat import make_run

    return make_run(tmp_path_factory.mktemp("gat") / "run", tiny_gat)
