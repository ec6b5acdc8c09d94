"""Where the weights of FID's Inception come from, and what proves which ones they are."""

from ladagan_tf.errors import InputError
from ladagan_tf.models.features.inception import STAGES, Conv, Inception, Pool, module_name
from ladagan_tf.models.transfer import TO_TORCH
from ladagan_tf.weights.download import PublishedFile, existing_file, find_published
from ladagan_tf.weights.reading import content_sha256, read_weights

NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
FLAG = "--inception_weights"

# Suffixes of one convolution in the PyTorch file -> in the graph of 2015.
GRAPH_PARTS = {
    "conv.weight": "conv2d_params",
    "bn.weight": "batchnorm/gamma",
    "bn.bias": "batchnorm/beta",
    "bn.running_mean": "batchnorm/moving_mean",
    "bn.running_var": "batchnorm/moving_variance",
}


def find(path=None, cache_dir=None, download=True):
    """The file of weights to use: the given one, else the cached one, else a download.

    Args:
        path: file of any readable format and content, or None.
        cache_dir: folder of the download; None is `files.cache_folder()`.
        download: bool, False never asks the network.

    Returns:
        pathlib.Path of an existing file; the cached one has the published SHA-256.

    Raises:
        InputError: if there is no such file, the cached one is another, or downloading fails; it
            names the file to put in place and --inception_weights.
    """
    if path is not None:
        return existing_file(path, FLAG)
    return find_published(
        PublishedFile("the weights of FID's Inception", NAME, URL, SHA256, FLAG),
        cache_dir,
        download,
    )


def load(path):
    """The network with the weights of a file.

    Args:
        path: file in any format of `read_weights`, with PyTorch's names or those of the 2015 graph.

    Returns:
        (Inception, str): the network and the SHA-256 (hex) of its 472 tensors: names, shapes and
        float32 values, so that it is the same for the same weights in every file format.

    Raises:
        InputError: naming the file, if it cannot be read or holds other tensors.
    """
    tensors = canonical(read_weights(path))
    network = Inception()
    try:
        network.load_tensors(tensors)
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    return network, content_sha256({name: tensors[name] for name in network.tensor_shapes()})


def canonical(tensors):
    """Renames and transposes the constants of the 2015 graph; other files pass unchanged.

    Args:
        tensors: dict, name -> array.

    Returns:
        dict with the names and layouts of `Inception.tensor_shapes`. Of a graph, constants that
        are no weights (sizes, axes) are left out.
    """
    names = graph_names()
    if names.keys().isdisjoint(tensors):
        return tensors
    found = {torch: tensors[name] for name, torch in names.items() if name in tensors}
    # Arrays of other ranks are left for `load_tensors` to complain about.
    return {n: a.transpose(TO_TORCH.get(a.ndim, range(a.ndim))) for n, a in found.items()}


def graph_names():
    """Dict: name of a constant in the 2015 graph -> canonical name, for all 472."""
    names = {"softmax/weights": "fc.weight", "softmax/biases": "fc.bias"}
    used = {}
    for stage, spec in STAGES.items():
        for scope, convolution in _scopes(spec, "", used):
            module = module_name(stage, convolution)
            names.update({f"{scope}/{g}": f"{module}.{t}" for t, g in GRAPH_PARTS.items()})
    return names


def _scopes(spec, parent, used):
    """Yields (scope, Conv) as TF1 named them: by kind, numbered within the parent scope.

    The graph was written by code that called every chain "tower" and every concatenation "mixed".
    """
    if isinstance(spec, Pool):
        return
    kind = "conv" if isinstance(spec, Conv) else "tower" if isinstance(spec, list) else "mixed"
    number = used[parent, kind] = used.get((parent, kind), -1) + 1
    scope = f"{parent}{kind}_{number}" if number else f"{parent}{kind}"
    if isinstance(spec, Conv):
        yield scope, spec
        return
    for part in spec:
        yield from _scopes(part, f"{scope}/", used)
