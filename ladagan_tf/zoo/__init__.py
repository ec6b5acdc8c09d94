"""Trained generators that come with the package: `--model=zoo:NAME`, `ladagan_tf.load("NAME")`.

A folder each, as `python -m ladagan_tf.export --format=zoo` writes it; see `exporting.entry`.
about.json says everything about it, and the hash of each file that is opened.
"""

import pathlib

from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError, reason
from ladagan_tf.files import sha256_of
from ladagan_tf.untrusted import read_json

PREFIX = "zoo:"
ABOUT = "about.json"
# Beside the generator: what it is measured with where there is neither its data set nor a network.
CLASSIFIER, REFERENCE = "classifier.keras", "reference.npz"
FOLDER = pathlib.Path(__file__).resolve().parent


def names():
    """Names of the zoo's models, in order: a list of str."""
    return sorted(path.parent.name for path in FOLDER.glob(f"[!.]*/{ABOUT}"))


def known():
    """The zoo's models as `--model` takes them, in words, for messages."""
    return ", ".join(PREFIX + name for name in names())


def find(model, flag="model"):
    """The folder of zoo:NAME, a pathlib.Path; InputError, which names `flag`, if there is none."""
    name = model.removeprefix(PREFIX)
    if name not in names():
        raise InputError(f"{flag}={model}: the zoo has no such model; give {known()}")
    return FOLDER / name


def file_of(model, file, flag):
    """The path of a file of zoo:NAME, after its hash was compared.

    Args:
        model: str, zoo:NAME.
        file: str, `CLASSIFIER` or `REFERENCE`.
        flag: str, the flag named in messages.

    Raises:
        InputError: see `find` and `read_about`.
    """
    folder = find(model, flag)
    read_about(folder, model)
    return folder / file


def read_about(folder, model):
    """What a folder of `--format=zoo` says of itself, after its files were compared with it.

    Args:
        folder: pathlib.Path, in the package or anywhere.
        model: str, what named it, for messages.

    Returns:
        Dict, see `exporting.entry`; None if the folder is no such one.

    Raises:
        InputError: if about.json cannot be read, or a file is missing or another than it was.
    """
    if not (folder / ABOUT).is_file():
        return None
    about = read_json(folder / ABOUT)
    files = about.get("files")
    if not isinstance(files, dict) or not all(isinstance(f, dict) for f in files.values()):
        raise InputError(f"model={model}: {folder / ABOUT} names no files")
    for name, recorded in files.items():
        try:
            found = sha256_of(folder / pathlib.PurePath(name).name)
        except (OSError, ValueError) as error:  # ValueError: a name that no file can have
            raise InputError(
                f"model={model}: {folder / name} cannot be read ({reason(error)})"
            ) from None
        if found != recorded.get("sha256"):
            raise InputError(
                f"model={model}: {folder / name} is damaged or another file: its SHA-256 is "
                f"{found[:12]}.., recorded is {str(recorded.get('sha256'))[:12]}.."
            )
    return about


def listing():
    """The zoo's models as a table for people: str of several lines."""
    rows = [("model", "makes", "parameters", "file", "trained on", "measured", "data's licence")]
    for name in names():
        about = read_json(FOLDER / name / ABOUT)
        data, check = about["data"], about["check"]
        length = f"{plain(about['trained']['kimg'])} kimg"
        measured = [m for m in about["measured"] if m["metric"] == check["metric"]]
        best = (measured or [check])[0]
        rows.append(
            (
                PREFIX + name,
                about["makes"],
                f"{about['parameters']:,}",
                f"{about['bytes'] / 1e6:.1f} MB",
                f"{data['count']:,} images of {data['name']}, {length}",
                f"{best['metric']} {best['value']:.1f}",
                data["licence"],
            )
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    lines = [
        "  ".join([*(c.ljust(w) for c, w in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]
    return "\n".join(lines)
