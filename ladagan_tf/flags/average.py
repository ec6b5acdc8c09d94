"""Flags of `python -m ladagan_tf.average`."""

from absl import flags

from ladagan_tf.evaluation import QUICK_METRICS
from ladagan_tf.flags import common
from ladagan_tf.systems import group


def define():
    """Defines them."""
    flags.DEFINE_string(
        "run_dir", None, "Run that was trained with --posthoc_ema. Required.", required=True
    )
    flags.DEFINE_list(
        "sigma_rel",
        None,
        "Lengths of the averages to make, as 0.05,0.1,0.15: each the standard deviation of its "
        "profile over time as a share of the time trained. Required.",
        required=True,
    )
    flags.DEFINE_float(
        "kimg",
        None,
        "Thousands of images at which the averages end; the last that were stored by default.",
    )
    flags.DEFINE_string(
        "out",
        None,
        "Folder to make, of a .keras file for each average and averages.json; it must not exist "
        "yet. Required.",
        required=True,
    )
    _define_metric()
    common.define_measuring()
    flags.adopt_module_key_flags(common)


@group("Measuring them")
def _define_metric():
    flags.DEFINE_enum(
        "metric",
        "none",
        ["none", *QUICK_METRICS],
        "Quick metric of each average: fid (with Inception), fcd (with a classifier), fd (with "
        "DINOv2), swd (without a network).",
    )
    flags.DEFINE_integer(
        "metric_images", 5_000, "Images of each side of a measurement.", lower_bound=1
    )
    flags.DEFINE_string(
        "dataset", None, "Prepared set to measure against; that of --run_dir by default."
    )
