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
        **hardware(),
    }
