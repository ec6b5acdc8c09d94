"""Flagfiles: those that ship as configs, and command lines with the lines of files in their place.

A flagfile has a flag a line; lines that begin with # are comments. In a flagfile that ships, other
flagfiles are those that ship, wherever it is read from: `configs/` is part of the package.
"""

import difflib
import os
import pathlib
import re

from ladagan_tf.errors import InputError, reason

CONFIGS = pathlib.Path(__file__).resolve().parent / "configs"
FILES = ("flagfile", "config")  # the flags that name one


def names():
    """Names of the configs that ship, as `cifar10` and `studies/attention`: list of str."""
    return sorted(str(p.relative_to(CONFIGS).with_suffix("")) for p in CONFIGS.glob("**/*.cfg"))


def listing():
    """Every config that ships with the first sentence of its header: text."""
    lines = []
    for name in names():
        header = (CONFIGS / f"{name}.cfg").read_text(encoding="utf-8").partition("\n--")[0]
        text = [line for line in header.splitlines() if not line.startswith("#   ")]
        said = " ".join(line.removeprefix("#").strip() for line in text)  # no commands
        sentence = re.match(r".+?((?<!Sec)[.:](?= [A-Z(]|$)|[?](?= |$))", said)
        lines.append(f"{name:<21} {sentence[0].rstrip(':') if sentence else said}")
    return "\n".join(lines)


def find(name, flag):
    """The file of a config that ships, or of any flagfile: pathlib.Path.

    Args:
        name: str, of one that ships, or a path of a file.
        flag: str, the name of the flag that says so.

    Raises:
        InputError: if there is neither.
    """
    for path in (CONFIGS / f"{name}.cfg", pathlib.Path(name)):
        if path.is_file():
            return path
    wanted = str(name).removesuffix(".cfg").removeprefix("configs/")
    similar = difflib.get_close_matches(wanted, names(), 1)
    hint = f"did you mean {similar[0]}?" if similar else "train --config=list lists those that ship"
    there = "that is a folder" if name and pathlib.Path(name).is_dir() else "there is no such file"
    raise InputError(f"--{flag}={name}: no such config ships, and {there}; {hint}")


def parts(word):
    """The flag that a word of a command line is: (its name, its value or None if it has none).

    One dash or two are the same. The name of what is no flag is empty.
    """
    name, equals, value = word.lstrip("-").partition("=") if word[:1] == "-" else ("", "", "")
    return name, value if equals else None


def given(words):
    """What a command line, the program's name first, says of flagfiles.

    Returns:
        List of (index of the word, name of the flag, its value, index of the next word), in order.
    """
    found, i = [], 1
    while i < len(words) and words[i] != "--":
        start, (name, value) = i, parts(words[i])
        i += 1
        if name in FILES:
            if value is None:
                value = words[i] if i < len(words) else ""
                i += 1
            found.append((start, name, value, i))
    return found


def paths(words):
    """The flagfiles that a command line, the program's name first, names: list of pathlib.Path."""
    return [_path(name, value) for _, name, value, _ in given(words)]


def expanded(words):
    """A command line with the lines of each flagfile in its place.

    Args:
        words: list of str, the program's name first.

    Returns:
        List of str without --flagfile and --config.

    Raises:
        InputError: for a file that cannot be read, or that includes itself.
    """
    return _expanded(words, ())


def _path(name, value, inside=()):
    if name == "config":
        return find(value, name)
    if not value:
        raise InputError(f"--{name}=: give a file")
    path = pathlib.Path(os.path.expanduser(value))
    if inside and inside[-1].is_relative_to(CONFIGS.resolve()):
        return CONFIGS.parent / path
    shipped = value.removeprefix("configs/").removesuffix(".cfg")
    if not path.exists() and shipped in names():
        raise InputError(f"--flagfile={value}: there is no such file here; give --config={shipped}")
    return path


def _expanded(words, inside):
    lines, after = words[:1], 1
    for start, name, value, following in given(words):
        lines += words[after:start]
        after = following
        path = _path(name, value, inside)
        if path.resolve() in inside:
            raise InputError(f"--{name}={value}: it includes itself")
        lines += _expanded(["", *_lines(path, f"--{name}={value}")], (*inside, path.resolve()))[1:]
    return lines + words[after:]


def _lines(path, said):
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors of Windows begin with a mark
    except UnicodeDecodeError as error:
        raise InputError(f"{said}: it is no text in UTF-8 ({reason(error)})") from None
    except OSError as error:
        raise InputError(f"{said}: {error.strerror}") from None
    stripped = map(str.strip, text.splitlines())
    return [line for line in stripped if line and not line.startswith(("#", "//"))]
