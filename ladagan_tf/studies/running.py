"""Runs of a study as processes: train, measure, write down what came out, stop cleanly.

A run is done when its result.json is there. Until then the same study continues it.
"""

import dataclasses
import os
import pathlib
import subprocess
import time

from ladagan_tf.decimals import plain
from ladagan_tf.errors import DivergenceError, InputError, reason
from ladagan_tf.files import set_aside, write_text
from ladagan_tf.hardware import usable_cores
from ladagan_tf.runs.json_lines import sealed
from ladagan_tf.stopping import StopRequest, start_python
from ladagan_tf.studies import plan
from ladagan_tf.studies.collecting import collect
from ladagan_tf.studies.outcome import DIVERGED, FINISHED, RESULT, check_protocols, read_result

LOG, SETS = "study.log", "sets"
POLL_SECONDS = 0.1


@dataclasses.dataclass(frozen=True)
class Programs:
    """What a run is made of.

    Attributes:
        train, evaluate, prepare: sequences of str, what Python is told to run.
    """

    train: tuple = ("-m", "ladagan_tf.train")
    evaluate: tuple = ("-m", "ladagan_tf.evaluate")
    prepare: tuple = ("-m", "ladagan_tf.prepare")


@dataclasses.dataclass(frozen=True)
class Ending:
    """How running a study ended.

    Attributes:
        stopped_by: str, the signal's name, or None.
        failure: str, one line on the run that failed, or None.
    """

    stopped_by: str | None = None
    failure: str | None = None


def known_results(study, folder, say=print):
    """Results of those runs that are done.

    Args:
        study: plan.Study.
        folder: pathlib.Path of the study's runs.
        say: function that is told of a result that cannot be read: that run is not done.

    Returns:
        Dict from a run's name to its row, in the order of the study.

    Raises:
        InputError: if a result is that of other arguments.
    """
    rows = {}
    for run in study.runs:
        try:
            row = read_result(folder / run.name)
        except (OSError, ValueError) as error:
            say(
                f"{folder / run.name / RESULT}: {reason(error)}; it will be set aside and the run "
                "measured again"
            )
            continue
        if row is None:
            continue
        changed = plan.differences(row["arguments"], study.arguments(run))
        if changed:
            raise InputError(
                f"{folder / run.name}: its result is that of other flags ({changed}); give another "
                "--runs_dir, or delete that run"
            )
        rows[run.name] = row
    return rows


def states(study, folder):
    """Dict from a run's name to "finished", "diverged", "begun" or "missing"."""
    rows = known_results(study, folder)
    begun = {run.name for run in study.runs if (folder / run.name).is_dir()}
    other = {run.name: "begun" if run.name in begun else "missing" for run in study.runs}
    return other | {name: row["status"] for name, row in rows.items()}


