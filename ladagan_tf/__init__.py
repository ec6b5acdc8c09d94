"""LadaGAN and GAT, transformer GANs that make an image in one step, in TensorFlow and Keras 3.

Importing the package registers its layers and models, so that `keras.saving.load_model` finds them.
"""

from ladagan_tf.models import classifier as classifier
from ladagan_tf.models import decoded as decoded
from ladagan_tf.models import gat as gat
from ladagan_tf.models import ladagan as ladagan
from ladagan_tf.models import vae as vae

__version__ = "0.1.0"
