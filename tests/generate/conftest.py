"""Saved models, and `ladagan_tf.generate` called in this process."""

import functools

import pytest
from in_process import command, error_line
from tiny_models import Coloured, tiny

from ladagan_tf import generate
from ladagan_tf.flags import generate as generate_flags
from ladagan_tf.sampling import opening
from ladagan_tf.sampling.sampler import of_network


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """Calls share what they read: to build a network takes longer than to draw with it."""
    read = functools.cache(opening.open_run)

    def open_run(*which, vae, average, **how):
        source = read(*which, vae=vae, average=average)
        return of_network(source.network, source.about, **how)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "_load_keras", functools.cache(opening._load_keras))
        patch.setattr(opening, "open_run", open_run)
        yield


@pytest.fixture(scope="session")
def network():
    return tiny(0)


@pytest.fixture(scope="session")
def model(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "tiny.keras"
    network.save(path)
    return path


@pytest.fixture(scope="session")
def conditional(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "coloured.keras"
    Coloured().save(path)
    return path


@pytest.fixture
def main():
    """The entry point in this process."""
    with command(generate, generate_flags.define) as call:
        yield call


@pytest.fixture
def failing(main, capsys):
    """The one line of a call that must fail."""
    return lambda *arguments: error_line(main, arguments, capsys)
