"""README and docs say what is there: command lines, configs, links and the saved help.

Nothing of what they name is run. `python tests/test_docs.py` writes docs/commands/,
docs/commands.md and docs/help.png anew, from the verbs' own `--help`.
"""

import ast
import contextlib
import io
import pathlib
import re
import runpy
import shlex
import sys
import unittest.mock

import pytest
from absl import flags
from browser import described, take_terminal

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))  # as a script, too

from ladagan_tf import command, flagfiles  # noqa: E402
from ladagan_tf.__main__ import commands, main  # noqa: E402
from ladagan_tf.errors import InputError  # noqa: E402
from ladagan_tf.flags import help  # noqa: E402

COMMANDS = ROOT / "docs" / "commands"
INDEX = ROOT / "docs" / "commands.md"
HELP_PICTURE = ROOT / "docs" / "help.png"
# Not what the site's build copies or writes there.
DOCS = sorted(
    p for p in ROOT.glob("docs/**/*.md") if {"notebooks", "api", "site"}.isdisjoint(p.parts)
)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *DOCS]
TAKES_WORDS = {"compare"}  # runs, without a flag
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
SYSTEMS = ("lada", "gat", "cat", "flow")
TRAIN_FLAGS = [
    ROOT / "ladagan_tf" / name
    for name in ("flags/train.py", "flags/common.py", *(f"systems/{s}.py" for s in SYSTEMS))
]


def relative(path):
    return str(path.relative_to(ROOT))


# ------------------------------------------------------------------------------------- verbs


# From a verb's name to its file, relative to the root: what is run as a command.
VERBS = {name: relative(path) for name, path in commands().items()}


class ParsedError(Exception):
    """A verb has come to where it parses its command line, before it imports what computes."""


def with_flags_of(verb, act):
    """What `act(module of flags)` returns when the verb is about to define and parse them."""
    file, before, found = VERBS[verb], set(flags.FLAGS), []

    def parse(module, parser=None):
        module.define()
        found.append(act(module))
        raise ParsedError

    with contextlib.chdir(ROOT), unittest.mock.patch.object(command, "parse", parse):
        try:
            runpy.run_path(file, run_name="__main__")
        except ParsedError:
            return found[0]
        finally:
            flags.FLAGS.unparse_flags()
            for name in set(flags.FLAGS) - before:
                delattr(flags.FLAGS, name)
    raise AssertionError(f"{file} does not call command.parse")


def help_of(verb):
    """What `--help` prints; of several systems all."""

    def usage(module):
        doc = sys.modules["__main__"].__doc__
        systems = [[]]
        if hasattr(module, "shown"):
            systems = [[f"--system={name}"] if i else [] for i, name in enumerate(SYSTEMS)]
        texts = [help.text(module, f"ladagan {verb}", [verb, *given], doc) for given in systems]
        return f"\n\n{'-' * 80}\n\n".join(dict.fromkeys(texts)) + "\n"

    return with_flags_of(verb, usage)


def problems_of(verb, commands):
    """Those (page, arguments) whose flags the verb does not accept, with what it says."""

    def parse(module):
        problems = []
        for page, given in commands:
            # Named, not called; or asked.
            if not given or {"--help", "-h", "--help=all", "--version", "--config=list"} & {*given}:
                continue
            # A study's file is a flagfile, which its command reads first.
            studies = [a.replace("study=", "config=", 1) for a in given if "-study=" in a]
            given = [word for word in given if word.partition("=")[2] not in SUGGESTED]
            flags.FLAGS.unparse_flags()
            for name in flags.FLAGS:
                flags.FLAGS[name].unparse()
            try:
                rest = flags.FLAGS(flagfiles.expanded([VERBS[verb], *studies, *given]))[1:]
                if rest and verb not in TAKES_WORDS:
                    problems.append(f"{page}: {rest} is no flag")
            except (flags.Error, InputError) as error:
                problems.append(f"{page}: {shlex.join(given)}: {error}")
        return problems

    return with_flags_of(verb, parse)


# -------------------------------------------------------------------------- commands of pages


def blocks(text):
    """Lines of fenced and indented blocks, and inline code that is a command."""
    fenced = False
    for line in text.splitlines():
        if line.lstrip().startswith("```"):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield line
        else:
            yield from re.findall(r"`(python [^`]+|pytest [^`]+|ladagan [^`]+)`", line)


def commands_in(text):
    """Every command of Python, pytest or ours in a page, as a list of words."""
    joined = re.sub(r"\\\n\s*", " ", "\n".join(blocks(text)))
    for line in joined.splitlines():
        for part in line.split(" && "):
            match = re.search(r"(?:^|\s)((?:python3?|pytest|ladagan)(?: .*|$))", part)
            if not match:
                continue
            try:
                words = shlex.split(match[1], comments=True)
            except ValueError:  # the last line of a quoted script
                words = shlex.split(match[1].rstrip().removesuffix("'"), comments=True)
            yield words


