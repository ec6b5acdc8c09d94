"""What is stored becomes what networks take: scaled pixels, and latents drawn from moments."""

import numpy as np
import tensorflow as tf

from ladagan_tf.models.pixels import scale_images
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.latent_objective import sample_posterior

B, SIZE = 4, 8


def test_images_are_scaled_to_minus_one_and_one():
    pixels = tf.constant([0, 127, 255], tf.uint8)
    np.testing.assert_allclose(scale_images(pixels), [-1.0, -1 / 255, 1.0], atol=1e-7)


def test_latents_are_mean_plus_std_times_noise_on_the_scale_of_the_autoencoder(rng, draw):
    mean, std, noise = rng.standard_normal((3, B, SIZE, SIZE, 4))
    moments = np.concatenate([mean, std], axis=-1).astype("float16")
    found = sample_posterior(moments, noise.astype("float32"), 0.18215)
    np.testing.assert_allclose(found, (mean + std * noise) * 0.18215, atol=2e-3)
    objective = GatObjective(noise_dim=8, latent_size=SIZE, scaling_factor=0.5)
    draws = draw(objective.batch_draws(), B)
    batch = objective.batch({"moments": moments}, np.array([-1, 0, 1, 2]), draws)
    expected = (mean + std * np.asarray(draws["posterior"])) * 0.5
    np.testing.assert_allclose(batch["real"], expected, atol=2e-3)
    np.testing.assert_array_equal(batch["labels"], [0, 0, 1, 2])  # a set without classes has one
