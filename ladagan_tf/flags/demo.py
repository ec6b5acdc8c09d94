"""Flags of `python -m ladagan_tf.demo`."""

from absl import flags

from ladagan_tf.flags import common


def define():
    """Defines them."""
    flags.DEFINE_string("run_dir", None, "Run to show: its best averaged weights. This or --model.")
    common.define_model("Generator to show.")
    common.define_vae()
    common.define_address(7860)
    flags.adopt_module_key_flags(common)
