"""`.keras` files of this project's networks, and what tells their weights apart."""

import keras

from ladagan_tf.errors import InputError, reason
from ladagan_tf.models import registered as registered
from ladagan_tf.weights.reading import content_sha256


def load_network(path, what):
    """Loads a network that `network.save` wrote.

    Args:
        path: the file.
        what: str, the flag and value that named it, for messages.

    Returns:
        keras.Model, not compiled.

    Raises:
        InputError: if Keras cannot load it.
    """
    try:
        return keras.saving.load_model(path, compile=False)
    except (ValueError, TypeError, OSError) as error:
        raise InputError(f"{what}: Keras cannot load it ({reason(error)})") from None


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
