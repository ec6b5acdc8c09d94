"""Flags of the commands that sample a GAT."""

from absl import flags


def define():
    """Defines them."""
    flags.DEFINE_float(
        "psi",
        1.0,
        "GAT: truncation, from 1 (default, none) to 0 (each class's mean style). GAT's authors "
        "count the other way: their 0.3 is 0.7 here.",
    )
    flags.DEFINE_float(
        "guidance",
        1.0,
        "GAT: distance from the mean style over all classes, as a factor; 1 (default): none.",
    )
