"""PyTorch's layouts of kernels (OIHW, OI) beside those of Keras and TensorFlow (HWIO, IO)."""

TO_TORCH = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}  # transposition, by rank
FROM_TORCH = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}
