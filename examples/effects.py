"""By what factor does each flag of a study change a metric, the others held fixed?

    python examples/effects.py --study=docs/studies/architecture --metric=fcd

Of results.jsonl in that folder. The first system is the base; what others differ from it in, each
flag with each value, is a factor that a run has or has not. The logarithm of the metric is fitted
by least squares as a sum of the base's and of one number for each factor: printed are e to the
power of these, with e to the power of two standard errors less and more, about 95 %. Factors that
work together otherwise than alone are not in this model; the last line tells how much it leaves.
"""

import math
import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf import command
from ladagan_tf.errors import InputError

FLAGS = flags.FLAGS


def define():
    """Defines the flags."""
    flags.DEFINE_string("study", None, "Folder of results.jsonl. Required.", required=True)
    flags.DEFINE_string("metric", "fcd", "Which, of those measured; it must be above 0.")


def main():
    """Prints the table."""
    from ladagan_tf.studies.outcome import read_results

    rows = [row for row in read_results(pathlib.Path(FLAGS.study)) if row["metrics"]]
    if not rows or not all(row["metrics"].get(FLAGS.metric, 0) > 0 for row in rows):
        measured = ", ".join(sorted({name for row in rows for name in row["metrics"]}))
        raise InputError(
            f"metric={FLAGS.metric}: it must be measured, and above 0, in every run of "
            f"{FLAGS.study}, which has {measured or 'none'}"
        )
    has = factors(rows)
    found, spread = effects(rows, has, FLAGS.metric)
    print(f"| factor | runs | {FLAGS.metric} times | from | to |\n| --- | --- | --- | --- | --- |")
    for name, members in has.items():
        numbers = (f"{math.exp(x):.2f}" for x in found[name])
        print(f"| `{name}` | {sum(members)} | {' | '.join(numbers)} |")
    print(f"\nWhat is left differs by a factor of {math.exp(spread):.2f}, one standard deviation.")


def factors(rows):
    """Dict from a flag with its value to whether each row has it, in the order they come.

    Flags that always come together are one factor.

    Args:
        rows: list of dicts of results.jsonl; the first row's system is the base.
    """
    meant = [_meaning(row["arguments"]["train"]) for row in rows]
    found = {}
    for flag, value in dict.fromkeys(pair for given in meant for pair in given.items()):
        if meant[0].get(flag) != value:
            members = tuple(given.get(flag) == value for given in meant)
            found.setdefault(members, []).append(f"--{flag}={value}")
    return {" ".join(names): members for members, names in found.items()}


def _meaning(arguments):
    pairs = (argument.removeprefix("--").partition("=") for argument in arguments)
    return {flag: value for flag, _, value in pairs if flag != "seed"}


def effects(rows, has, metric):
    """Least squares of the logarithm of a metric.

    Args:
        rows: as `factors`.
        has: what that returned.
        metric: str.

    Returns:
        Dict from factor to (effect, two standard errors below it, two above it), of the logarithm;
        and the residuals' standard deviation.

    Raises:
        InputError: if there are too few runs to tell the factors apart.
    """
    design = np.column_stack([np.ones(len(rows)), *has.values()]).astype(float)
    free = len(rows) - design.shape[1]
    if free < 1 or np.linalg.matrix_rank(design) < design.shape[1]:
        raise InputError(f"{len(rows)} runs do not tell {len(has)} factors apart")
    values = np.log([row["metrics"][metric] for row in rows])
    fitted = np.linalg.lstsq(design, values, rcond=None)[0]
    variance = np.square(values - design @ fitted).sum() / free
    errors = np.sqrt(variance * np.diag(np.linalg.inv(design.T @ design)))
    found = zip(has, fitted[1:], errors[1:], strict=True)
    return {n: (x, x - 2 * error, x + 2 * error) for n, x, error in found}, math.sqrt(variance)


if __name__ == "__main__":
    command.parse(sys.modules[__name__])
    command.run(main)
