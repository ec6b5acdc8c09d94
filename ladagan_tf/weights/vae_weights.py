"""Which autoencoder latents belong to: found by name or path, loaded, and told by one hash."""

import pathlib

import keras

from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.vae import names
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.weights.download import PublishedFile, existing_file, find_published
from ladagan_tf.weights.keras_file import load_network
from ladagan_tf.weights.reading import content_sha256, read_weights

FLAG = "--vae"
HUB = "https://huggingface.co"
FILE = "diffusion_pytorch_model.safetensors"
# The hashes are quoted from public code that checks them.
PUBLISHED = {
    "sd15": PublishedFile(
        "the weights of Stable Diffusion 1.5's VAE",
        "sd15-vae.safetensors",
        f"{HUB}/stable-diffusion-v1-5/stable-diffusion-v1-5/resolve/main/vae/{FILE}",
        "a2b5134f4dbc140d9c11f11cba3233099e00af40f262f136c691fb7d38d2194c",
        FLAG,
    ),
    "sd-mse": PublishedFile(
        "the weights of sd-vae-ft-mse",
        "sd-vae-ft-mse.safetensors",
        f"{HUB}/stabilityai/sd-vae-ft-mse/resolve/main/{FILE}",
        "a1d993488569e928462932c8c38a0760b874d166399b14414135bd9c42df5815",
        FLAG,
    ),
    # What GAT's authors sample with. No public code checks its hash; that its encoder is the one
    # which a run's latents were made with is checked, and the hash of its tensors is told.
    "sd-ema": PublishedFile(
        "the weights of sd-vae-ft-ema",
        "sd-vae-ft-ema.safetensors",
        f"{HUB}/stabilityai/sd-vae-ft-ema/resolve/main/{FILE}",
        None,
        FLAG,
    ),
}


def default_path(folder):
    """Where the autoencoder trained on a prepared set lies unless a path is given: beside it."""
    folder = pathlib.Path(folder)
    return folder.with_name(f"{folder.name}.vae.keras")


def find(name, cache_dir=None, download=True):
    """The file of an autoencoder.

    Args:
        name: a name of `PUBLISHED`, or the path of any file that `load` reads.
        cache_dir: folder of downloads; None is `files.cache_folder()`.
        download: bool, False never asks the network.

    Returns:
        pathlib.Path of an existing file; a published one has the published SHA-256, if known.

    Raises:
        InputError: if there is no such file, or it cannot be downloaded.
    """
    if name in PUBLISHED:
        return find_published(PUBLISHED[name], cache_dir, download)
    try:
        return existing_file(name, FLAG)
    except InputError as error:
        published = ", ".join(PUBLISHED)
        raise InputError(
            f"{error}; it must be {published}, weights of diffusers or LDM, or a .keras file of "
            "python -m ladagan_tf.train_vae"
        ) from None


def load(path, dtype=None):
    """The autoencoder of a file.

    Args:
        path: a .keras file of `training.vae`, or weights in any format of `read_weights` with
            names of diffusers or LDM. Widths are those of the tensors.
        dtype: dtype policy, e.g. "mixed_bfloat16"; None is Keras's own.

    Returns:
        (AutoencoderKL, str): the network and the SHA-256 (hex) of its tensors: names, shapes and
        float32 values, so that it is the same for the same weights in every file format.

    Raises:
        InputError: naming the file, if it cannot be read or holds something else.
    """
    path = pathlib.Path(path)
    vae = _load_keras(path, dtype) if path.suffix == ".keras" else _load_weights(path, dtype)
    return vae, content_sha256(vae.tensors())


def encoder_sha256(vae):
    """The hash of what makes latents only: published autoencoders share it and differ in decoders.

    Args:
        vae: AutoencoderKL.

    Returns:
        str, hex.
    """
    makes = ("encoder.", "quant_conv.")
    return content_sha256({k: v for k, v in vae.tensors().items() if k.startswith(makes)})


def _load_keras(path, dtype):
    existing_file(path, FLAG)
    vae = load_network(path, path)
    if not isinstance(vae, AutoencoderKL):
        raise InputError(f"{path}: it holds a {type(vae).__name__}, not an AutoencoderKL")
    if not vae.encodes:
        raise InputError(f"{path}: it holds a decoder alone, not a whole AutoencoderKL")
    if dtype is None or keras.dtype_policies.get(dtype) == vae.dtype_policy:
        return vae
    with blank_of(vae.count_params()):
        other = AutoencoderKL.from_config({**vae.get_config(), "dtype": dtype})
    other.set_weights(vae.get_weights())
    return other


def _load_weights(path, dtype):
    tensors = read_weights(path)
    with one_line_about(path, "autoencoder"):
        tensors = names.canonical(tensors)
        sizes = names.sizes(tensors)
        if not sizes:
            raise ValueError("not the tensors of this autoencoder: no names of diffusers or LDM")
        with blank_of(sum(array.size for array in tensors.values())):
            vae = AutoencoderKL(**sizes, dtype=dtype)
        vae.load_tensors(tensors)
    vae.about = {"file": path.name}
    return vae
