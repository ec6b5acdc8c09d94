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
# Name -> the module that has it, imported at its first use.
_OFFERED = {"load": "ladagan_tf.sampling.opening"}

if "keras" in sys.modules:
    from ladagan_tf.models import registered as registered


def __getattr__(name):
    """What `_OFFERED` names, from its module."""
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_OFFERED[name]), name)


def __dir__():
    return sorted({*globals(), *_OFFERED})
