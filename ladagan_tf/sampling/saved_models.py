"""SavedModels, ours and others', as samplers: what one takes and makes is tried, not believed."""

import hashlib
import os
import pathlib

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.files import sha256_of
from ladagan_tf.sampling.sampler import PROBES, Sampler, checked_side

MOST_NOISE = 2**20  # size of one latent


def load_saved_model(path: pathlib.Path, psi: float = 1.0, guidance: float = 1.0) -> Sampler:
    """A generator that a SavedModel holds, after its signature was tried on latents.

    Args:
        path: the folder.
        psi, guidance: see `sampler.of_network`; guidance is only 1.

    Raises:
        InputError: if it cannot be read, makes no images of latents, or cannot do so as asked for.
    """
    with one_line_about(f"model={path}", "SavedModel"):
        loaded = tf.saved_model.load(str(path))
        signature = loaded.signatures.get("serve") or loaded.signatures.get("serving_default")
        latent, others = _check_signature(signature)
        classes = int(getattr(loaded, "num_classes", 0)) if others else 0
        names = _class_names(loaded, classes)
        if others and classes < 1:
            raise ValueError(f"it takes {others[0]}, but no `num_classes` in it says how many")
        ours = "generate" in loaded.signatures
        noise_dim, resolution = _check_images(signature, latent, others, ours)
    if guidance != 1.0:
        raise InputError(
            f"guidance={guidance:g}: a SavedModel has only guidance=1; give --run_dir or a .keras "
            "file"
        )
    truncate, guides = loaded.signatures.get("truncate"), bool(getattr(loaded, "guides", True))
    about = {"model": str(path), "precision": "as exported", "files_sha256": files_sha256(path)}

    def truncated(psi, z, *labels):
        names = ("z", *(["labels"] if labels else []), "psi")
        return _call(truncate, names, (z, *labels, np.float32(psi)))

    source = Sampler(
        lambda z, *labels: _call(signature, (latent, *others), (z, *labels)),
        noise_dim,
        resolution,
        classes,
        None,
        about | ({"psi": 1.0, "guidance": 1.0} if truncate and guides else {}),
        truncated if truncate else None,
        names,
    )
    return source if psi == 1.0 else source.at(psi)


def files_sha256(folder: str | os.PathLike) -> str:
    """What tells folders apart by the names and contents of their files, wherever they lie."""
    digest = hashlib.sha256()
    for path in sorted(pathlib.Path(folder).rglob("*")):
        if path.is_file():
            name = path.relative_to(folder).as_posix()
            digest.update(f"{name}\n{sha256_of(path)}\n".encode())
    return digest.hexdigest()


def _class_names(loaded, classes):
    """Names that a SavedModel gives its classes, a tuple of text; () if it gives none."""
    stored = getattr(loaded, "class_names", None)
    if not classes or not isinstance(stored, tf.Variable) or stored.dtype != tf.string:
        return ()
    if stored.shape != (classes,):
        raise ValueError(f"its class_names are of shape {stored.shape}, for {classes} classes")
    return tuple(name.decode() for name in stored.numpy())


def _check_signature(signature):
    """Names of a signature's latents and of its labels: (str, list of none or one).

    Raises:
        ValueError: unless it makes images of latents, as many as it is given.
    """
    inputs = list(signature.structured_input_signature[1].items()) if signature else []
    outputs = list(signature.structured_outputs.values()) if signature else []
    latents = [name for name, spec in inputs if spec.dtype == tf.float32 and spec.shape.rank == 2]
    labels = [name for name, spec in inputs if spec.dtype.is_integer and spec.shape.rank == 1]
    given = [spec for _, spec in inputs] + outputs
    if not len(latents) == len(outputs) == 1 or len(inputs) != 1 + len(labels) or len(labels) > 1:
        raise ValueError(
            f"its signature is {_in_words(inputs)} -> {_in_words(enumerate(outputs))}; it must "
            "take float32 latents (B, Z), and integer labels (B,) if conditional, and return images"
        )
    if any(spec.shape.rank and spec.shape[0] is not None for spec in given):
        raise ValueError(f"it takes {given[0].shape[0]} images at a time; export it for any number")
    if outputs[0].dtype != tf.float32:
        raise ValueError(
            f"its images are {outputs[0].dtype.name}; they must be float32, nominally in [-1, 1]"
        )
    return latents[0], labels


def _in_words(specs):
    return ", ".join(f"{name} {spec.dtype.name} {spec.shape}" for name, spec in specs)


def _check_images(signature, latent, others, ours):
    """The sizes of latents and images that a signature proves to have: (Z, S).

    Args:
        signature: what `_check_signature` accepted, with the names that it returned.
        latent, others: those names.
        ours: bool, whether `exporting` wrote it; other models may have images from 0 to 1.

    Raises:
        ValueError: unless its images of two latents are (2, S, S, 3), nominally in [-1, 1].
    """
    noise_dim = signature.structured_input_signature[1][latent].shape[-1]
    if not noise_dim or noise_dim > MOST_NOISE:
        raise ValueError(f"its latents {latent} have size {noise_dim}; give 1 to {MOST_NOISE}")
    z = np.random.default_rng(0).standard_normal((PROBES, noise_dim), np.float32)
    dtypes = [signature.structured_input_signature[1][name].dtype for name in others]
    labels = [np.zeros(PROBES, dtype.as_numpy_dtype) for dtype in dtypes]
    images = np.asarray(_call(signature, (latent, *others), (z, *labels)))
    return noise_dim, checked_side(images, PROBES, ours)


def _call(signature, names, values):
    """The only output of a signature, which takes tensors by name."""
    wanted = signature.structured_input_signature[1]  # labels of others may be int64
    inputs = {n: tf.cast(x, wanted[n].dtype) for n, x in zip(names, values, strict=True)}
    (images,) = signature(**inputs).values()
    return images
