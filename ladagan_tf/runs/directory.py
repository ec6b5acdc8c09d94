"""The run directory: what a run is and what it measured, and the same run continued.

flags.cfg         every flag resolved; `python train.py --flagfile=flags.cfg` is this run
models.json       classes and configurations of both networks
vae.keras         GAT: the autoencoder that decodes what the generator makes
initial.json      of a run that started from other networks: what it took from them, by name
environment.json  versions, devices and revision of each start
stats.jsonl       one line per logging window, the only truth; TensorBoard mirrors it
log.txt           what the run said, with dates, of all its starts
checkpoints/      step-*/ complete folders, renamed into place when written
averages/         step-*.npz of --posthoc_ema, see `runs.snapshots`
*.old-1           environment.json or stats.jsonl that could not be read, or of a run begun anew
samples/          grids and attention sheets
report.html       what `reports` makes of all this; curves.png and timelapse.gif, too
reals.png         images that it learns from
"""

import contextlib
import datetime
import json
import pathlib
import sys

import keras
import tqdm

from ladagan_tf import flagfiles
from ladagan_tf.errors import InputError, StoppedError, leave_pipe, one_line, reason
from ladagan_tf.files import atomic_path, json_line, set_aside, write_json, write_text
from ladagan_tf.runs import FLAGS_FILE, METRICS_FILE, MODELS_FILE
from ladagan_tf.runs.checkpoints import newest_state
from ladagan_tf.runs.environment import environment
from ladagan_tf.runs.json_lines import is_number, read_lines

SHOWN_CHARACTERS = 250  # of flags in a message; it stays one line that can be read


