"""Checkpoints of a training state: complete folders, verified before they are read."""

import os
import pathlib
import re
import secrets
import shutil

import tensorflow as tf

from ladagan_tf.decimals import in_kimg
from ladagan_tf.errors import InputError, reason, warn
from ladagan_tf.files import disk_errors, set_aside, sha256_of, write_text
from ladagan_tf.runs.json_lines import sealed, unsealed

STATE = "state.json"
OBSERVED = "observed"  # a part of a state that checkpoints before 2026-11-27 do not have
NAME = re.compile(r"step-(\d{8,})")


class Checkpoints:
    """Complete, verified checkpoints of a training state: the latest few and the best.

    A checkpoint is a folder that is renamed into place once everything in it is written, with the
    SHA-256 of each file and of what is said of them, so that a damaged one is noticed before it is
    read.

    Args:
        folder: pathlib.Path.
        state: dict from name to variable, e.g. `TrainedModel.state()`.
        keep: int, number of latest checkpoints kept besides the best.
        about: dict of plain values that each one records, of the run that it is of; or None.
    """

    def __init__(self, folder, state, keep=2, about=None):
        self.folder = pathlib.Path(folder)
        self.state = state
        self.checkpoint = tf.train.Checkpoint(state=state)
        self.keep = keep
        self.about = about or {}

    def save(self, step, images, score=None, metric=None):
        """Writes the checkpoint of `step`, then deletes what is neither recent nor best.

        Args:
            step: int, finished steps.
            images: int, images trained on.
            score: float or None, a measurement to select the best by; lower is better.
            metric: str or None, the name of what was measured.

        Raises:
            OSError: if it cannot be written; what was there before stays.
        """
        name = f"step-{step:08d}"
        final, partial = self.folder / name, self.folder / f".{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            with disk_errors():
                self._write(partial, step, images, score, metric)
            _remove_damaged(final)  # of the same step
            os.rename(partial, final)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
        self._prune(step)

    def _write(self, partial, step, images, score, metric):
        self.checkpoint.write(str(partial / "ckpt"))
        state = {
            "step": step,
            "images": images,
            "score": score,
            "metric": metric,
            "about": self.about,
            "sha256": {file.name: sha256_of(file) for file in sorted(partial.iterdir())},
        }
        write_text(partial / STATE, sealed(state))

    def _prune(self, step):
        for leftover in self.folder.glob(".step-*.partial"):
            shutil.rmtree(leftover, ignore_errors=True)
        for path in self.paths():
            if _step(path) > step:  # it was damaged, for the run went on from one before it
                _remove_damaged(path)
        paths = self.paths()
        best = self.best()
        for path in paths[: -self.keep]:
            if path != best and not _is_closed([path / STATE]):  # it may be the best
                _remove(path)

    def paths(self):
        """Folders of complete checkpoints, oldest first."""
        return checkpoint_paths(self.folder)

    def best(self):
        """Folder of the best checkpoint, see `best_checkpoint`; None if none has a score."""
        return best_checkpoint(self.folder)

    def restore_latest(self, say=print):
        """Restores the newest undamaged checkpoint.

        Args:
            say: function that is told about damaged checkpoints.

        Returns:
            dict of its `state.json`; None if there is no checkpoint.

        Raises:
            InputError: if there are checkpoints and all are damaged, or one does not fit.
        """
        paths = self.paths()
        for path in reversed(paths):
            problem = damage(path)
            if problem is None:
                self.restore(path)
                return read_state(path)
            say(f"checkpoint {path.name} is damaged ({problem}); falling back to the one before")
        if paths:
            raise InputError(
                f"run_dir: every checkpoint in {self.folder} is damaged; restore one from a copy "
                "or start again with another --run_dir"
            )
        return None

    def restore(self, path):
        """Restores one checkpoint folder; raises InputError if it does not fit the model.

        What is observed of a run begins anew where the checkpoint observed something else.
        """
        of_observed = {n: v for n, v in self.state.items() if n.startswith(f"{OBSERVED}/")}
        try:
            there = [tuple(value.shape) for value in read_part(path, OBSERVED)]
            if there == [tuple(variable.shape) for variable in of_observed.values()]:
                self.checkpoint.read(str(path / "ckpt")).assert_consumed()
                return
            known = {n: v for n, v in self.state.items() if n not in of_observed}
            read = tf.train.Checkpoint(state=known).read(str(path / "ckpt"))
            read.assert_existing_objects_matched() if there else read.assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            raise InputError(f"{path} does not fit this model: {reason(error)}") from None


def _remove_damaged(path):
    """Deletes a checkpoint that is damaged, if any; one that cannot be read is set aside.

    The disk may give it again.
    """
    if path.is_dir() and _is_closed(path.iterdir()):
        warn(f"{path} cannot be read; it is now {set_aside(path).name}")
    else:
        _remove(path)


def _remove(path):
    """Deletes a checkpoint; of one that was moved elsewhere the link that leads there.

    What a file server keeps for another process that reads it goes later, as a leftover: it is
    neither taken for a damaged checkpoint nor the end of a run.
    """
    if path.is_symlink():
        path.unlink()
    elif path.exists():
        leftover = path.with_name(f".{path.name}-{secrets.token_hex(4)}.partial")
        path.rename(leftover)
        shutil.rmtree(leftover, ignore_errors=True)


