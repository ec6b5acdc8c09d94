"""The small generators of `small_generators` and weights to round, as fixtures."""

from rounded_weights import weights  # noqa: F401
from small_generators import cat, conditional, gat, run, saved, saved_gat, small  # noqa: F401
