"""What a run or a measurement ran on."""

import datetime
import pathlib
import platform
import subprocess
import sys

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf import __version__
from ladagan_tf.hardware import hardware


def environment():
    """What this process runs on: date, command, versions, revision, devices, hardware."""
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "command": [_program(sys.argv[0]), *sys.argv[1:]],
        "ladagan_tf": __version__,
        "revision": revision(),
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.platform(),
        "devices": [device.name for device in tf.config.list_logical_devices()],
        **hardware(),
    }


def _program(path):
    """A program's path, from the folder of this code if it lies there: others have it elsewhere."""
    root = pathlib.Path(__file__).resolve().parents[2]
    return path.removeprefix(f"{root}/")


def revision():
    """The revision of this code, as `git describe` gives it; None outside its own repository."""
    root = pathlib.Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():  # of another project, perhaps, or installed
        return None
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty"],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # there is no git here
        return None
    return described.stdout.strip() or None