def _is_closed(files):
    """Whether the disk or its rights keep one of the files, whatever it holds, from us."""
    try:
        for file in files:
            sha256_of(file)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def checkpoint_paths(folder):
    """Complete checkpoints in a run's `checkpoints` folder, oldest first."""
    found = [path for path in pathlib.Path(folder).glob("step-*") if NAME.fullmatch(path.name)]
    return sorted(filter(pathlib.Path.is_dir, found), key=_step)


def _step(path):
    return int(NAME.fullmatch(path.name)[1])


def read_state(path):
    """The `state.json` of a checkpoint folder as a dict; None if it is not as it was written."""
    try:
        state = {"about": {}} | unsealed((path / STATE).read_text(encoding="utf-8"))
        return state if _is_state(state, path) else None
    except (OSError, ValueError):
        return None


def _is_state(state, path):
    """Whether it is what `Checkpoints.save` writes: older ones have no hash that tells."""
    return (
        state.keys() == {"step", "images", "score", "metric", "about", "sha256"}
        and state["step"] == _step(path)
        and type(state["images"]) is int
        and state["images"] >= 0
        and isinstance(state["score"], float | int | None)
        and isinstance(state["metric"], str | None)
        and isinstance(state["about"], dict)
        and isinstance(state["sha256"], dict)
        and any(name.startswith("ckpt.") for name in state["sha256"])
    )


def newest_state(folder):
    """The `state.json` of the newest checkpoint that has a readable one: a dict; None if none has.

    Args:
        folder: a run's `checkpoints` folder.
    """
    states = [state for _, state in _states(folder)]
    return states[-1] if states else None


def best_checkpoint(folder):
    """Folder of the checkpoint with the lowest score; None if none has one.

    Scores of different metrics cannot be compared: only that of the newest scored one counts. Those
    that older versions wrote do not say by which network they were measured.
    """
    scored = [(state["metric"], state["score"], path) for path, state in _states(folder)]
    scored = [entry for entry in scored if entry[1] is not None]
    if not scored:
        return None
    newest = scored[-1][0]
    same = newest, newest and newest.partition(" ")[0]
    return min((score, path) for metric, score, path in scored if metric in same)[1]


def _states(folder):
    for path in checkpoint_paths(folder):
        state = read_state(path)
        if state is not None:
            yield path, state


def find_checkpoint(folder, which):
    """Finds an undamaged checkpoint.

    Args:
        folder: a run's `checkpoints` folder.
        which: "best" (the latest if none has a score), "latest", or the thousands of images that
            it was trained on, as text.

    Returns:
        (pathlib.Path, dict of its `state.json`).

    Raises:
        InputError: if there is no such checkpoint, or it is damaged.
    """
    found = dict(_states(folder))
    if not found:
        raise InputError(f"{folder}: no checkpoint in it; train first, or check --run_dir")
    if which in ("best", "latest"):
        path = (best_checkpoint(folder) if which == "best" else None) or [*found][-1]
        newest = checkpoint_paths(folder)[-1]
        if which == "latest" and path != newest:
            warn(f"{newest} is damaged ({STATE} cannot be read); taking {path.name}")
    else:
        kimgs = {in_kimg(state["images"]): path for path, state in found.items()}
        # As it was once written, in six digits.
        rounded = [kimg for kimg in kimgs if which == f"{float(kimg):g}"]
        which = rounded[0] if which not in kimgs and len(rounded) == 1 else which
        if which not in kimgs:
            raise InputError(
                f"checkpoint={which}: give best, latest or one of the kept ones, in kimg: "
                f"{', '.join(kimgs)}"
            )
        path = kimgs[which]
    problem = damage(path)
    if problem:
        raise InputError(f"{path}: this checkpoint is damaged ({problem}); choose another one")
    return path, found[path]


def average_part(number):
    """The part of a checkpoint that holds average `number` of a run; 0 is the one that is shown."""
    return f"average_{number}" if number else "averaged"


def find_average(path, state, name):
    """The part of a checkpoint that holds the average of a name.

    Args:
        path: the checkpoint folder.
        state: dict of its `state.json`.
        name: str, as a run names it: a decay as "0.9999", a half-life as "500kimg", or
            "sigma_rel:0.05".

    Raises:
        InputError: if it holds none of that name.
    """
    names = state["about"].get("averages", [])
    if name not in names:
        known = f"has {', '.join(names)}" if names else "has one average, which has no name"
        raise InputError(f"average={name}: {path} {known}; leave --average out to take the first")
    return average_part(names.index(name))


def read_part(path, part):
    """Reads one part of a checkpoint without the objects it was saved from.

    Args:
        path: a checkpoint folder.
        part: str, a part of `TrainedModel.state()`, e.g. "averaged".

    Returns:
        List of arrays in the order in which they were saved: that of the network's `weights`.
    """
    reader = tf.train.load_checkpoint(str(path / "ckpt"))
    # TensorFlow writes the slashes of our names as ".S": part, number, name.
    prefix = f"state/{part}.S"
    names = [n for n in reader.get_variable_to_shape_map() if n.startswith(prefix)]
    names.sort(key=lambda name: int(name.removeprefix(prefix).partition(".S")[0]))
    return [reader.get_tensor(name) for name in names]


def damage(path):
    """What is wrong with a checkpoint folder, in words; None if it is as it was written."""
    state = read_state(path)
    if state is None:
        return f"{STATE} cannot be read"
    for name, digest in state["sha256"].items():
        if not (path / name).is_file():
            return f"{name} is missing"
        try:
            if sha256_of(path / name) != digest:
                return f"{name} has changed"
        except OSError as error:
            return f"{name} cannot be read: {error.strerror}"
    return None
