"""Flags of `python -m ladagan_tf.demo`."""

from absl import flags

from ladagan_tf.flags import common


def define():
    """Defines them."""
    flags.DEFINE_string("run_dir", None, "Run to show: its best averaged weights. This or --model.")
    common.define_model("Generator to show.")
    common.define_vae()
    flags.adopt_module_key_flags(common)
    flags.DEFINE_string("host", "127.0.0.1", "Address to listen on.")
    flags.DEFINE_integer(
        "port",
        7860,
        "TCP port; 0: a free one, printed.",
        lower_bound=0,
        upper_bound=65535,
    )
