"""Compares systems by runs of several seeds: `ladagan study --study=studies/attention`.

Trains and measures every system with several seeds, each run in a directory of its own, and writes
results.jsonl, table.md and figures. The same command again continues where it stopped.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import study as study_flags

if __name__ == "__main__":
    command.parse(study_flags, study_flags.parse)  # before TensorFlow is imported

import contextlib
import pathlib
import sys

import tensorflow as tf

from ladagan_tf.errors import InputError, StoppedError
from ladagan_tf.locks import locked
from ladagan_tf.studies import plan, report, running
from ladagan_tf.systems import integers

FLAGS = flags.FLAGS


def main():
    """Runs, measures and reports the study of the flags, or says how far it is."""
    study = make_study()
    folder = pathlib.Path(FLAGS.runs_dir or pathlib.Path("runs/studies") / study.name)
    if FLAGS.dry_run:
        describe(study, folder)
        return
    out = pathlib.Path(FLAGS.out or folder)
    apart = out.resolve() != folder.resolve()
    with (
        locked(folder, "runs_dir", inside=True),
        locked(out, inside=True) if apart else contextlib.nullcontext(),
    ):
        runner = running.Runner(study, folder, running.Programs(), FLAGS.jobs, say)
        ending = runner.run()
        write_report(study, runner.rows, out)
    if ending.failure:
        raise InputError(ending.failure)
    if ending.stopped_by:
        raise StoppedError(
            f"stopped by {ending.stopped_by}; run the same command to continue {folder}"
        )


def make_study():
    """The study of the flags."""
    return plan.make_study(
        pathlib.Path(FLAGS.study).stem,
        FLAGS.title,
        FLAGS.base,
        FLAGS.system,
        FLAGS.axis,
        integers("seeds"),
        study_flags.scales(),
        FLAGS.evaluate,
        FLAGS.diverged_factor,
    )


def describe(study, folder):
    """Prints the state of each run."""
    states = running.states(study, folder)
    for name, state in states.items():
        print(f"{state:<9} {folder / name}")
    counts = {state: list(states.values()).count(state) for state in dict.fromkeys(states.values())}
    print(f"runs: {', '.join(f'{n} {state}' for state, n in counts.items())}")


def write_report(study, rows, out):
    """Writes the `rows` that are known so far to the folder `out`, in the order of the study."""
    known = [rows[run.name] for run in study.runs if run.name in rows]
    if not known:
        return
    written = report.write(out, study, known, sys.argv[1:])
    print(f"{report.table(known)}\n\nwritten: {', '.join(map(str, written))}")


def say(line):
    """Prints a line at once, also into a pipe."""
    print(line, flush=True)


if __name__ == "__main__":
    tf.config.set_visible_devices([], "GPU")  # they are for the runs
    command.run(main)
