"""Commands in this process, which save the import of TensorFlow."""

import contextlib
import importlib.util
import io
import pathlib
import sys
import unittest.mock

import pytest
from absl import flags

from ladagan_tf.command import refuse_arguments, run
from ladagan_tf.errors import one_line_errors
from ladagan_tf.flags.common import read_flags


def benchmark(name):
    """The script of benchmarks/ as a module, without the folder among those of all tests."""
    path = pathlib.Path(__file__).resolve().parents[1] / "benchmarks" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"benchmark_{name}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@contextlib.contextmanager
def command(module, define, parser=read_flags):
    """`call(*arguments)` runs `module.main`, with fresh flags that are gone afterwards."""
    values = flags.FLAGS
    others = set(values)
    define()

    def call(*arguments):
        values.unparse_flags()
        for name in set(values) - others:
            values[name].unparse()
        argv = [module.__name__, *map(str, arguments)]
        with unittest.mock.patch.object(sys, "argv", argv):
            with one_line_errors():
                refuse_arguments(parser(argv)[1:])
            run(module.main)

    try:
        yield call
    finally:
        for name in set(values) - others:
            delattr(values, name)


def error_line(call, arguments, capsys):
    """The one line of a call that must fail."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        call(*arguments)
    lines = capsys.readouterr().err.splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


def outcome(call, arguments):
    """(exit status, standard output, standard error) of a call."""
    out, error, status = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        try:
            call(*arguments)
        except SystemExit as stop:
            status = stop.code
    return status, out.getvalue(), error.getvalue()
