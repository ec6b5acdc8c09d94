"""Every layer and model of this package, registered with Keras by being imported."""

import keras

from ladagan_tf.models.features import classifier as classifier
from ladagan_tf.models.flow.networks import FlowGenerator as FlowGenerator
from ladagan_tf.models.gat import decoded as decoded
from ladagan_tf.models.gat import networks as networks
from ladagan_tf.models.gat import scales as scales
from ladagan_tf.models.lada import discriminator as discriminator
from ladagan_tf.models.lada import generator as generator
from ladagan_tf.models.vae import autoencoder as autoencoder

if keras.config.image_data_format() != "channels_last":  # else shapes fail, or worse, they fit
    raise ImportError(
        "ladagan_tf's networks take channels last; Keras, or ~/.keras/keras.json, has "
        "image_data_format='channels_first': keras.config.set_image_data_format('channels_last')"
    )
