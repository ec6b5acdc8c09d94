"""LadaGAN's two networks (arXiv 2401.09596) and what they are made of."""
