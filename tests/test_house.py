"""The package's rooms: who may import whom, who reads flags, what every public function says.

Read from the source with `ast`; nothing of the package is imported.
"""

import ast
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = "ladagan_tf"
# Imports point up this list, never down it or sideways: rooms of one line do not know each other.
STOREYS = (
    {"", "errors"},  # "": what `import ladagan_tf` runs
    {"files", "hardware", "stopping"},
    {"models"},
    {"weights", "data", "runs", "pictures", "devices"},
    {"sampling"},
    {"evaluation", "cost", "exporting", "serving"},
    {"training", "studies"},
    {"systems", "official"},
    {"flags"},
    {"command"},
    {"verbs"},
)
VERBS = {
    "convert", "demo", "evaluate", "export", "generate", "prepare", "serve", "study", "train",
    "train_classifier", "train_vae",
}  # fmt: skip
READ_FLAGS = {"systems", "flags", "command", "verbs"}
KERAS_MAY_BE_ABSENT = "registered"  # `import ladagan_tf` imports it where Keras is there already


def sources():
    """Module name -> path, for the package and the two scripts beside it."""
    found = {}
    for path in (*(ROOT / PACKAGE).rglob("*.py"), ROOT / "train.py", ROOT / "evaluate.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts).removesuffix(".__init__")] = path
    return found


SOURCES = sources()
TREES = {name: ast.parse(path.read_text()) for name, path in SOURCES.items()}


def imports(tree, top_level_only=False):
    """Names of the modules that a module imports; of ours, down to the file."""
    nodes = tree.body if top_level_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield whole if whole in SOURCES else node.module


def room(module):
    first = module.removeprefix(PACKAGE).removeprefix(".").split(".")[0]
    return "verbs" if first in VERBS else first


def storey(module):
    (number,) = (i for i, rooms in enumerate(STOREYS) if room(module) in rooms)
    return number


def ours(module):
    return [name for name in imports(TREES[module]) if name in SOURCES]


def test_every_module_has_a_room():
    rooms = set().union(*STOREYS)
    assert {room(module) for module in SOURCES} == rooms


@pytest.mark.parametrize("module", sorted(SOURCES))
def test_imports_point_up(module):
    for imported in ours(module):
        if room(imported) == room(module) != "verbs" or imported.endswith(KERAS_MAY_BE_ABSENT):
            continue
        assert storey(imported) < storey(module), f"{module} imports {imported}"


def test_no_imports_go_in_a_circle():
    done, open_ = set(), []

    def visit(module):
        assert module not in open_, " -> ".join([*open_[open_.index(module) :], module])
        if module in done:
            return
        open_.append(module)
        for imported in ours(module):
            if not imported.endswith(KERAS_MAY_BE_ABSENT):
                visit(imported)
        open_.pop()
        done.add(module)

    for module in SOURCES:
        visit(module)


@pytest.mark.parametrize("module", sorted(m for m in SOURCES if room(m) not in READ_FLAGS))
def test_library_rooms_read_no_flags(module):
    assert not [name for name in imports(TREES[module]) if name.split(".")[:2] == ["absl", "flags"]]
    assert "FLAGS" not in {n.id for n in ast.walk(TREES[module]) if isinstance(n, ast.Name)}


def without_keras(module, seen):
    """What a module needs before any of its functions is called."""
    if module in seen:
        return set()
    seen.add(module)
    parents = {module.rpartition(".")[0]} & SOURCES.keys()
    needed = {*imports(TREES[module], top_level_only=True), *parents}
    found = {name.split(".")[0] for name in needed - SOURCES.keys()}
    return found.union(*(without_keras(name, seen) for name in needed & SOURCES.keys()))


@pytest.mark.parametrize(
    "module",
    [
        "ladagan_tf",
        "ladagan_tf.command",
        "ladagan_tf.data.conversion",  # of prepare's worker processes
        "ladagan_tf.data.sources",
        *sorted(m for m in SOURCES if room(m) in ("flags", "systems")),  # of --help
    ],
)
def test_it_is_imported_without_tensorflow_and_keras(module):
    assert without_keras(module, set()).isdisjoint({"tensorflow", "keras", "tensorflow_datasets"})


def parameters(node):
    """Names of what a function takes; none of a class, whose fields its docstring lists."""
    if isinstance(node, ast.ClassDef):
        return []
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [a.arg for a in arguments if a.arg not in ("self", "cls")]


def public_functions():
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                yield pytest.param(node, id=f"{module}.{node.name}")
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                yield pytest.param(node, id=f"{module}.{node.name}")


@pytest.mark.parametrize("node", list(public_functions()))
def test_what_is_public_says_what_it_is(node):
    assert ast.get_docstring(node)


TAKE_MUCH = [case for case in public_functions() if len(parameters(case.values[0])) >= 3]


@pytest.mark.parametrize("node", TAKE_MUCH)
def test_what_takes_much_names_it(node):
    """Each of three parameters or more, or where they are explained: "see `another`"."""
    text = ast.get_docstring(node)
    unnamed = [name for name in parameters(node) if not re.search(rf"\b{name}\b", text)]
    assert not unnamed or re.search(r"\b([Ss]ee|[Aa]s|of) `", text), unnamed
