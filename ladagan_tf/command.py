"""The prologue and the end that all commands share.

A command's file parses its flags before it imports what computes: `--help` and a mistyped flag are
answered at once, and the worker processes that `prepare` starts import no TensorFlow.
"""

import os
import signal
import sys
import warnings

from absl import flags, logging

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError, held_stderr, one_line, one_line_errors, warn
from ladagan_tf.flags import help
from ladagan_tf.flags.common import read_flags, with_home
from ladagan_tf.stopping import Interrupt

BACKEND = "KERAS_BACKEND"
LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"  # TensorFlow's; who sets it sees what it says


def parse(verb, parser=read_flags):
    """Defines a command's flags and sets them from the command line.

    `--help` and `--model=zoo:` end here.

    Args:
        verb: module of `ladagan_tf.flags`.
        parser: function as `flags.common.read_flags`.
    """
    _end_quietly()
    fill_closed_streams()
    for stream in (sys.stdout, sys.stderr):  # a name that they cannot show ends no command
        stream.reconfigure(errors="backslashreplace")
    verb.define()
    ours = verb.__name__.startswith(f"{__package__}.")  # or a script of examples/
    called = f"ladagan {verb.__name__.rpartition('.')[2]}" if ours else f"python {sys.argv[0]}"
    with one_line_errors():
        if told := help.answer(verb, called, sys.argv, sys.modules["__main__"].__doc__):
            print(told, flush=True)
            raise SystemExit(0)
        refuse_arguments(parser(sys.argv)[1:])
    for line in overridden(sys.argv):
        warn(line)
    _choose_tensorflow()
    with one_line_errors(), Interrupt():
        _import_libraries()


def _end_quietly():
    """Ctrl-C ends the command in one line while it still imports, before `run` answers signals."""

    def end(number, frame):
        print(f"stopped by {signal.Signals(number).name}", file=sys.stderr)
        raise SystemExit(128 + number)

    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:  # else it is ignored
        signal.signal(signal.SIGINT, end)


def fill_closed_streams():
    """Standard streams that the caller closed lead nowhere from here on.

    Else the next file to be opened gets the number of one, and with it what TensorFlow logs there.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)  # of the lowest free number, which is its own
            os.set_inheritable(nowhere, True)
            setattr(sys, name, os.fdopen(nowhere, mode))


def refuse_arguments(rest):
    """Raises InputError if `rest`, a list of what is no flag, holds anything."""
    if rest:
        raise InputError(f"unexpected argument {rest[0]!r}; only --flags are accepted")


def overridden(argv):
    """What a flagfile took back of the flags before it, a line for each.

    Args:
        argv: list of str that was parsed, the program's name first.
    """
    lines, values, files = [], flags.FLAGS, flagfiles.given(argv)
    said = [_said(argv, i) for i in range(len(argv))]
    for i, (name, text) in enumerate(said):
        later = [file for file in files if file[0] > i]
        if not later or name not in values or name in dict(said[i + 1 :]):
            continue
        flag, (_, kind, file, _) = values[name], later[-1]
        if isinstance(flag, flags.MultiFlag):  # which a file adds to
            continue
        if flag.value != with_home(name, flag.parser.parse(text)):
            shown = ",".join(flag.value) if isinstance(flag.value, list) else flag.value
            lines.append(
                f"{argv[i]} has no effect: --{name}={shown} of --{kind}={file} comes "
                "later; give it behind the file"
            )
    return lines


def _said(argv, i):
    """(Name, text of its value) of the flag that a word of a command line is; or two empty texts.

    The value is behind `=`, in the next word, or in the name, as of --noema.
    """
    name, text = flagfiles.parts(argv[i])
    if not name or text is not None:
        return name, text or ""
    for begin, value in (("", "true"), ("no", "false")):
        positive = name.removeprefix(begin)
        if name.startswith(begin) and positive in flags.FLAGS and flags.FLAGS[positive].boolean:
            return positive, value
    return name, argv[i + 1] if i + 1 < len(argv) else ""


def _choose_tensorflow():
    """Keras under TensorFlow, whatever else it is told: only benchmarks/gpu_run.py runs under JAX.

    Warnings of Keras about NumPy are nothing that a user of a command can change.
    """
    asked = os.environ.get(BACKEND, "tensorflow")
    if asked != "tensorflow":
        warn(f"{BACKEND}={one_line(asked)} has no effect: commands run under tensorflow")
    os.environ[BACKEND] = "tensorflow"  # counts more than ~/.keras/keras.json
    os.environ["MPLBACKEND"] = "agg"  # that of a notebook that calls it may not be installed here
    os.environ["MATPLOTLIBRC"] = os.devnull  # a style of the user may need TeX
    warnings.filterwarnings("ignore", category=DeprecationWarning, module="keras")


def _import_libraries():
    """Imports TensorFlow without the lines that it writes before anybody can silence them.

    And Keras, with its own settings whatever ~/.keras/keras.json says, and Matplotlib, which raises
    an OSError where no folder takes files.
    """
    if os.environ.setdefault(LOG_LEVEL, "3") == "3":
        with held_stderr():
            import tensorflow  # noqa: F401
    import keras
    import matplotlib  # noqa: F401

    keras.config.set_floatx("float32")
    keras.config.set_image_data_format("channels_last")


def run(main):
    """Runs a command whose flags are set; an `InputError` is one line and its exit status.

    Signals that would end it at once unwind it first, so that nothing half-written stays.
    """
    logging.set_verbosity(logging.WARNING)  # TensorFlow's notes would cut through progress bars
    with one_line_errors(), Interrupt():
        main()
