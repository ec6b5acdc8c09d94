"""The small generators of `small_generators`, as fixtures."""

from small_generators import cat, conditional, gat, run, saved, saved_gat, small  # noqa: F401
