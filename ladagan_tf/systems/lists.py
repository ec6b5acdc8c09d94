"""List flags as what they list."""

from absl import flags

from ladagan_tf.errors import InputError

FLAGS = flags.FLAGS


def integers(name):
    """The integers of a list flag."""
    try:
        return tuple(int(value) for value in FLAGS[name].value)
    except ValueError:
        raise InputError(f"--{name}={','.join(FLAGS[name].value)}: give integers, as 4,8") from None
