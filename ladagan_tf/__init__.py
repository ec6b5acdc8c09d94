"""LadaGAN and GAT, transformer GANs that make an image in one step, in TensorFlow and Keras 3."""

__version__ = "0.1.0"
