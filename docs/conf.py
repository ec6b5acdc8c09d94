"""Settings of the site: `sphinx-build -W --keep-going -b html docs build/docs`.

It needs `docs/requirements.txt` and nothing else: the API reference is read from the source, which
is not imported.
"""

import pathlib
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
nb_execution_mode = "off"  # a test executes them
myst_heading_anchors = 3

autoapi_dirs = [str(ROOT / "ladagan_tf")]
autoapi_root = "api"
autoapi_add_toctree_entry = False  # index.md has it
autoapi_member_order = "bysource"
autoapi_python_class_content = "both"
autoapi_options = ["members", "show-inheritance", "show-module-summary"]
# Names assigned several at a time, or inside an `if`, exist, but autoapi does not see them.
suppress_warnings = ["autoapi.python_import_resolution"]
