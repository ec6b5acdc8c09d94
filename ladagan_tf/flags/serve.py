"""Flags of `python -m ladagan_tf.serve`."""

from absl import flags

from ladagan_tf.flags import common


def define():
    """Defines them."""
    common.define_model("Generator to serve. Required.")
    flags.mark_flag_as_required("model")
    common.define_vae(runs=False)
    common.define_address(8000)
    flags.adopt_module_key_flags(common)
    flags.DEFINE_integer(
        "max_batch",
        None,
        "Most images a request may ask for, and the model computes at once; by default 64, or "
        "fewer of more than 128 px: a million pixels.",
        lower_bound=1,
        upper_bound=common.MOST_AT_ONCE,
    )
    flags.DEFINE_integer(
        "max_queue",
        256,
        "Most requests that wait; further ones are refused with 503.",
        lower_bound=1,
    )
    flags.DEFINE_float(
        "timeout_s",
        30.0,
        "A request that is not answered after so many seconds gets 504.",
        lower_bound=0.001,
        upper_bound=1e6,
    )
