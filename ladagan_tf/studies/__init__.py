"""Studies: a grid of experiments, each a run of its own, and what they say together."""
