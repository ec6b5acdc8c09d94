"""Packages that only some uses need, and the one line that says how to install them."""

import contextlib
import shlex

from ladagan_tf.errors import InputError, reason

# The optional dependencies of pyproject.toml, which a test compares.
EXTRAS = {
    "gpu": ("tensorflow[and-cuda]>=2.21,<2.22",),
    "lmdb": ("lmdb>=1.6,<4",),
    "export": (
        "onnx>=1.23,<2",
        "tf2onnx>=1.17,<1.18",
        "onnxruntime>=1.31,<2",
        "ai-edge-litert>=2.3,<2.4",
    ),
    "serve": ("fastapi>=0.165,<0.166", "fastapi-offline>=1.7.7,<2", "uvicorn>=0.54,<0.55"),
    "demo": ("gradio>=6.31,<7",),
    "hub": ("huggingface_hub>=0.30",),
    "teacher": ("keras-hub>=0.32,<0.33",),
    "video": ("imageio-ffmpeg>=0.6,<1",),
    "wandb": ("wandb>=0.19,<1",),
}


def install(extra):
    """The command that installs what an extra needs, wherever this package came from: text."""
    return f"pip install {shlex.join(EXTRAS[extra])}"


def install_listed(file):
    """The command that installs what a requirements file lists, as text.

    Args:
        file: path.
    """
    return f"pip install -r {shlex.quote(str(file))}"


@contextlib.contextmanager
def needed(what, extra):
    """For a block that imports what `what` needs of `extra`, and does nothing else.

    Not `ImportError` alone: a package may be here without a library of the system, or beside
    versions of others that it does not go with.

    Raises:
        InputError: if the block raises anything.
    """
    try:
        yield
    except Exception as error:
        raise InputError(
            f"{what}: it needs packages that cannot be imported here ({reason(error)}): "
            f"{install(extra)}"
        ) from error
