"""Every layer and model of this package, registered with Keras by being imported."""

from ladagan_tf.models.features import classifier as classifier
from ladagan_tf.models.flow.networks import FlowGenerator as FlowGenerator
from ladagan_tf.models.gat import decoded as decoded
from ladagan_tf.models.gat import networks as networks
from ladagan_tf.models.gat import scales as scales
from ladagan_tf.models.lada import discriminator as discriminator
from ladagan_tf.models.lada import generator as generator
from ladagan_tf.models.vae import autoencoder as autoencoder
