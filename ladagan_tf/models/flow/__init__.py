"""A flow-matching model (arXiv 2210.02747): GAT's blocks as a velocity, and how it is followed."""
