"""Type hints: what a Python user calls has them, they resolve, and stubs name what is offered."""

import ast
import importlib
import inspect
import pathlib
import pkgutil
import typing

import pytest

import ladagan_tf
from ladagan_tf import evaluation, sampling
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.transfer import as_conditional

TYPED = [
    *(f"ladagan_tf.sampling.{found.name}" for found in pkgutil.iter_modules(sampling.__path__)),
    *(f"ladagan_tf.evaluation.{name}" for name in (
        "comparing", "features", "frechet", "images", "metrics", "protocol",
    )),
]  # fmt: skip


def functions(module):
    """The public functions that a module defines."""
    for name, found in inspect.getmembers(importlib.import_module(module), inspect.isfunction):
        if not name.startswith("_") and found.__module__ == module:
            yield found


def unhinted(function):
    """Parameters without a hint, "return" among them; hints that name nothing raise NameError."""
    hints, named = typing.get_type_hints(function), inspect.signature(function).parameters.values()
    plain = [p.name for p in named if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {*plain, "return"} - {*hints, "self"}


@pytest.mark.parametrize("module", TYPED)
def test_every_public_function_has_hints_that_resolve(module):
    found = list(functions(module))
    assert found and not {f.__name__: missing for f in found if (missing := unhinted(f))}


def test_generators_have_hints():
    for network in (Generator, GatGenerator, DecodedGenerator):
        assert not unhinted(network.from_preset)
    for network in (Generator, GatGenerator):
        assert unhinted(network.__init__) == {"return"}
    assert not unhinted(as_conditional)


@pytest.mark.parametrize("package", [ladagan_tf, evaluation])
def test_a_stub_names_what_a_package_offers_and_where_it_is(package):
    """Type checkers do not see what is imported at its first use."""
    stub = pathlib.Path(package.__file__).with_suffix(".pyi")
    named = {
        alias.asname: node.module
        for node in ast.walk(ast.parse(stub.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert named == package._OFFERED
    for name, module in named.items():
        assert getattr(package, name).__module__ == module
