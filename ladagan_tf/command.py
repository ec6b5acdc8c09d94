"""The prologue and the end that all commands share.

A command's file parses its flags before it imports what computes: `--help` and a mistyped flag are
answered at once, and the worker processes that `prepare` starts import no TensorFlow.
"""

import sys

from absl import app, flags, logging

from ladagan_tf.errors import InputError, one_line_errors


def define(verb):
    """Defines the flags of `verb`, a module of `ladagan_tf.flags`, as those that --help shows."""
    verb.define()
    for flag in flags.FLAGS.get_key_flags_for_module(verb):
        flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)


def parse(verb, parser=app.parse_flags_with_usage):
    """Defines a command's flags and sets them from the command line; `--help` ends here.

    Args:
        verb: module of `ladagan_tf.flags`.
        parser: function from sys.argv to what is no flag, the program's name first.
    """
    define(verb)
    app.define_help_flags()
    with one_line_errors():
        refuse_arguments(parser(sys.argv)[1:])


def refuse_arguments(rest):
    """Raises InputError if `rest`, a list of what is no flag, holds anything."""
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}; only --flags are accepted")


def run(main):
    """Runs a command whose flags are set; an `InputError` is one line and its exit status."""
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes would cut through progress bars
    with one_line_errors():
        main()
