"""The prologue and the end that all commands share.

A command's file parses its flags before it imports what computes: `--help` and a mistyped flag are
answered at once, and the worker processes that `prepare` starts import no TensorFlow.
"""

import contextlib
import os
import sys
import tempfile

from absl import app, flags, logging

from ladagan_tf import zoo
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.flags.common import asks_for_the_zoo, flagfiles, read_flags, with_home

LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's; who sets it sees what it says


def define(verb):
    """Defines the flags of `verb`, a module of `ladagan_tf.flags`, as those that --help shows."""
    verb.define()
    for flag in flags.FLAGS.get_key_flags_for_module(verb):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def parse(verb, parser=read_flags):
    """Defines a command's flags and sets them from the command line.

    `--help` and `--model=zoo:` end here.

    Args:
        verb: module of `ladagan_tf.flags`.
        parser: function as `flags.common.read_flags`.
    """
    for stream in (sys.stdout, sys.stderr):  # a name that they cannot show ends no command
        stream.reconfigure(errors="backslashreplace")
    define(verb)
    app.define_help_flags()
    if "model" in flags.FLAGS and asks_for_the_zoo(sys.argv):
        print(zoo.listing())
        raise SystemExit
    with one_line_errors():
        refuse_arguments(parser(sys.argv)[1:])
    for line in overridden(sys.argv):
        print(f"warning: {line}", file=sys.stderr)
    _import_tensorflow()


def refuse_arguments(rest):
    """Raises InputError if `rest`, a list of what is no flag, holds anything."""
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}; only --flags are accepted")


def overridden(argv):
    """What a flagfile took back of the flags before it, a line for each.

    Args:
        argv: list of str that was parsed, the program's name first.
    """
    lines, values = [], flags.FLAGS
    names = [word.lstrip("-").partition("=")[0] if word[:1] == "-" else "" for word in argv]
    for i, name in enumerate(names):
        _, equals, text = argv[i].partition("=")
        files = flagfiles([argv[0], *argv[i + 1 :]])
        if not equals or not files or name not in values or name in names[i + 1 :]:
            continue
        flag = values[name]
        if not isinstance(flag.value, list) and flag.value != with_home(
            name, flag.parser.parse(text)
        ):
            lines.append(
                f"{argv[i]} has no effect: --{name}={flag.value} of --flagfile={files[-1]} comes "
                "later; give it behind the file"
            )
    return lines


def _import_tensorflow():
    """Imports TensorFlow without the lines that it writes before anybody can silence them."""
    if LOG_LEVEL in os.environ:
        return
    os.environ[LOG_LEVEL] = "3"
    with _held_stderr():
        import tensorflow  # noqa: F401


@contextlib.contextmanager
def _held_stderr():
    """Keeps what libraries write to the file of standard error; shown only if the block fails."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 2)
        try:
            yield
        except BaseException:
            said.seek(0)
            os.write(kept, said.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def run(main):
    """Runs a command whose flags are set; an `InputError` is one line and its exit status."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes would cut through progress bars
    with one_line_errors():
        main()
