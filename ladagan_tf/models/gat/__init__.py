"""GAT's two networks (arXiv 2509.24935) and what they are made of."""
