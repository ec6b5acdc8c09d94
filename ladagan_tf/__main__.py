"""Every command by its name: `ladagan COMMAND --flag=value ...`, or `python -m ladagan_tf COMMAND`.

A command is a module of this package with flags in the module of that name in `ladagan_tf.flags`.
"""

import ast
import contextlib
import difflib
import pathlib
import re
import runpy
import sys

from ladagan_tf import __version__, extras
from ladagan_tf.errors import STATUSES, InputError, one_line_errors

PACKAGE = pathlib.Path(__file__).resolve().parent


def commands():
    """Dict from a command's name to its file, in the order of the names."""
    found = (PACKAGE / path.name for path in (PACKAGE / "flags").glob("[!_]*.py"))
    return {path.stem: path for path in sorted(found) if path.is_file()}


def overview():
    """Every command with a line, and what exit statuses mean: text."""
    lines = ["usage: ladagan COMMAND [--flag=value ...]", "", "commands:"]
    for name, path in commands().items():
        said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        lines.append(f"  {name:<18}{re.split(r'[:.]', said)[0]}")
    lines += ["", "ladagan COMMAND --help lists its flags, ladagan --version says which this is."]
    lines += ["", "exit status:", *(f"  {code:<6}{meaning}" for code, meaning in STATUSES.items())]
    return "\n".join(lines)


def main(words=None):
    """Runs the command that `words` begin with.

    Args:
        words: list of str, the command line without the program's name; None takes this process's.

    Raises:
        SystemExit: with the command's status; see `errors.STATUSES`.
    """
    name, *rest = words or sys.argv[1:] or ["--help"]
    if name == "help" and rest:
        name, rest = rest[0], ["--help"]
    with one_line_errors():
        if name in ("help", "-h", "-help", "--help"):
            return print(overview(), flush=True)
        if name in ("-version", "--version"):
            return print(f"ladagan_tf {__version__}", flush=True)
        name, known = name.replace("-", "_"), commands()
        if name not in known:
            similar = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {similar[0]}?" if similar else f"give one of {', '.join(known)}"
            raise InputError(f"{name}: there is no such command; {hint}")
    sys.argv = [f"ladagan {name}", *rest]
    with one_line_errors(), told_what_to_install():
        runpy.run_module(f"ladagan_tf.{name}", run_name="__main__", alter_sys=True)


@contextlib.contextmanager
def told_what_to_install():
    """Of a checkout whose packages were not installed as one line, in place of a traceback.

    Raises:
        InputError: if the block lacks a module of another package.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        listed = PACKAGE.parent / "requirements.txt"
        if (error.name or __package__).startswith(__package__) or not listed.is_file():
            raise
        raise InputError(
            f"{error}; what this needs is installed by: {extras.install_listed(listed)}"
        ) from None


if __name__ == "__main__":
    main()
