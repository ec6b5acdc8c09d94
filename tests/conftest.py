"""Options, and the recorded sets as fixtures."""

import golden_sets
import pytest


def pytest_addoption(parser):
    # Not `--fixtures`: pytest has a flag of that name, which takes no value and cannot be replaced.
    parser.addoption("--fixtures-dir", default=None, help="folder of another recorded set")


@pytest.fixture(scope="session")
def fixtures_dir(pytestconfig):
    """Folder of LadaGAN's recorded arrays: `--fixtures-dir=DIR`, else tests/golden/ladagan."""
    return golden_sets.find(pytestconfig, "ladagan")


@pytest.fixture(scope="session")
def gat_dir(pytestconfig):
    """Folder of GAT's recorded arrays: `--fixtures-dir=DIR`, else tests/golden/gat."""
    return golden_sets.find(pytestconfig, "gat")


@pytest.fixture(scope="session")
def oracle_dir(pytestconfig):
    """Folder of the numerical oracle: `--fixtures-dir=DIR`, else tests/golden/oracle."""
    return golden_sets.find(pytestconfig, "oracle")


@pytest.fixture(scope="session")
def gat_checkpoint(tmp_path_factory):
    """An official training checkpoint of GAT, with the weights of tests/golden/gat."""
    path = tmp_path_factory.mktemp("official") / "latest.pt"
    golden_sets.fill_checkpoint(path)
    return path


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
