"""Which files of a folder or a zip are images, of which class, and why the others are left out.

Names only: nothing is decoded here. Every file ends in one of two places, the items or `left_out`.
"""

import collections
import dataclasses
import errno
import functools
import os
import posixpath
import re
import stat

from PIL import Image

from ladagan_tf.data.source import FORMATS, LeftOut, printable
from ladagan_tf.errors import InputError

NO_SPLIT = "none"
# Folders that file servers and operating systems add, with thumbnails or deleted files in them.
_SYSTEM_FOLDERS = {
    "__macosx", "@eadir", "@__thumb", "@tmp", "#recycle", "@recycle", "#snapshot", "$recycle.bin",
    "system volume information", "lost+found",
}  # fmt: skip
_SPLIT = re.compile(
    r"(?P<kind>train(?:ing|[-_]?val)?|val(?:id(?:ation)?)?|test(?:ing)?|dev|eval(?:uation)?"
    r"|extra|hold[-_]?out|unlabell?ed)(?:[-_ ]?(?:set|data|split|images?|imgs?|[0-9]+|[ab]))*",
    re.IGNORECASE,
)
_MOST_REASONS = 20
_LONGEST = 240  # of the reasons in one line, in characters


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images among some files.

    Attributes:
        files: tuple of the keys that stand for them, sorted by name.
        names: tuple of their names, slash-separated and printable.
        labels: tuple of ints, or of None without classes.
        classes: tuple of class names.
        split: str, the split that was chosen; None where there are none.
        left_out: tuple of `LeftOut`.
    """

    files: tuple
    names: tuple[str, ...]
    labels: tuple
    classes: tuple[str, ...]
    split: str | None
    left_out: tuple[LeftOut, ...]


@functools.cache
def image_suffixes():
    """Frozenset of the suffixes, in lower case, of `FORMATS`."""
    known = Image.registered_extensions().items()
    return frozenset(suffix for suffix, kind in known if kind in (*FORMATS, "MPO"))


def files_below(folder):
    """All files below a folder, a pathlib.Path, through links too; every folder is read once.

    Returns:
        Dict, slash-separated name -> the same name; list of (name, reason) of what is left out.

    Raises:
        OSError: if a folder cannot be read.
    """
    files, left_out = {}, []
    seen = {_identity(around) for around in folder.resolve().parents}
    folders, links = [""], []  # links come last, so that a folder goes by its own name
    while folders or links:
        if folders:
            place = folders.pop()
        else:
            links.sort(reverse=True)
            place = links.pop()
        if (identity := _identity(folder / place)) in seen:
            why = "a link to a folder that is read already or lies around this one"
            left_out.append((place.rstrip("/"), why))
            continue
        seen.add(identity)
        entries = list(os.scandir(folder / place))
        if place and not entries:
            left_out.append((place.rstrip("/"), "an empty folder"))
        for entry in entries:
            name = place + entry.name
            if _is_broken(entry):
                left_out.append((name, "a broken link"))
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(name + "/")
            elif entry.is_file():
                files[name] = name
            else:
                left_out.append((name, "no regular file"))
    return files, left_out


def _is_broken(entry):
    """Whether an os.DirEntry is a link that leads nowhere, or back to itself."""
    if entry.is_symlink():
        try:
            entry.stat()
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP):
                return True
            raise
    return False


def _identity(folder):
    status = os.stat(folder)
    return status.st_dev, status.st_ino


def files_in_zip(entries):
    """The files among the `zipfile.ZipInfo`s of a zip; of several of one name, the last.

    Returns:
        Dict, slash-separated name -> the name by which the zip knows it; list of (name, reason) of
        what is left out.
    """
    files, left_out = {}, []
    for entry in entries:
        slashed = entry.filename.replace("\\", "/")
        name = posixpath.normpath(f"/{slashed}").lstrip("/")
        if slashed.endswith("/"):
            continue
        if stat.S_ISLNK(entry.external_attr >> 16):
            left_out.append((name, "a link"))
            continue
        if name in files:
            left_out.append((name, "a later file has the same name"))
        files[name] = entry.filename
    return files, left_out


def arrange(files, left_out, spec, split, is_image):
    """Sorts images from other files, and into classes: a first folder, where files differ in it.

    Folders that merely wrap everything are no classes. Where folders are `train`, `val`, ... the
    images of one of them are taken.

    Args:
        files, left_out: see `files_below`.
        spec: str, the source, for messages.
        split: which split to take; None is the one of training, "none" takes all as they are.
        is_image: function that tells an image by its content, from what stands for a file: asked of
            files without a suffix.

    Returns:
        Listing.

    Raises:
        InputError: if there are no images, images lie beside class folders, or it is not clear
            which split to take.
    """
    inner = {}
    for name in sorted(files):
        if problem := _why_not(name, files[name], is_image):
            left_out.append((name, problem))
        else:
            inner[name] = name.split("/")
    inner = _unwrapped(inner)
    inner, split = _of_split(inner, spec, split, left_out)
    if not inner:
        others = describe(summed_up(left_out))
        raise InputError(f"source={spec}: no image files in it" + (others and f"; {others}"))
    inner = _unwrapped(inner)
    loose = [name for name, parts in inner.items() if len(parts) == 1]
    if 0 < len(loose) < len(inner):
        raise InputError(
            f"source={spec}: {printable(loose[0])} lies beside class folders; put every image in "
            "one subfolder per class, or none"
        )
    classes = () if loose else tuple(sorted({parts[0] for parts in inner.values()}))
    index = {name: label for label, name in enumerate(classes)}
    return Listing(
        tuple(files[name] for name in inner),
        tuple(map(printable, inner)),
        tuple(index.get(parts[0]) for parts in inner.values()),
        tuple(map(printable, classes)),
        split,
        summed_up(left_out),
    )


def why_hidden(name):
    """Why a file is passed over whatever it holds: a system's, or hidden; None if it is neither."""
    for part in name.split("/"):
        if part.lower() in _SYSTEM_FOLDERS:
            return f"in {part}"
        if part.startswith("."):
            return "hidden"
    return None


