"""The run directory: what a run is and what it measured, and the same run continued.

flags.cfg         every flag resolved; `python train.py --flagfile=flags.cfg` is this run
models.json       classes and configurations of both networks
vae.keras         GAT: the autoencoder that decodes what the generator makes
environment.json  versions, devices and revision of each start
stats.jsonl       one line per logging window, the only truth; TensorBoard mirrors it
checkpoints/      step-*/ complete folders, renamed into place when written
samples/          grids and attention sheets
"""

import json
import pathlib

import keras

from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, write_text
from ladagan_tf.runs.environment import environment


class RunDirectory:
    """A run's folder and the files in it.

    Args:
        path: the folder; made on `start`.
    """

    def __init__(self, path):
        self.path = pathlib.Path(path)
        self.flags_file = self.path / "flags.cfg"
        self.models_file = self.path / "models.json"
        self.vae_file = self.path / "vae.keras"
        self.environment_file = self.path / "environment.json"
        self.stats_file = self.path / "stats.jsonl"
        self.samples = self.path / "samples"
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"

    def check_flags(self, flags, free, force, defaults=None):
        """Refuses to continue a run with other mathematics.

        Args:
            flags: dict from flag name to resolved text.
            free: names that may change between starts.
            force: bool, continue nevertheless.
            defaults: dict of text, what a flag was that the run does not name, because it began
                before there was such a flag.

        Raises:
            InputError: naming each flag that differs, unless `force`.
        """
        if not self.flags_file.exists():
            return
        saved = {**(defaults or {}), **read_flags(self.flags_file)}
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

    def start(self, flags, networks, vae=None):
        """Writes what identifies this start. Call it on the chief, after `check_flags`.

        Args:
            flags: dict of text.
            networks: keras.Models, by whose names their configurations are found.
            vae: models.vae.autoencoder.AutoencoderKL of a GAT run, or None.
        """
        for folder in (self.path, self.samples, self.checkpoints, self.tensorboard):
            folder.mkdir(parents=True, exist_ok=True)
        write_text(self.flags_file, "".join(f"--{k}={v}\n" for k, v in sorted(flags.items())))
        configs = {n.name: keras.saving.serialize_keras_object(n) for n in networks}
        write_text(self.models_file, json.dumps(configs, indent=2) + "\n")
        if vae:
            with atomic_path(self.vae_file) as temporary:
                vae.save(temporary)
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
