"""LadaGAN and GAT, transformer GANs that make an image in one step, in TensorFlow and Keras 3.

Importing the package after Keras registers its layers and models, so that
`keras.saving.load_model` finds them; `import ladagan_tf.models.registered` does it in any order.
Without Keras it imports nothing: the worker processes of `prepare`, and `--help`, need no network.
"""

import sys

__version__ = "0.1.0"

if "keras" in sys.modules:
    from ladagan_tf.models import registered as registered