def _why_not(name, file, is_image):
    """Why a file is no image of the source; None if it is one."""
    if why := why_hidden(name):
        return why
    suffix = posixpath.splitext(name)[1].lower()
    if suffix in image_suffixes() or (not suffix and is_image(file)):
        return None
    return f"suffix {printable(suffix)}" if suffix else "no suffix and no image"


def _unwrapped(inner):
    """Without the folders that wrap everything; `inner`: dict, name -> its parts."""
    while all(len(parts) > 1 for parts in inner.values()):
        if len({parts[0] for parts in inner.values()}) != 1:
            break
        inner = {name: parts[1:] for name, parts in inner.items()}
    return inner


def _of_split(inner, spec, split, left_out):
    """The images of one split, without its folder, and its name; all and None without splits.

    Splits are above the classes or below them.
    """
    if split == NO_SPLIT:
        return inner, None
    seen = set()
    for depth in (0, 1):
        folders = {parts[depth] for parts in inner.values() if len(parts) > depth + 1}
        seen |= folders
        chosen = split if split in folders else None if split else _training_split(folders, spec)
        if chosen is None:
            continue
        kept = {}
        for name, parts in inner.items():
            if len(parts) > depth + 1 and parts[depth] == chosen:
                kept[name] = parts[:depth] + parts[depth + 1 :]
            else:
                place = f"in {parts[depth]}/" if len(parts) > depth + 1 else "in no folder"
                left_out.append((name, f"{printable(place)}, not in the split {chosen}"))
        return kept, chosen
    if split:
        raise InputError(
            f"split={split}: source={spec} has no such folder; it has {_some(seen) or 'none'}"
        )
    return inner, None


def _training_split(folders, spec):
    """Which of some folders is the split for training; None if they are no splits."""
    found = {name: match["kind"].lower() for name in folders if (match := _SPLIT.fullmatch(name))}
    training = [name for name, kind in found.items() if kind.startswith("train")]
    if not training or len(training) == len(found):
        return None
    if len(training) > 1 or len(found) < len(folders):
        raise InputError(
            f"source={spec}: its folders {_some(folders)} seem to be splits; name one by split="
            f"{training[0]}, or give split={NO_SPLIT} to take each for a class"
        )
    return training[0]


def _some(names):
    names = sorted(map(printable, names))
    return ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")


def summed_up(left_out):
    """Tuple of `LeftOut`, most files first; `left_out`: list of (name, reason)."""
    by_reason = collections.defaultdict(list)
    for name, why in left_out:
        by_reason[why].append(name)
    common = sorted(by_reason.items(), key=lambda item: (-len(item[1]), item[0]))
    rest = [name for _, names in common[_MOST_REASONS:] for name in names]
    common = common[:_MOST_REASONS] + ([("another suffix", rest)] if rest else [])
    return tuple(LeftOut.of(why, names) for why, names in common)


def describe(left_out):
    """One line of at most some 300 characters about a tuple of `LeftOut`; "" if it is empty."""
    if not left_out:
        return ""
    said, rest = [], sum(some.count for some in left_out)
    line = f"left out {rest} file{'s' * (rest > 1)}: "
    for some in left_out:
        more = ", ..." * (some.count > 1)
        said.append(f"{some.count} {some.reason} ({_shortened(some.names[0])}{more})")
        if sum(map(len, said)) > _LONGEST:
            said.pop()
            break
        rest -= some.count
    return line + ", ".join(said + [f"{rest} for other reasons"] * (rest > 0))


def _shortened(name):
    return name if len(name) <= 40 else f"{name[:18]}...{name[-18:]}"
