"""Compares systems by runs of several seeds: `ladagan study --study=studies/attention`.

Trains and measures every system with several seeds, each run in a directory of its own, and writes
results.jsonl, table.md and figures. The same command again continues where it stopped.

`ladagan study --cost` measures what training costs on this machine instead.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import study as study_flags

if __name__ == "__main__":
    command.parse(study_flags, study_flags.parse)  # before TensorFlow is imported

import contextlib
import datetime
import pathlib
import sys

import tensorflow as tf

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError, StoppedError
from ladagan_tf.files import writing
from ladagan_tf.hardware import hardware
from ladagan_tf.locks import locked
from ladagan_tf.stopping import StopRequest
from ladagan_tf.studies import cost, plan, report, running
from ladagan_tf.systems import listed

FLAGS = flags.FLAGS


def main():
    """Runs, measures and reports the study of the flags, or says how far it is, or what costs."""
    study_flags.check_asked()
    if FLAGS.cost:
        measure_costs()
        return
    study = make_study()
    folder = pathlib.Path(FLAGS.runs_dir or pathlib.Path("runs/studies") / study.name)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--runs_dir={folder}: it is no folder")
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


def measure_costs():
    """Measures the configs of the flags on this machine and keeps their rows."""
    path = pathlib.Path(FLAGS.out or "docs/studies") / "hardware.md"
    about = hardware()
    machine = ", ".join(about["gpus"]) or f"{about['cpu']}, {about['cores']} cores"
    title = f"{machine}, {datetime.datetime.now(datetime.UTC):%Y-%m-%d}"
    names = FLAGS.configs or cost.experiments()
    for name in names:
        flagfiles.find(name, "configs")
    with writing(path, "out"):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.parent, "out", inside=True), StopRequest() as request:
        train = running.Programs().train
        failures = cost.measure_all(
            names, path, title, train, FLAGS.cost_seconds, say, lambda: request.received
        )
    if request.received:
        raise StoppedError(f"stopped by {request.received}; the rows that are done are in {path}")
    if failures:
        raise InputError("; ".join(failures))
    say(f"written: {path}")


def make_study():
    """The study of the flags."""
    words = "integers from 0 on, as 0,1,2"
    seeds = listed("seeds", int, words, lambda seed: seed >= 0, some=True, distinct=True)
    words = "finite numbers greater than 0, as 1,2,4"
    scales = listed("lr_scales", float, words, lambda scale: scale > 0, distinct=True)
    return plan.make_study(
        pathlib.Path(FLAGS.study).stem,
        FLAGS.title,
        FLAGS.base,
        FLAGS.system,
        FLAGS.axis,
        seeds,
        scales,
        FLAGS.evaluate,
        FLAGS.diverged_factor,
        FLAGS.prepare,
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
