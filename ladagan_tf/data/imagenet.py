"""ImageNet's 1,000 classes in words, as TensorFlow Datasets lists them (Apache-2.0)."""

import ast
import importlib.util
import pathlib

# Within the package, which is not imported: that would import TensorFlow and take seconds.
IDENTIFIERS = "datasets/imagenet2012/labels.txt"  # of WordNet, as n01440764
WORDS = ("datasets/siscore/labels.py", "IMAGENET_LABELS_LIST")  # in the same order


def in_words(classes):
    """Names of classes; if they are ImageNet's identifiers, in their order, their words for them.

    Args:
        classes: sequence of text.

    Returns:
        Tuple of as many texts, as "tench, Tinca tinca" for "n01440764".
    """
    classes = tuple(classes)
    if len(classes) != 1000 or classes[0] != "n01440764":
        return classes
    try:
        (place,) = importlib.util.find_spec("tensorflow_datasets").submodule_search_locations
        identifiers = (pathlib.Path(place) / IDENTIFIERS).read_text(encoding="utf-8").split()
        words = _assigned(pathlib.Path(place) / WORDS[0], WORDS[1])
    except (OSError, StopIteration, AttributeError, ValueError):  # another version of TFDS
        return classes
    return tuple(words) if (list(classes), len(words)) == (identifiers, 1000) else classes


def _assigned(path, name):
    """The value of a literal that a module assigns to a name, without running the module."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return next(
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(t) for t in node.targets] == [name]
    )
