"""`.keras` files of this project's networks, and what tells their weights apart.

Such a file is a configuration, which names classes and sizes, and an HDF5 file of weights. Both are
checked before Keras acts on them: only classes of ours are made, and no network is larger than the
weights that are there for it.
"""

import io
import json
import pathlib
import zipfile

import h5py
import keras

from ladagan_tf.errors import one_line_about
from ladagan_tf.models import registered as registered
from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.untrusted import check_regular, check_unpacked
from ladagan_tf.weights.reading import content_sha256

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
PACKAGE = "ladagan_tf>"  # of the names that our classes are registered by
MEMBERS = {CONFIG, WEIGHTS, "metadata.json"}


def load_network(path, what):
    """Loads a network that `network.save` wrote.

    Args:
        path: the file.
        what: the flag and value that named it, for messages.

    Returns:
        keras.Model of a class of ours, not compiled.

    Raises:
        InputError: if the file is damaged, or holds other classes than ours or a network of another
            size than its weights.
    """
    path = pathlib.Path(path)
    with one_line_about(what, ".keras file"):
        check_regular(path)
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sorted(member.filename for member in members) != sorted(MEMBERS):
                raise ValueError(f"it must hold {', '.join(sorted(MEMBERS))} and nothing else")
            check_unpacked(members, path.stat().st_size)
            check_classes(json.loads(archive.read(CONFIG)))
            values = count_values(archive.read(WEIGHTS))
        with blank_of(values):
            return checked_network(keras.saving.load_model(path, compile=False, safe_mode=True))


def in_precision(network, precision):
    """The network with the same weights under another Keras dtype policy; itself if it has that.

    Under "float16" variables are float16 too, so that a file takes half the space.

    Args:
        network: keras.Model.
        precision: str, name of the policy.
    """
    if isinstance(network, DecodedGenerator):
        parts = [in_precision(part, precision) for part in (network.generator, network.vae)]
        return DecodedGenerator(*parts, tile=network.tile)
    if network.dtype_policy.name == precision:
        return network
    other = type(network).from_config({**network.get_config(), "dtype": precision})
    other.set_weights(network.get_weights())
    return other


def save_deflated(network, path):
    """Writes a network to a path ending in .keras, packed: a tenth less than `network.save`."""
    network.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {member.filename: archive.read(member) for member in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, data in members.items():
            archive.writestr(name, data)


def checked_network(network):
    """What Keras made of a configuration; ValueError if that is no keras.Model."""
    if not isinstance(network, keras.Model):
        raise ValueError(f"it describes a {type(network).__name__}, not a network")
    return network


def check_classes(config):
    """Raises ValueError if a Keras configuration, nested JSON values, names a foreign class.

    Or if a text in it is no Unicode, which could not be shown or written.
    """
    if isinstance(config, str):
        config.encode()
    elif isinstance(config, list):
        for part in config:
            check_classes(part)
    elif isinstance(config, dict):
        if "class_name" in config and not _is_ours(config):
            raise ValueError(
                f"it holds a {config['class_name']} of {config.get('module')}; only networks of "
                "ladagan_tf are loaded"
            )
        # What is compiled into a model is not made.
        for key, part in config.items():
            if key != "compile_config":
                check_classes(part)


def _is_ours(config):
    if config["class_name"] == "DTypePolicy" and config.get("module") == "keras":
        return not config.get("registered_name")
    name = f"{PACKAGE}{config['class_name']}"  # as Keras also has names that mean a program
    registered = config.get("registered_name") == name
    return registered and keras.saving.get_registered_object(name) is not None


def count_values(data):
    """The number of values in an HDF5 file of weights.

    Args:
        data: its bytes.

    Returns:
        int.

    Raises:
        ValueError: if an array is not wholly in the file as it is, or they share values: such
            arrays could be of any size.
    """
    total, values = 0, 0

    def add(name):  # by HDF5's own calls: a file has hundreds of objects, and h5py wraps each
        nonlocal total, values
        item = h5py.h5o.open(file.id, name)
        if isinstance(item, h5py.h5d.DatasetID):
            how = item.get_create_plist()
            elsewhere = how.get_layout() == h5py.h5d.VIRTUAL or how.get_external_count()
            size = item.get_space().get_simple_extent_npoints()
            taken = size * item.dtype.itemsize
            if elsewhere or item.dtype.kind not in "fiubV" or item.get_storage_size() < taken:
                raise ValueError(
                    f"{WEIGHTS}: {name.decode(errors='replace')} is not wholly in the file"
                )
            total += taken
            values += size

    with h5py.File(io.BytesIO(data), "r") as file:
        h5py.h5o.visit(file.id, add)
    if total > len(data):
        raise ValueError(f"{WEIGHTS}: arrays of {total} bytes in {len(data)}")
    return values


def network_sha256(network):
    """What tells a network's weights apart, whatever the network is called.

    Args:
        network: keras.Model.

    Returns:
        str, `content_sha256` of the weights by their paths below the network.
    """
    return content_sha256(
        {w.path.partition("/")[2]: keras.ops.convert_to_numpy(w) for w in network.weights}
    )
