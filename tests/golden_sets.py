"""Finds the recorded numbers that tests compare with: tests/golden/README.md."""

import pathlib
import zipfile

import numpy as np

GOLDEN = pathlib.Path(__file__).resolve().parent / "golden"


def find(config, name):
    """The folder of a set: `--fixtures-dir=DIR` if it was given, else tests/golden/NAME.

    Args:
        config: pytest's.
        name: str, a folder of tests/golden.

    Returns:
        pathlib.Path.
    """
    option = config.getoption("--fixtures-dir")
    return pathlib.Path(option) if option else GOLDEN / name


def fill_checkpoint(path):
    """Writes GAT's recorded checkpoint with its weights.

    The file in tests/golden lacks them, because they lie in tests/golden/gat already. The result
    has the members of the recorded file, each with the recorded bytes.

    Args:
        path: the .pt file to write.
    """
    weights = []
    for name, factor in (("G", None), ("D", None), ("G", np.float32(0.9))):  # the last is `ema`
        with np.load(GOLDEN / "gat" / f"A_weights_{name}.npz") as arrays:
            weights += [array if factor is None else factor * array for array in arrays.values()]
    with (
        zipfile.ZipFile(GOLDEN / "gat_checkpoint" / "latest_hollow.pt") as hollow,
        zipfile.ZipFile(path, "w") as filled,
    ):
        for name in hollow.namelist():
            filled.writestr(name, hollow.read(name))
        for number, array in enumerate(weights):
            filled.writestr(f"latest/data/{number}", array.tobytes())
