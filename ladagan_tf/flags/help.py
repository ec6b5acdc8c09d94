"""What `--help`, `--version`, `--config=list` and `--model=zoo:` answer, without TensorFlow.

-h, --help   the command's flags in groups, each with its default; of several systems the chosen one
--help=all   those of all systems, and absl's own
"""

import contextlib
import operator
import textwrap

from absl import flags

from ladagan_tf import __version__, flagfiles, zoo
from ladagan_tf.decimals import plain
from ladagan_tf.errors import InputError
from ladagan_tf.flags.common import asks_for_the_zoo

FLAGS = flags.FLAGS
SHORT = ("-h", "-help", "--help", "-helpshort", "--helpshort")
FULL = ("-help=all", "--help=all", "-helpfull", "--helpfull")
VALUES = {"bool": None, "int": "N", "float": "X", "comma separated list of strings": "A,B,..."}
WIDTH = 88


def answer(verb, called, words, doc):
    """What a command line asks to be told instead of running: text; None if it asks nothing.

    Args:
        verb: module of `ladagan_tf.flags` whose flags are defined.
        called: str, how the command is called.
        words: list of str, the command line, the program's name first.
        doc: str, what the command is; None under `python -OO`.

    Raises:
        InputError: for a flagfile that cannot be read.
    """
    asked = set(words[1 : words.index("--")] if "--" in words else words[1:])
    if asked & {"-version", "--version"}:
        return f"ladagan_tf {__version__}"
    if asked.intersection(SHORT + FULL):
        others = [word for word in words if word not in SHORT + FULL]
        return text(verb, called, others, doc, everything=not asked.isdisjoint(FULL))
    if "config" in FLAGS and ("config", "list") in [g[1:3] for g in flagfiles.given(words)]:
        return flagfiles.listing()
    if "model" in FLAGS and asks_for_the_zoo(words):
        return zoo.listing()
    return None


def text(verb, called, words, doc, everything=False):
    """The help of a command.

    Args:
        verb, called, words, doc: see `answer`.
        everything: bool, also what the chosen system does not have, and absl's own flags.
    """
    hidden, defaults, unconfirmed, note = set(), {}, set(), None
    if hasattr(verb, "shown"):
        with contextlib.suppress(InputError):  # what is wrong with it is for a start to say
            words = flagfiles.expanded(words)
        hidden, defaults, unconfirmed, note = verb.shown(words)
    key = {flag.name for flag in FLAGS.get_key_flags_for_module(verb)}
    groups = {"Flags": []}  # of no group: first
    for flag in map(FLAGS.__getitem__, FLAGS):
        if flag.name in key and (everything or flag.name not in hidden):
            groups.setdefault(vars(flag).get("group", "Flags"), []).append(flag)
    if everything:
        groups["Of absl"] = [flag for flag in map(FLAGS.__getitem__, FLAGS) if flag.name not in key]
    lines = [(doc or called).strip(), "", f"usage: {called} [--flag=value ...]"]
    if note and not everything:
        lines += [f"       {note}"]
    lines += ["       --help=all lists everything, --flagfile=FILE reads flags from a file"]
    for title, members in filter(operator.itemgetter(1), groups.items()):
        lines += ["", f"{title}:"]
        for flag in members:
            default = defaults.get(flag.name, flag.default)
            lines += _described(flag, default, flag.name in unconfirmed)
    return "\n".join(lines)


def _described(flag, default, unconfirmed):
    kind, parser = flag.flag_type(), flag.parser
    value = "|".join(getattr(parser, "enum_values", ())) or VALUES.get(kind, "TEXT")
    head = f"  --{flag.name}={value}" if value else f"  --[no]{flag.name}"
    limits = [f"{word} {plain(bound)}" for word, bound in _bounds(parser)]
    if default not in (None, "", []):
        limits.append(f"default {_shown(default)}")
    if unconfirmed:
        limits.append("unconfirmed")
    if limits:
        head += f"  ({', '.join(limits)})"
    indent, said = " " * 6, flag.help.removeprefix(f"<{value}>: ")  # which absl puts before enums
    wrapper = textwrap.TextWrapper(
        WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
    )
    return [head, *wrapper.wrap(said)]


def _bounds(parser):
    """("from", lowest) and ("to", highest) of numbers that have such bounds within reason."""
    for word, name in (("from", "lower_bound"), ("to", "upper_bound")):
        bound = getattr(parser, name, None)
        if bound is not None and bound < 2**32:
            yield word, bound


def _shown(default):
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, list | tuple):
        return ",".join(map(str, default))
    return plain(default) if isinstance(default, float) else str(default)
