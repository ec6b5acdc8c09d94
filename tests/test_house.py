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
    {"", "decimals", "errors"},  # "": what `import ladagan_tf` runs
    {"extras", "files", "flagfiles", "hardware", "progress", "slurm", "stopping", "untrusted"},
    {"charts", "locks", "zoo"},
    {"models"},
    {"weights", "data", "runs", "pictures", "devices"},
    {"sampling"},
    {"evaluation", "cost", "serving", "reports"},
    {"training", "studies", "exporting"},
    {"systems", "official"},
    {"flags"},
    {"command"},
    {"verbs"},
    {"__main__"},
)
VERBS = {
    "average", "compare", "convert", "demo", "evaluate", "export", "generate", "prepare", "project",
    "serve", "study", "suggest", "train", "train_classifier", "train_vae",
}  # fmt: skip
READ_FLAGS = {"systems", "flags", "command", "verbs"}
KERAS_MAY_BE_ABSENT = "registered"  # `import ladagan_tf` imports it where Keras is there already


def sources():
    """Module name -> path of the package."""
    found = {}
    for path in (ROOT / PACKAGE).rglob("*.py"):
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


def test_nothing_is_checked_by_asserts_which_python_may_leave_out():
    nodes = ((name, node) for name, tree in TREES.items() for node in ast.walk(tree))
    assert [name for name, node in nodes if isinstance(node, ast.Assert)] == []


# First parts of names that are no modules of ours: libraries, and what a function was given.
OF_OTHERS = {
    "argparse", "keras", "safetensors", "tensorflow_gan", "tf", "torch", "zipfile",
    "discriminator", "generator", "model", "network", "run",
}  # fmt: skip


def test_what_a_text_refers_to_in_another_module_is_there():
    """`module.name` in a docstring or comment; names of files and of classes are passed over."""
    lost = []
    for module, path in SOURCES.items():
        for name in re.findall(r"`([a-z_]+(?:\.\w+)+)`", path.read_text()):
            first, (place, _, last) = name.split(".")[0], name.rpartition(".")
            if first in OF_OTHERS or re.search(
                r"\.(py|pyi|jsonl?|cfg|npz|npy|keras|md|\w?html)$", name
            ):
                continue
            whole = [m for m in SOURCES if f".{m}".endswith(f".{name}")]
            here = [m for m in SOURCES if f".{m}".endswith(f".{place}")]
            said = (re.search(rf"\b{last}\b", SOURCES[m].read_text()) for m in here)
            if not whole and not any(said):
                lost.append(f"{module}: {name}")
    assert lost == []


def test_files_of_tests_have_names_of_their_own():
    """Without packages in `tests`, pytest takes two files of one name for the same module."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert not {name for name in names if names.count(name) > 1}


def test_imports_point_up():
    wrong = []
    for module in SOURCES:
        for imported in ours(module):
            if room(imported) == room(module) != "verbs" or imported.endswith(KERAS_MAY_BE_ABSENT):
                continue
            if storey(imported) >= storey(module):
                wrong.append(f"{module} imports {imported}")
    assert wrong == []


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


def test_whoever_reads_a_network_knows_the_classes_of_all():
    registered = f"{PACKAGE}.models.registered"
    readers = {m for m, path in SOURCES.items() if "deserialize_keras_object(" in path.read_text()}
    assert readers and [m for m in readers - known(registered) if registered not in known(m)] == []
    ours = {m for m, path in SOURCES.items() if "register_keras_serializable(" in path.read_text()}
    assert ours and ours - known(registered) == set()


def known(module):
    """A module, what it imports of ours at its top, and what that does."""
    found, todo = set(), [module]
    while todo:
        module = todo.pop()
        found.add(module)
        todo += set(imports(TREES[module], top_level_only=True)) & SOURCES.keys() - found
    return found


@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_scripts_beside_the_package_only_call_it(name):
    source = (ROOT / f"{name}.py").read_text()
    assert {*imports(ast.parse(source))} == {"sys", f"{PACKAGE}.__main__"}
    assert f'main(["{name}", *sys.argv[1:]])' in source


def test_library_rooms_read_no_flags():
    """Nor define any."""
    for module in (m for m in SOURCES if room(m) not in READ_FLAGS):
        nodes = [*ast.walk(TREES[module])]
        used = {n.id for n in nodes if isinstance(n, ast.Name)}
        used |= {n.attr for n in nodes if isinstance(n, ast.Attribute)}
        assert not [name for name in used if name == "FLAGS" or name.startswith("DEFINE_")], module


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
        "ladagan_tf.__main__",
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


def public():
    """Names and nodes of the functions and classes that other modules may use."""
    for module, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name[0] != "_":
                yield f"{module}.{node.name}", node


def test_what_is_public_says_what_it_is():
    assert [name for name, node in public() if not ast.get_docstring(node)] == []


def test_what_takes_three_parameters_or_more_names_them():
    """Each of them, or where they are explained: "see `another`"."""
    unnamed = {}
    for name, node in public():
        taken, text = parameters(node), ast.get_docstring(node)
        missing = [parameter for parameter in taken if not re.search(rf"\b{parameter}\b", text)]
        if len(taken) >= 3 and missing and not re.search(r"\b([Ss]ee|[Aa]s|of) `", text):
            unnamed[name] = missing
    assert unnamed == {}