COMMAND_LINES = [(relative(p), words) for p in PAGES for words in commands_in(p.read_text())]
COMMAND_LINES += [  # of comments, which are indented by three
    (relative(p), words)
    for p in sorted(ROOT.glob("configs/**/*.cfg"))
    for words in commands_in(re.sub("^#", "  ", p.read_text(), flags=re.M))
]


# Flagfiles that a command of the pages writes.
SUGGESTED = {
    word.partition("=")[2]
    for _, words in COMMAND_LINES
    for word in words
    if "suggest" in words and word.startswith("--out=")
}


def target(words):
    """(what it runs, its arguments): a verb, a file, "pytest", or None for what is not ours."""
    if words[0] == "pytest":
        return "pytest", words[1:]
    if words[0] == "ladagan" or words[1:3] == ["-m", "ladagan_tf"]:
        verb, *given = [*(words[1:] if words[0] == "ladagan" else words[3:]), "--help"]
        return (verb if re.fullmatch("[a-z_]+", verb) else None), given[:-1]
    if words[1:2] == ["-m"]:
        module = words[2]
        if module.split(".")[0] != "ladagan_tf":
            return None, []
        return module.removeprefix("ladagan_tf."), words[3:]
    if words[1:2] in ([], ["-c"], ["-"]):
        return None, []
    called = words[1].removesuffix(".py")  # train.py and evaluate.py of a checkout
    return called if called in VERBS else words[1], words[2:]


def test_pages_have_commands_of_every_kind():
    """Guards the search itself: a page's form may change so that nothing is found any more."""
    kinds = [target(words)[0] for _, words in COMMAND_LINES]
    for kind in ("train", "evaluate", "generate", "prepare", "study", "pytest"):
        assert kinds.count(kind) >= 2, kind
    assert len(kinds) > 60


def test_commands_run_what_exists():
    missing = []
    for page, words in COMMAND_LINES:
        what, _ = target(words)
        if what and what != "pytest" and what not in VERBS and not (ROOT / what).is_file():
            missing.append(f"{page}: {shlex.join(words)}")
    assert not missing, "\n".join(missing)


@pytest.mark.parametrize("verb", VERBS)
def test_commands_have_flags_that_exist(verb):
    ours = []
    for page, words in COMMAND_LINES:
        what, given = target(words)
        if what == verb:
            ours.append((page, given))
    problems = problems_of(verb, ours)
    assert not problems, "\n".join(problems)


def test_commands_of_scripts_have_flags_that_exist():
    problems = []
    for page, words in COMMAND_LINES:
        what, given = target(words)
        if not what or not what.startswith(("benchmarks/", "examples/")):
            continue
        scripts = [what, *(f"benchmarks/{word}" for word in given)]  # compare.py runs another
        known = set().union(*(flags_in(ROOT / s) for s in scripts if (ROOT / s).is_file()))
        names = [re.match(r"--?(\w+)", word) for word in given]
        problems += [f"{page}: {what} {n[0]}" for n in names if n and n[1] not in known]
    assert not problems, "\n".join(problems)


def flags_in(script):
    """Names of the flags that a script defines itself, read without importing it."""
    names = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "train_flags.define":
            names |= {"flagfile"}.union(*map(flags_in, TRAIN_FLAGS))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "study_flags.define":
            names |= flags_in(ROOT / "ladagan_tf/flags/study.py")
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = ast.unparse(node.func).rsplit(".", 1)[-1]
            if called == "add_argument" or called.startswith("DEFINE_"):
                names.add(str(node.args[0].value).lstrip("-"))
    return names


def test_commands_of_pytest_name_tests_and_options_that_exist(pytestconfig):
    problems = []
    for page, words in COMMAND_LINES:
        what, given = target(words)
        for word in given if what == "pytest" else ():
            option = word.removeprefix("--").split("=")[0].replace("-", "_")
            if word.startswith("--"):
                known = hasattr(pytestconfig.option, option)
            elif word.startswith("tests"):
                known = any(ROOT.glob(word))
            else:
                known = True
            problems += [] if known else [f"{page}: pytest {word}"]
    assert not problems, "\n".join(problems)


def test_configs_that_pages_name_exist():
    missing = []
    for page in PAGES:
        for name in re.findall(r"configs/[\w/]+\.cfg", page.read_text()):
            missing += [] if (ROOT / name).is_file() else [f"{relative(page)}: {name}"]
    assert not missing, "\n".join(missing)


# ------------------------------------------------------------------------------- code, named