class RunDirectory:
    """A run's folder and the files in it.

    Args:
        path: the folder; made on `start`.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.flags_file = self.path / FLAGS_FILE
        self.models_file = self.path / MODELS_FILE
        self.vae_file = self.path / "vae.keras"
        self.initial_file = self.path / "initial.json"
        self.environment_file = self.path / "environment.json"
        self.stats_file = self.path / "stats.jsonl"
        self.metrics_file = self.path / METRICS_FILE
        self.log_file = self.path / "log.txt"
        self.samples = self.path / "samples"
        self.checkpoints = self.path / "checkpoints"
        self.averages = self.path / "averages"
        self.tensorboard = self.path / "tensorboard"
        self._started, self._said = False, []  # lines before `start`, which makes the log
        self.heard = True  # false once who reads what is printed is gone: the log goes on

    def flags(self):
        """The flags that the run recorded, dict of text; empty where it recorded none."""
        return read_flags(self.flags_file) if self.flags_file.is_file() else {}

    def check_flags(self, flags, free, force, defaults=None, by_content=()):
        """Refuses to continue a run with other mathematics.

        Args:
            flags: dict from flag name to resolved text.
            free: names that may change between starts.
            force: bool, continue nevertheless.
            defaults: dict of text, what a flag was that the run does not name, because it began
                before there was such a flag.
            by_content: names of paths, which are free where the checkpoints have the hashes of what
                they lead to; see `check_contents`.

        Raises:
            InputError: naming each flag that differs, unless `force`.
        """
        if not self.flags_file.exists():
            return
        saved = {**(defaults or {}), **read_flags(self.flags_file)}
        state = newest_state(self.checkpoints)
        # A run without a checkpoint begins anew, on whatever there is now.
        if state is None or "contents" in state["about"]:
            free = {*free, *by_content}
        changed = [
            f"--{name}={flags[name]} (the run has {saved.get(name, 'no value')})"
            for name in flags
            if name not in free and saved.get(name) != flags[name]
        ]
        if changed and not force:
            raise InputError(
                f"run_dir={self.path}: {_short(', '.join(changed))} would change the mathematics "
                "of this run; use another --run_dir, or --force to continue anyway"
            )

    def check_contents(self, contents, flags, force):
        """Refuses to continue a run on other data than it began with, wherever they lie.

        Args:
            contents: dict of text, flag -> hash of what it leads to, as checkpoints record it.
            flags: dict of text, for the message.
            force: bool, continue nevertheless.

        Raises:
            InputError: naming the flag, its value and both hashes, unless `force`.
        """
        state = newest_state(self.checkpoints)
        begun = state["about"].get("contents") if state else None
        for name in {**begun, **contents} if begun and not force else ():
            ours, now = begun.get(name, "none"), contents.get(name, "none")
            if ours != now:
                raise InputError(
                    f"run_dir={self.path}: --{name}={_short(flags.get(name, 'none'))} holds "
                    f"something else ({now[-12:]}) than this run began with ({ours[-12:]}, ends of "
                    "SHA-256); give that, another --run_dir, or --force to continue anyway"
                )

    def start(self, flags, networks, vae=None, initial=None):
        """Writes what identifies this start. Call it on the chief, after `check_flags`.

        Args:
            flags: dict of text.
            networks: keras.Models, by whose names their configurations are found.
            vae: models.vae.autoencoder.AutoencoderKL of a GAT run, or None.
            initial: dict, what a new run took from other networks, or None.

        Raises:
            InputError: for a text that the file of flags would not keep as it is.
        """
        for name, value in flags.items():
            if value != value.rstrip():
                raise InputError(
                    f"--{name}={value}: it ends in a blank, which {self.flags_file.name} would lose"
                )
        for folder in (self.path, self.samples, self.checkpoints, self.tensorboard):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(self.flags_file, "".join(f"--{k}={v}\n" for k, v in sorted(flags.items())))
        configs = {n.name: keras.saving.serialize_keras_object(n) for n in networks}
        write_json(self.models_file, configs)
        if initial:
            write_json(self.initial_file, initial)
        if vae:
            with atomic_path(self.vae_file) as temporary:
                vae.save(temporary)
        try:
            starts = self.starts()
        except ValueError as error:
            _keep_aside(self.environment_file, f"it cannot be read ({error})", self.say)
            starts = []
        write_json(self.environment_file, [*starts, environment()])
        self._started = True
        self._log()

    def say(self, line):
        """Prints a line and adds it to log.txt with the date, once the run has started.

        Without a terminal, to which a bar would be drawn, what is printed has the date, too. If it
        is a pipe that nobody reads any more, the log has it alone.
        """
        dated = _dated(line)
        try:
            # Not print: a bar may be on the terminal, which this draws again below the line.
            tqdm.tqdm.write(line if sys.stderr.isatty() else dated)
            sys.stdout.flush()
        except BrokenPipeError:
            leave_pipe()
            self.heard = False
        self._log(dated)

    def note(self, line):
        """As `say`, but of what a terminal shows otherwise: it is not printed there."""
        if sys.stderr.isatty():
            self._log(_dated(line))
        else:
            self.say(line)

    def _log(self, *dated):
        self._said += dated
        if self._started and self._said:
            with open(self.log_file, "a", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in self._said)
            self._said = []

    @contextlib.contextmanager
    def logged_end(self):
        """Adds to log.txt what ends the block, if an exception does."""
        try:
            yield
        except BaseException as error:
            kind = "error" if isinstance(error, InputError) else type(error).__name__
            line = str(error) if isinstance(error, StoppedError) else f"{kind}: {error}"
            with contextlib.suppress(OSError):  # of a disk that is full, perhaps
                self._log(_dated(one_line(line)))
            raise

    def starts(self):
        """What each start ran on so far: a list of dicts, see `environment.environment`.

        Raises:
            ValueError: if the file of it holds something else.
        """
        if not self.environment_file.exists():
            return []
        try:
            starts = json.loads(self.environment_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as error:
            raise ValueError(reason(error)) from None
        if not isinstance(starts, list) or not all(isinstance(start, dict) for start in starts):
            raise ValueError("it is no list of objects")
        return starts

    def append_stats(self, record):
        with open(self.stats_file, "a", encoding="utf-8") as file:
            file.write(json_line(record))

    def truncate_stats(self, step):
        """Drops lines after `step`, which a resumed run writes again, and a line cut short.

        What is not written again is kept: a file with other lines than those of a run, or of a run
        that begins anew because its checkpoints are gone, is set aside first.

        Args:
            step: int, at which the run continues.
        """
        if not self.stats_file.exists():
            return
        try:
            lines, unreadable = read_lines(self.stats_file)
        except OSError as error:
            _keep_aside(self.stats_file, f"it cannot be read ({error.strerror})", self.say)
            return
        steps = [(text, line["step"]) for text, line in lines if is_number(line.get("step"))]
        unreadable += len(lines) - len(steps)
        if unreadable:
            _keep_aside(self.stats_file, f"{unreadable} of its lines cannot be read", self.say)
        elif steps and step == 0:
            _keep_aside(
                self.stats_file,
                f"it tells of {steps[-1][1]} steps, but there is no checkpoint: the run begins "
                "anew",
                self.say,
            )
            for path in (self.metrics_file, self.samples):
                if path.exists():
                    _keep_aside(path, "it is of weights that are gone", self.say)
            self.samples.mkdir(exist_ok=True)
        kept = [text for text, of in steps if of <= step]
        write_text(self.stats_file, "".join(f"{text}\n" for text in kept))


def _dated(line):
    return f"{datetime.datetime.now():%Y-%m-%d %H:%M:%S} {line}"


def _keep_aside(path, why, say):
    aside = set_aside(path)
    say(f"{path}: {why}; it is kept as {aside.name}")


def read_flags(path):
    """Dict from flag name to text of a flagfile, as `RunDirectory.start` or a person writes it.

    Lines that are no flags are left out. Of --NAME and --noNAME, which need no value, the meaning
    depends on what there is: both readings are given.
    """
    found = {}
    for line in pathlib.Path(path).read_text(encoding="utf-8-sig", errors="replace").splitlines():
        name, value = flagfiles.parts(line.strip())
        if not name:
            continue
        found[name] = "True" if value is None else value
        if value is None and name.startswith("no"):
            found[name.removeprefix("no")] = "False"
    return found


def read_integer(path, name):
    """The value of an integer flag in a flagfile; InputError if it has none.

    Args:
        path: the flagfile.
        name: str, of the flag.
    """
    value = read_flags(path).get(name, "")
    if not (value.isascii() and value.isdecimal() and len(value) <= 19):
        raise InputError(f"{path}: --{name}={_short(value)}: it must be a whole number")
    return int(value)


def _short(text):
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}..."