class Runner:
    """Runs what of a study is not done.

    SIGINT, SIGTERM and SIGHUP are passed on to the runs, which then save themselves; a second
    signal has its usual effect. Runs of a study that is killed save themselves and end, too.

    Args:
        study: plan.Study.
        folder: pathlib.Path, in which every run has a folder.
        programs: Programs.
        jobs: int, runs at once, after a first one.
        say: function of str, for a line on what begins and ends.
    """

    def __init__(self, study, folder, programs, jobs=1, say=print):
        self.study = study
        self.folder = folder
        self.programs = programs
        self.jobs = jobs
        self.say = say
        self.rows = known_results(study, folder, say)
        self.children = []
        self.minutes = []  # of the runs that this process finished
        self.request = StopRequest()

    def run(self):
        """Runs until nothing is left, a run fails, or a signal comes.

        Returns:
            Ending.
        """
        with self.request:
            try:
                self._prepare_sets()
                while not self.request.received:
                    self._begin_next()
                    if not self.children:
                        return Ending()
                    if any(child.poll() is not None for child in self.children):
                        self._follow_up()
                    else:
                        time.sleep(POLL_SECONDS)
                return Ending(stopped_by=self.request.received)
            except InputError as error:
                return Ending(failure=str(error))
            finally:
                self._stop_children()

    def _prepare_sets(self):
        """One after the other: `prepare` uses all cores, and leaves a set that is there."""
        if not plan.next_runs(self.study, self.rows):
            return
        for given in self.study.sets:
            child = Child(None, self.folder / SETS, dict(os.environ))
            child.begin(self.programs.prepare, given)
            self.children.append(child)
            while child.poll() is None:
                if self.request.received:
                    return
                time.sleep(POLL_SECONDS)
            self.children.remove(child)
            if child.poll():
                raise InputError(child.failure(f"--prepare={' '.join(given)}"))
            self.say(child.last_line())

    def _begin_next(self):
        # The first run goes alone: it may prepare the set, and the classifier, that all read.
        ready = any(row["status"] == FINISHED for row in self.rows.values())
        jobs = self.jobs if ready else 1
        busy = [child.run.name for child in self.children]
        for run in plan.next_runs(self.study, self.rows):
            if len(self.children) < jobs and run.name not in busy:
                child = Child(run, self.folder / run.name, self._environment())
                child.begin(self.programs.train, (*run.train, f"--run_dir={child.run_dir}"))
                self.children.append(child)
                self.say(f"{run.name}: begun ({self._progress()})")

    def _follow_up(self):
        """What comes after a process that has ended: measuring, or the result."""
        for child in [child for child in self.children if child.poll() is not None]:
            status, training = child.poll(), child.program == self.programs.train
            if status not in (0, DivergenceError.status) or (status and not training):
                raise InputError(child.failure(child.run.name))
            if training and not status:
                given = (*self.study.evaluate, f"--run_dir={child.run_dir}")
                child.begin(self.programs.evaluate, given)
                continue
            self.children.remove(child)
            message = child.last_line().removeprefix("error: ") if status else None
            self._finish(child, message)

    def _finish(self, child, diverged):
        row = collect(self.study, child.run, child.run_dir, self.jobs, diverged)
        check_protocols([*self.rows.values(), row])  # not when all of them have run
        path = child.run_dir / RESULT
        if path.exists():  # it could not be read
            set_aside(path)
        write_text(path, sealed(row))
        self.rows[child.run.name] = row
        self.minutes.append((time.monotonic() - child.began) / 60)
        metrics = [f"{name} {plain(value, 4)}" for name, value in row["metrics"].items()]
        what = DIVERGED if diverged else ", ".join(metrics)
        self.say(f"{child.run.name}: {what} ({self._progress()})")

    def _progress(self):
        total, done = len(self.study.runs), len(self.rows)
        scales = any(run.lr_scale is not None for run in self.study.runs)
        text = f"{done} of {'at most ' if scales else ''}{total} done"
        if self.minutes and done < total:
            mean = sum(self.minutes) / len(self.minutes)
            text += f", about {mean * (total - done) / self.jobs:.0f} minutes left"
        return text

    def _environment(self):
        """Shares the cores, and GPU memory, among runs at once."""
        if self.jobs == 1:
            return dict(os.environ)
        threads = str(max(1, usable_cores() // self.jobs))
        names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS")
        shared = dict.fromkeys(names, threads)
        return {**os.environ, **shared, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}

    def _stop_children(self):
        for child in self.children:
            child.process.terminate()
        for child in self.children:
            child.process.wait()
        self.children = []


class Child:
    """A run's process, and the log of all it says.

    Args:
        run: plan.Run, or None for that which prepares sets.
        run_dir: pathlib.Path; made.
        environment: dict, environment variables of its processes.
    """

    def __init__(self, run, run_dir, environment):
        self.run = run
        self.run_dir = run_dir
        self.environment = environment
        self.log = run_dir / LOG
        self.began = time.monotonic()
        self.program = self.process = None
        self.said_before = 0  # bytes of the log
        run_dir.mkdir(parents=True, exist_ok=True)

    def begin(self, program, given):
        """Starts a program.

        Args:
            program: sequence of str, see `Programs`.
            given: sequence of str, its flags.
        """
        self.program = program
        with open(self.log, "ab") as log:
            self.said_before = log.tell()
            # A study that is killed leaves no run behind that a second one would double.
            self.process = start_python(
                [*program, *given], log, subprocess.STDOUT, self.environment
            )

    def poll(self):
        """The exit status, or None while it runs."""
        return self.process.poll()

    def failure(self, what):
        """One line on how the program failed at `what`, a str."""
        program = pathlib.Path(self.program[-1]).name
        return (
            f"{what}: {program} ended with status {self.poll()}, saying: {self.last_line()}; all "
            f"it said is in {self.log}"
        )

    def last_line(self):
        """The last line of what the program wrote that tells of an error, or else the last one.

        Bars that overwrite themselves are lines, too.
        """
        said = self.log.read_bytes()[self.said_before :].decode("utf-8", "replace")
        lines = [line.strip() for line in said.splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()]
        return (errors or lines or ["nothing"])[-1]