def defined_in(file):
    """Names of the functions, classes and methods of a file, and of what it assigns or imports."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
    return names


def test_files_and_functions_that_pages_name_exist():
    """As `data/records.py` or `training/lada.py: discriminator_loss`."""
    missing = []
    for page in PAGES:
        for path, name in re.findall(r"`((?:\w+/)+\w+\.py)(?:: ([\w.]+))?`", page.read_text()):
            files = [folder / path for folder in (ROOT / "ladagan_tf", ROOT)]
            file = next((file for file in files if file.is_file()), None)
            if not file or (name and not set(name.split(".")) <= defined_in(file)):
                missing.append(f"{relative(page)}: {path} {name}")
    assert not missing, "\n".join(missing)


def test_imports_that_pages_show_exist():
    missing = []
    for page in PAGES:
        for module, name in re.findall(
            r"from (ladagan_tf[\w.]*) import (\w+)", "\n".join(blocks(page.read_text()))
        ):
            place = ROOT / module.replace(".", "/")
            files = place.with_suffix(".py"), place / "__init__.py"
            known = {n for file in files if file.is_file() for n in defined_in(file)}
            known |= {path.stem for path in place.glob("*") if (path / "__init__.py").is_file()}
            if name not in known:
                missing.append(f"{relative(page)}: {module} {name}")
    assert not missing, "\n".join(missing)


# ------------------------------------------------------------------------------- links, pages


def links(page):
    """Relative links of a page outside its code blocks: (path or empty, anchor or empty)."""
    text = re.sub(r"^```.*?^```", "", page.read_text(), flags=re.S | re.M)
    for link in LINK.findall(text):
        if not re.match(r"[a-z]+:", link):
            path, _, anchor = link.partition("#")
            yield path, anchor


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.M)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=relative)
def test_relative_links_resolve(page):
    broken = []
    for path, anchor in links(page):
        linked = page.parent / path if path else page
        if not linked.exists() or (anchor and anchor not in anchors(linked)):
            broken.append(f"{path}#{anchor}" if anchor else path)
    assert not broken, f"{relative(page)}: {broken}"


def test_every_page_is_linked_from_the_readme_or_the_index():
    entries = [ROOT / "README.md", ROOT / "docs" / "index.md"]
    linked = {(page.parent / path).resolve() for page in entries for path, _ in links(page) if path}
    missing = [p for p in DOCS if p not in linked and p.parent.parent != ROOT / "docs" / "studies"]
    assert not [relative(p) for p in missing if p.name != "index.md"]


def test_every_page_is_part_of_the_site():
    index = ROOT / "docs" / "index.md"
    trees = re.findall(r"^```\{toctree\}\n(.*?)^```", index.read_text(), flags=re.S | re.M)
    listed = {line for tree in trees for line in tree.splitlines()}
    tables = {p for p in DOCS if p.name == "table.md"}  # not in the sidebar, see docs/conf.py
    named = {str(p.relative_to(ROOT / "docs").with_suffix("")) for p in {*DOCS} - tables} - {
        "index"
    }
    named |= {f"notebooks/{p.stem}" for p in ROOT.glob("notebooks/*.ipynb")}
    assert not named - listed
    linked = {(page.parent / path).resolve() for page in DOCS for path, _ in links(page)}
    assert not tables - linked


def test_the_readme_is_a_page_long():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


# --------------------------------------------------------------------------------- saved help


def index_of_commands():
    """docs/commands.md: every verb, what it does, and what its --help prints."""
    with contextlib.redirect_stdout(io.StringIO()) as listed:
        main(["--help"])
    lines = [
        "# Commands",
        "",
        "What `--help` prints, saved; `python tests/test_docs.py` writes this page and the files",
        "anew, and a test compares. `python -m ladagan_tf` does what `ladagan` does, in a checkout",
        "without installing it; there `python train.py` and `python evaluate.py` do as well.",
        "",
        "```text",
        listed.getvalue().rstrip(),
        "```",
        "",
    ]
    for verb in VERBS:
        lines += [
            f"## {verb}",
            "",
            f"`ladagan {verb} --help` ([{verb}.txt](commands/{verb}.txt))",
            "",
            f"```{{literalinclude}} commands/{verb}.txt",
            ":language: text",
            "```",
            "",
        ]
    return "\n".join(lines[:-1]) + "\n"


@pytest.mark.parametrize("verb", VERBS)
def test_the_saved_help_is_what_the_verb_says(verb):
    again = "write it again: python tests/test_docs.py"
    assert (COMMANDS / f"{verb}.txt").read_text() == help_of(verb), again


def test_help_is_saved_of_every_verb_and_of_nothing_else():
    again = "write it again: python tests/test_docs.py"
    assert {p.name for p in COMMANDS.iterdir()} == {f"{verb}.txt" for verb in VERBS}, again
    assert INDEX.read_text() == index_of_commands(), again


def test_the_picture_of_help_shows_its_beginning():
    assert described(HELP_PICTURE) == help_pictured(), "take it again: python tests/test_docs.py"


def help_pictured():
    """What docs/help.png shows: the first 40 lines."""
    return "\n".join(["$ ladagan train --help", *help_of("train").splitlines()[:40]])


def rewrite():
    COMMANDS.mkdir(exist_ok=True)
    for stale in COMMANDS.glob("*.txt"):
        stale.unlink()
    for verb in VERBS:
        (COMMANDS / f"{verb}.txt").write_text(help_of(verb))
    INDEX.write_text(index_of_commands())
    take_terminal(help_pictured(), HELP_PICTURE)
    print(f"{relative(COMMANDS)}: {', '.join(VERBS)}")


if __name__ == "__main__":
    rewrite()
