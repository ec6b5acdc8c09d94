"""What a flag names, on this machine or on the Hugging Face hub."""

import pathlib

from ladagan_tf import extras
from ladagan_tf.errors import InputError, reason

HUB = "hf:"


def locate(source, files, flag="official"):
    """The local file or folder that a flag names, downloaded if it is on the hub.

    Args:
        source: a path; or hf:USER/REPO, or behind that a folder or file in the repository.
        files: iterable of str, what to download of a folder: paths in it, in which * stands for
            anything.
        flag: str, the flag named in messages.

    Returns:
        pathlib.Path. Nothing is there if the repository has none of the files.

    Raises:
        InputError: if huggingface_hub is not installed, or the download fails.
    """
    if not str(source).startswith(HUB):
        return pathlib.Path(source)
    user, repo, inside = (*str(source).removeprefix(HUB).strip("/").split("/", 2), "", "")[:3]
    if not user or not repo:
        raise InputError(f"{flag}={source}: give hf:USER/REPO or hf:USER/REPO/SUBFOLDER")
    try:
        import huggingface_hub
    except ImportError:
        raise extras.missing(f"{flag}={source}", "hub") from None
    patterns = [inside, *(f"{inside}/{file}" for file in files)] if inside else list(files)
    try:
        local = huggingface_hub.snapshot_download(f"{user}/{repo}", allow_patterns=patterns)
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise InputError(f"{flag}={source}: the download failed ({reason(error)})") from None
    return pathlib.Path(local) / inside
