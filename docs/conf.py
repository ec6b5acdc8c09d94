"""Settings of the site: `sphinx-build -W --keep-going -b html docs build/docs`.

It needs `docs/requirements.txt` and nothing else: the API reference is read from the source, which
is not imported.
"""

import pathlib
import re
import shutil

ROOT = pathlib.Path(__file__).resolve().parents[1]

project = "ladagan_tf"
copyright = "The ladagan_tf developers, Apache-2.0"
extensions = ["myst_nb", "sphinx.ext.napoleon", "autoapi.extension"]
html_theme = "furo"
html_title = "ladagan_tf"
html_copy_source = False

# Sphinx renders only what lies below its own folder; the copy is not committed.
shutil.copytree(ROOT / "notebooks", ROOT / "docs" / "notebooks", dirs_exist_ok=True)
# The page that index.md says how to make, if that was done: it takes TensorFlow, and this does not.
# What is in docs/site is copied beside Sphinx's own files.
LIVE = "emoji64/index.html"
html_extra_path = ["site"] if (ROOT / "docs" / "site" / LIVE).is_file() else []
nb_execution_mode = "off"  # a test executes them
myst_heading_anchors = 3

# "Returns:" says what, without a type before a colon.
napoleon_custom_sections = [("Call arguments", "params_style"), "Returns"]

autoapi_dirs = [str(ROOT / "ladagan_tf")]
autoapi_root = "api"
autoapi_add_toctree_entry = False  # index.md has it
autoapi_member_order = "bysource"
autoapi_python_class_content = "both"
autoapi_options = ["members", "show-inheritance", "show-module-summary"]
# Names assigned several at a time, or inside an `if`, exist, but autoapi does not see them.
suppress_warnings = ["autoapi.python_import_resolution"]


def setup(app):
    app.connect("source-read", with_live_page)
    app.connect("source-read", modules_as_list)
    app.connect("source-read", beside_their_page)
    app.connect("autoapi-skip-member", keep_rooms)
    app.connect("autodoc-process-docstring", as_written, priority=400)  # before napoleon


def with_live_page(app, docname, source):
    """What leads to the page, where a document has its place marked and it is there."""
    link = f'<a href="{LIVE}">Try it here: images are made in this browser.</a>'
    source[0] = source[0].replace("<!-- live page -->", link if html_extra_path else "")


def modules_as_list(app, docname, source):
    """A package's page says of each of its modules what it is, and a module's leads back to it.

    They are not in the sidebar: all 250 are nine tenths of each page, and two thirds of a build.
    """
    if not docname.startswith("api/"):
        return
    text = re.sub(r"^\.\. toctree::\n.*\n\n", "", source[0], flags=re.M)
    text = re.sub(r"^   /(api/\S+)$", item_of(app), text, flags=re.M)
    if docname != "api/ladagan_tf/index":
        parent = docname.split("/")[1:-2]
        back = f"In :doc:`{'.'.join(parent)} </api/{'/'.join(parent)}/index>`."
        text = ":orphan:\n\n" + text.replace(".. py:module::", f"{back}\n\n.. py:module::", 1)
    source[0] = text


def item_of(app):
    """What makes an item of such a list from the match of a module's page."""

    def item(page):
        name = page[1].removeprefix("api/").removesuffix("/index").replace("/", ".")
        module = app.env.autoapi_all_objects[name]
        summary = module.docstring.strip().partition("\n\n")[0].replace("\n", " ")
        return f"- :doc:`{module.short_name} </{page[1]}>`: {summary}"

    return item


def beside_their_page(app, docname, source):
    """Nor is a study's table in the sidebar, which has its page, of the same name."""
    if docname.startswith("studies/") and docname.endswith("/table"):
        source[0] = f"---\norphan: true\n---\n\n{source[0]}"


def keep_rooms(app, what, name, obj, skip, options):
    """Packages stay, though some have no docstring: what is in them would go with them."""
    private = name.rsplit(".", 1)[-1].startswith("_")
    return False if what in ("package", "module") and not private else skip


def as_written(app, what, name, obj, options, lines):
    """Docstrings are plain text with `code`: no sign but the backtick means anything in them.

    An indented block between blank lines is shown as it is.
    """
    names = r"^(    [\w, ]+,)\n +"  # of one item, on two lines
    text = re.sub(names, r"\1 ", "\n".join(lines), flags=re.M)
    written, literal, before = [], False, ""  # before: the last line with text
    for line in text.split("\n"):
        if line.strip():
            opens = line.startswith(" ") and not before.startswith(" ") and written[-1:] == [""]
            literal = line.startswith(" ") and (literal or opens)
            written += ["::", ""] if opens else []
            before = line
        written.append(line if literal else escaped(line))
    lines[:] = written


def escaped(line):
    """A line in which code is literal and everything else is text."""
    parts = line.split("`")
    for i in range(0, len(parts), 2):  # every second part is code
        parts[i] = re.sub(r"([*|\\]|(?<=\w)_(?!\w))", r"\\\1", parts[i])
        if i and parts[i][:1].isalnum():  # `code`s
            parts[i] = "\\ " + parts[i]
    return "``".join(parts)
