"""LadaGAN, GAT and CAT, transformer GANs that make an image in one step, in TensorFlow and Keras 3.

Importing the package after Keras registers its layers and models, so that
`keras.saving.load_model` finds them; `import ladagan_tf.models.registered` does it in any order.
Without Keras it imports nothing: the worker processes of `prepare`, and `--help`, need no network.
What computes is imported when it is asked for:

    generator, about = ladagan_tf.load("emoji64")
"""

import importlib
import sys

__version__ = "0.1.0"
# Name -> the module that has it; __init__.pyi tells them to type checkers.
_OFFERED = {
    "load": "ladagan_tf.sampling.opening",
    "image_dataset_from_generator": "ladagan_tf.sampling.stream",
}

if sys.platform == "win32":  # else the first of these that is missing would be named
    raise ImportError(
        "ladagan_tf takes locks of files and signals as POSIX has them: on Windows run it in WSL"
    )
if "keras" in sys.modules:
    from ladagan_tf.models import registered as registered


def offering(package: str, offered: dict):
    """A package's `__getattr__` and `__dir__`: it has names before it imports their modules.

    Args:
        package: str, its name.
        offered: dict, from names to the modules that have them, imported at the first use.
    """

    def get(name):
        if name not in offered:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(offered[name]), name)

    return get, lambda: sorted({*vars(sys.modules[package]), *offered})


__getattr__, __dir__ = offering(__name__, _OFFERED)
