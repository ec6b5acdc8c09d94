"""What the input pipeline yields, as what networks take: on the device, pure functions."""

from keras import ops


def scale_images(images):
    """uint8 in [0, 255] to float32 in [-1, 1]."""
    return ops.cast(images, "float32") / 127.5 - 1.0


def sample_posterior(moments, noise, scaling_factor):
    """Latents drawn from what an autoencoder says of images: (mean + std * noise) * factor.

    Args:
        moments: float tensor (B, S, S, 2C): mean, then standard deviation.
        noise: float32 tensor (B, S, S, C), standard normal.
        scaling_factor: float, see `models.vae.autoencoder.AutoencoderKL`.

    Returns:
        float32 tensor (B, S, S, C).
    """
    mean, std = ops.split(ops.cast(moments, "float32"), 2, axis=-1)
    return (mean + std * noise) * scaling_factor
