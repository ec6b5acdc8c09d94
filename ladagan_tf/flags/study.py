"""Flags of `python -m ladagan_tf.study`, which a study file holds."""

import itertools

from absl import flags

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError
from ladagan_tf.flags import common
from ladagan_tf.systems import refuse, refuse_without


def define():
    """Defines them."""
    flags.DEFINE_string(
        "study",
        None,
        "A study that ships, as studies/attention, or any file of the flags below; flags given "
        "beside it count more. Required, but with --cost.",
    )
    flags.DEFINE_string("title", "", "Heading of the table; the file's name by default.")
    flags.DEFINE_string(
        "base",
        None,
        "Config of train.py, or any flagfile, that all runs share. Required, but with --cost.",
    )
    flags.DEFINE_list("seeds", ["0", "1", "2"], "Seeds of every system.")
    flags.DEFINE_multi_string(
        "system",
        [],
        "NAME: --flag=value ..., a row of the table and what it adds to the flags of train.py; "
        "once for every system.",
    )
    flags.DEFINE_multi_string(
        "axis",
        [],
        "FLAG: value, value ..., a flag of train.py to vary in every system; may be given more "
        "than once. Semicolons separate values that have commas.",
    )
    flags.DEFINE_multi_string(
        "prepare",
        [],
        "Flags of prepare.py, of a set that runs read, as --prepare='--source=shapes "
        "--resolution=32 --corrupt=noise:0.3 --out=data/noise'; once for every set. Done before "
        "the runs; a set that is there is left.",
    )
    flags.DEFINE_list(
        "lr_scales",
        [],
        "A stress study: multiply --g_lr and --d_lr by each of these in ascending order, as "
        "1,2,4,8, until every seed of a system diverges; not done by default.",
    )
    flags.DEFINE_float(
        "diverged_factor",
        2.0,
        "With --lr_scales: a run whose first metric is worse by this factor than the best mean "
        "of its system so far has diverged, too.",
        lower_bound=1.0,
    )
    flags.DEFINE_string(
        "evaluate", "", "Flags of evaluate.py, which measures every run; none by default."
    )
    flags.DEFINE_string(
        "runs_dir", None, "Folder of the runs; runs/studies/<name of the file> by default."
    )
    flags.DEFINE_string(
        "out", None, "Folder of results.jsonl, table.md and figures; that of the runs by default."
    )
    flags.DEFINE_integer(
        "jobs",
        1,
        "Runs at once, which share the cores, after a first one that prepares what all read.",
        lower_bound=1,
    )
    flags.DEFINE_boolean("dry_run", False, "Print every run and how far it is, then exit.")
    flags.DEFINE_boolean(
        "cost",
        False,
        "Instead of a study: measure what a training step of each config costs on this machine, "
        "and keep the rows in hardware.md of --out, without it of docs/studies. A config that "
        "memory does not suffice for is estimated.",
    )
    flags.DEFINE_list(
        "configs",
        [],
        "With --cost: which, as quickstart,cifar10, or flagfiles; by default all that ship and are "
        "no base of others.",
    )
    flags.DEFINE_float(
        "cost_seconds",
        120.0,
        "With --cost: so long a config may take, starting included; above 0. What takes longer is "
        "estimated.",
        upper_bound=1e6,
    )


def parse(argv):
    """Parses a command line with the study file's flags before the others.

    Args:
        argv: list of str, sys.argv.

    Returns:
        List of str, what is no flag.
    """
    files = []
    for word, following in itertools.pairwise([*argv[1:], ""]):
        name, value = flagfiles.parts(word)
        if name == "study":
            file = flagfiles.find(following if value is None else value, "study")
            files.append(f"--flagfile={file}")
    return common.read_flags([argv[0], *files, *argv[1:]])


def check_asked():
    """Raises InputError for a flag that is missing, or that has no effect with what was asked."""
    values = flags.FLAGS
    if not values.cost:
        for name in ("study", "base"):
            if values[name].value is None:
                words = values[name].help.partition(".")[0]
                raise InputError(f"--{name} is required: {words}")
    of_cost = {"configs", "cost_seconds"}
    others = {
        "study", "base", "system", "axis", "prepare", "seeds", "runs_dir", "jobs", "dry_run",
        "lr_scales", "evaluate", "title", "diverged_factor",
    }  # fmt: skip
    if values.cost:
        refuse(sorted(others), "not with --cost")
    else:
        refuse(sorted(of_cost), "it needs --cost")
    refuse_without("diverged_factor", values.lr_scales, "--lr_scales")
    if not values.cost_seconds > 0:
        raise InputError(f"--cost_seconds={values.cost_seconds:g}: it must be greater than 0")
