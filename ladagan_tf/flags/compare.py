"""Flags of `python -m ladagan_tf.compare`."""

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.flags import common


def define():
    """Defines them."""
    flags.DEFINE_list(
        "runs",
        None,
        "Run directories, which may also be given without a flag: runs/a runs/b. Required.",
    )
    flags.DEFINE_string(
        "out",
        None,
        "Page to write or replace, ending in .html. By default compare.html; of a single run its "
        "own report.html, curves.png and timelapse.gif are written again.",
    )


def parse(argv):
    """Parses a command line whose words without a flag are runs.

    Args:
        argv: list of str, sys.argv.

    Returns:
        List of str, the program's name.

    Raises:
        InputError: see `common.read_flags`; or without any run.
    """
    program, *words = common.read_flags(argv)
    values = flags.FLAGS
    values.runs = [*(values.runs or []), *words]
    if not values.runs:
        raise InputError("runs: give one or more run directories, as runs/a runs/b")
    return [program]
