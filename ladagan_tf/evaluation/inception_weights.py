"""Where the weights of FID's Inception come from, and what proves which ones they are."""

import hashlib
import http.client
import pathlib
import urllib.request

from tqdm import tqdm

from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, cache_folder
from ladagan_tf.models.inception import STAGES, Conv, Inception, Pool, module_name
from ladagan_tf.weights.reading import read_weights

NAME = "weights-inception-2015-12-05-6726825d.pth"
URL = f"https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/{NAME}"
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
TIMEOUT = 30  # seconds without a byte
BLOCK = 1 << 20  # bytes

# Suffixes of one convolution in the PyTorch file -> in the graph of 2015.
GRAPH_PARTS = {
    "conv.weight": "conv2d_params",
    "bn.weight": "batchnorm/gamma",
    "bn.bias": "batchnorm/beta",
    "bn.running_mean": "batchnorm/moving_mean",
    "bn.running_var": "batchnorm/moving_variance",
}
# The graph's kernels are HWIO and IO; by number of dimensions.
TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}


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
        path = pathlib.Path(path).expanduser()
        if not path.is_file():
            raise InputError(f"--inception_weights={path}: no such file")
        return path
    cached = pathlib.Path(cache_dir or cache_folder()) / NAME
    if not cached.is_file():
        if not download:
            raise InputError(_by_hand(cached, "are not here and downloading is off"))
        _download(cached)
        return cached
    with cached.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise InputError(
            f"{cached}: its SHA-256 is {found[:12]}.., not the published {SHA256[:12]}..; delete it"
            " to download it again, or give it with --inception_weights if you want these weights"
        )
    return cached


def _by_hand(cached, problem):
    return (
        f"the weights of FID's Inception {problem}: put {URL} at {cached}, or give a file with"
        " --inception_weights"
    )


def _download(cached):
    """Writes the published file to `cached`, which appears only when whole and right."""
    digest = hashlib.sha256()
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        with (
            urllib.request.urlopen(URL, timeout=TIMEOUT) as response,
            atomic_path(cached) as temporary,
            temporary.open("wb") as file,
            tqdm(total=response.length, unit="B", unit_scale=True, desc=NAME) as bar,
        ):
            while block := response.read(BLOCK):
                file.write(block)
                digest.update(block)
                bar.update(len(block))
            if digest.hexdigest() != SHA256:
                found = f"{digest.hexdigest()[:12]}.., not {SHA256[:12]}.."
                raise InputError(_by_hand(cached, f"arrived with SHA-256 {found}"))
    except (OSError, http.client.HTTPException) as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(_by_hand(cached, f"cannot be downloaded ({reason})")) from error


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


def content_sha256(tensors):
    """SHA-256 (hex) over sorted names, shapes and little-endian float32 values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        array = tensors[name].astype("<f4")
        digest.update(f"{name}{array.shape}".encode())
        digest.update(array.tobytes())  # C order, whatever the strides
    return digest.hexdigest()


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
