"""The run directory: what a run is, its checkpoints and statistics, and exact resume.

flags.cfg         every flag resolved; `python train.py --flagfile=flags.cfg` is this run
models.json       configurations of both networks
environment.json  versions, devices and revision of each start
stats.jsonl       one line per logging window, the only truth; TensorBoard mirrors it
checkpoints/      step-*/ complete folders, renamed into place when written
samples/          grids and attention sheets
"""

import datetime
import hashlib
import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf import __version__
from ladagan_tf.errors import InputError
from ladagan_tf.files import write_text

STATE = "state.json"


class RunDirectory:
    """A run's folder and the files in it.

    Args:
        path: the folder; made on `start`.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.flags_file = self.path / "flags.cfg"
        self.models_file = self.path / "models.json"
        self.environment_file = self.path / "environment.json"
        self.stats_file = self.path / "stats.jsonl"
        self.samples = self.path / "samples"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"

    def check_flags(self, flags, free, force):
        """Refuses to continue a run with other mathematics.

        Args:
            flags: dict from flag name to resolved text.
            free: names that may change between starts.
            force: bool, continue nevertheless.

        Raises:
            InputError: naming each flag that differs, unless `force`.
        """
        if not self.flags_file.exists():
            return
        saved = read_flags(self.flags_file)
        changed = [
            f"--{name}={flags[name]} (the run has {saved.get(name, 'no value')})"
            for name in flags
            if name not in free and saved.get(name) != flags[name]
        ]
        if changed and not force:
            raise InputError(
                f"run_dir={self.path}: {', '.join(changed)} would change the mathematics of this "
                "run; use another --run_dir, or --force to continue anyway"
            )

    def start(self, flags, networks):
        """Writes what identifies this start. Call it on the chief, after `check_flags`."""
        for folder in (self.path, self.samples, self.checkpoints, self.tensorboard):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(self.flags_file, "".join(f"--{k}={v}\n" for k, v in sorted(flags.items())))
        configs = {network.name: network.get_config() for network in networks}
        write_text(self.models_file, json.dumps(configs, indent=2, default=_plain) + "\n")
        starts = []
        if self.environment_file.exists():
            starts = json.loads(self.environment_file.read_text())
        write_text(self.environment_file, json.dumps([*starts, environment()], indent=2) + "\n")

    def append_stats(self, record):
        with open(self.stats_file, "a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")

    def truncate_stats(self, step):
        """Drops lines after `step`, which a resumed run writes again, and a line cut short."""
        if not self.stats_file.exists():
            return
        kept = []
        for line in self.stats_file.read_text().splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line)
            except ValueError:
                continue  # the process was killed while writing it
        write_text(self.stats_file, "".join(f"{line}\n" for line in kept))


def read_flags(path):
    """Dict from flag name to text of a flagfile written by `RunDirectory.start`."""
    lines = pathlib.Path(path).read_text().splitlines()
    return dict(line.removeprefix("--").split("=", 1) for line in lines if line.startswith("--"))


def _plain(value):
    """JSON for what Keras configurations hold besides plain types: dtype policies."""
    return value.name if hasattr(value, "name") else keras.saving.serialize_keras_object(value)


def environment():
    """What a start ran on: date, command, versions, revision and devices."""
    revision = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=pathlib.Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": sys.argv,
        "ladagan_tf": __version__,
        "revision": revision.stdout.strip() or None,
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.platform(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
    }


class Checkpoints:
    """Complete, verified checkpoints of a training state: the latest few and the best.

    A checkpoint is a folder that is renamed into place once everything in it is written, with the
    SHA-256 of each file, so that a damaged one is noticed before it is read.

    Args:
        folder: pathlib.Path.
        state: dict from name to variable, e.g. `AdversarialModel.state()`.
        keep: int, number of latest checkpoints kept besides the best.
    """

    def __init__(self, folder, state, keep=2):
        self.folder = pathlib.Path(folder)
        self.checkpoint = tf.train.Checkpoint(state=state)
        self.keep = keep

    def save(self, step, images, score=None):
        """Writes the checkpoint of `step`, then deletes what is neither recent nor best.

        Args:
            step: int, finished steps.
            images: int, images trained on.
            score: float or None, a metric to select the best by; lower is better.
        """
        name = f"step-{step:08d}"
        final, partial = self.folder / name, self.folder / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        self.checkpoint.write(str(partial / "ckpt"))
        state = {
            "step": step,
            "images": images,
            "score": score,
            "sha256": {file.name: _sha256(file) for file in sorted(partial.iterdir())},
        }
        write_text(partial / STATE, json.dumps(state, indent=2) + "\n")
        shutil.rmtree(final, ignore_errors=True)  # a damaged one of the same step
        os.rename(partial, final)
        self._prune()

    def _prune(self):
        for leftover in self.folder.glob(".step-*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        paths = self.paths()
        best = self.best()
        for path in paths[: -self.keep]:
            if path != best:
                shutil.rmtree(path)

    def paths(self):
        """Folders of complete checkpoints, oldest first."""
        return sorted(path for path in self.folder.glob("step-*") if path.is_dir())

    def best(self):
        """Folder of the checkpoint with the lowest score; None if none has one."""
        scored = []
        for path in self.paths():
            try:
                score = json.loads((path / STATE).read_text())["score"]
            except (OSError, ValueError, KeyError):
                continue
            if score is not None:
                scored.append((score, path))
        return min(scored)[1] if scored else None

    def restore_latest(self, say=print):
        """Restores the newest undamaged checkpoint.

        Args:
            say: function that is told about damaged checkpoints.

        Returns:
            int, its step; 0 if there is no checkpoint.

        Raises:
            InputError: if there are checkpoints and all are damaged, or one does not fit.
        """
        paths = self.paths()
        for path in reversed(paths):
            problem = damage(path)
            if problem is None:
                self.restore(path)
                return json.loads((path / STATE).read_text())["step"]
            say(f"checkpoint {path.name} is damaged ({problem}); falling back to the one before")
        if paths:
            raise InputError(
                f"run_dir: every checkpoint in {self.folder} is damaged; restore one from a copy "
                "or start again with another --run_dir"
            )
        return 0

    def restore(self, path):
        """Restores one checkpoint folder; raises InputError if it does not fit the model."""
        try:
            self.checkpoint.read(str(path / "ckpt")).assert_consumed()
        except (AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise InputError(f"{path} does not fit this model: {reason}") from None


def damage(path):
    """What is wrong with a checkpoint folder, in words; None if it is as it was written."""
    try:
        state = json.loads((path / STATE).read_text())
        for name, digest in state["sha256"].items():
            if not (path / name).is_file():
                return f"{name} is missing"
            if _sha256(path / name) != digest:
                return f"{name} has changed"
    except (OSError, ValueError, KeyError):
        return f"{STATE} cannot be read"
    return None


def _sha256(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
