"""Weight files of others: published ones, proven to be what they claim, and what the hub has."""

import hashlib
import http.client
import os
import pathlib
import urllib.request
from typing import NamedTuple

from ladagan_tf import extras
from ladagan_tf.errors import InputError, reason
from ladagan_tf.files import atomic_path, cache_folder, sha256_of
from ladagan_tf.progress import progress_bar

HUB = "hf:"  # begins a name on the Hugging Face hub
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20  # bytes


class PublishedFile(NamedTuple):
    """A file that is always the same.

    Attributes:
        what: what it holds, in the plural, e.g. "the weights of FID's Inception".
        name: its name in the cache folder.
        url: where it is published.
        sha256: hex digest of its bytes; None where nothing that can be cited tells it.
        flag: the flag with which a user gives another file, e.g. "--inception_weights".
    """

    what: str
    name: str
    url: str
    sha256: str | None
    flag: str


def existing_file(path, flag):
    """`path` as a pathlib.Path; raises InputError that names the flag if there is no such file."""
    path = pathlib.Path(os.path.expanduser(path))
    if not path.is_file():
        raise InputError(f"{flag}={path}: no such file")
    return path


def find_published(published, cache_dir=None, download=True):
    """The cached file, else a download.

    Args:
        published: `PublishedFile`.
        cache_dir: folder of downloads; None is `files.cache_folder()`.
        download: bool, False never asks the network.

    Returns:
        pathlib.Path of a file with the published SHA-256, where that is known.

    Raises:
        InputError: if the cached file is another, or it is not there and cannot be downloaded; it
            says which file to put where, and the flag.
    """
    cached = pathlib.Path(cache_dir or cache_folder()) / published.name
    if not cached.is_file():
        if not download:
            raise InputError(_by_hand(published, cached, "are not here and downloading is off"))
        _download(published, cached)
        return cached
    if published.sha256 is None:
        return cached
    found = sha256_of(cached)
    if found != published.sha256:
        raise InputError(
            f"{cached}: its SHA-256 is {found[:12]}.., not the published "
            f"{published.sha256[:12]}..; delete it to download it again, or give it with "
            f"{published.flag} if you want these weights"
        )
    return cached


def _by_hand(published, cached, problem):
    return (
        f"{published.what} {problem}: put {published.url} at {cached}, or give a file with "
        f"{published.flag}"
    )


def _download(published, cached):
    """Writes the published file to `cached`, which appears only when whole and right."""
    digest = hashlib.sha256()
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(published.url, timeout=TIMEOUT) as response,
            atomic_path(cached) as temporary,
            temporary.open("wb") as file,
            progress_bar(response.length, "B", published.name, unit_scale=True) as bar,
        ):
            size = response.length
            while block := response.read(BLOCK):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
            if size is not None and file.tell() != size:  # a broken connection is no error of it
                short = f"arrived with {file.tell():,} of {size:,} bytes"
                raise InputError(_by_hand(published, cached, short))
            if published.sha256 not in (None, digest.hexdigest()):
                found = f"{digest.hexdigest()[:12]}.., not {published.sha256[:12]}.."
                raise InputError(_by_hand(published, cached, f"arrived with SHA-256 {found}"))
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        problem = f"cannot be downloaded ({reason})"
        raise InputError(_by_hand(published, cached, problem)) from error


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
        InputError: if huggingface_hub cannot be imported, or the download fails.
    """
    if not str(source).startswith(HUB):
        return pathlib.Path(source)
    user, repo, inside = (*str(source).removeprefix(HUB).strip("/").split("/", 2), "", "")[:3]
    if not user or not repo:
        raise InputError(f"{flag}={source}: give hf:USER/REPO or hf:USER/REPO/SUBFOLDER")
    with extras.needed(f"{flag}={source}", "hub"):
        from huggingface_hub import snapshot_download
    patterns = [inside, *(f"{inside}/{file}" for file in files)] if inside else list(files)
    try:
        local = snapshot_download(f"{user}/{repo}", allow_patterns=patterns)
    except Exception as error:  # of whichever HTTP library the hub's client uses
        raise InputError(f"{flag}={source}: the download failed ({reason(error)})") from None
    return pathlib.Path(local) / inside
