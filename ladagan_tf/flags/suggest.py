"""Flags of `python -m ladagan_tf.suggest`: its own, and those of `train`, which it keeps."""

from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.flags import common, start, train

FLAGS = flags.FLAGS
KNOWN = ("lada", "gat")  # systems that there are suggestions for


def define():
    """Defines them."""
    train.define()
    for name in ("dataset", "resolution", "data_dir"):
        flags.declare_key_flag(name)
    flags.DEFINE_float(
        "hours", 3.0, "How long to train, on this machine.", lower_bound=0.01, upper_bound=1e4
    )
    flags.DEFINE_string(
        "out", None, "Flagfile to write; it must not exist. By default it is printed."
    )


def shown(words):
    """What `--help` shows, see `flags.train.shown`."""
    return set(), {}, set(), "flags of ladagan train are kept as they are given, as --batch_size=32"


def given():
    """The flags of `train` that are given: dict from name to text.

    Raises:
        InputError: for flags of a start, without --dataset, and for systems other than `KNOWN`.
    """
    common.refuse_starts()
    if FLAGS.system not in KNOWN:
        raise InputError(
            f"--system={FLAGS.system}: too little was trained here to suggest anything for it; "
            f"begin with configs/{FLAGS.system}_tiny_emoji.cfg"
        )
    if FLAGS.dataset is None:
        raise InputError("--dataset is required: a prepared folder, tfds:NAME[@SPLIT], or shapes")
    return {
        flag.name: start.as_text(flag.value)
        for flag in FLAGS.get_key_flags_for_module(train.__name__)
        if flag.present and flag.name != "config"
    }
