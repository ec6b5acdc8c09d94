"""A generator of latents and the autoencoder that turns them into images, as one network."""

import keras

from ladagan_tf.models.checks import check
from ladagan_tf.models.presets import FromPreset

LARGE, TILE = 64, 8  # latent rows: from so many on, decode so many at a time


def undecoded(network):
    """The network that makes the latents of a `DecodedGenerator`; any other as it is."""
    return network.generator if isinstance(network, DecodedGenerator) else network


@keras.saving.register_keras_serializable(package="ladagan_tf")
class DecodedGenerator(FromPreset, keras.Model):
    """Noise and classes to images: what is sampled, measured, exported and served of latents.

    It has the attributes that a LadaGAN generator has: `noise_dim`, `resolution` (pixels), and
    `num_classes` and `class_names`; `truncates` and `guides` say whether it takes psi and guidance,
    `levels` how many stages it has, 0 for none.

    Args:
        generator: GatGenerator, or another whose `makes_images` is False.
        vae: AutoencoderKL, of whose latents, times its scaling factor, the generator
            was trained on.
        tile: int, latent rows that are decoded at a time; 0 decodes whole images, which is faster
            and needs twice the memory; None: 8 for latents of 64 and more, otherwise 0.
        dtype: Keras dtype policy; by default the generator's. Each network computes in its own.

    Call arguments:
        z: float tensor (B, Z), standard normal noise.
        labels: int tensor (B,), classes in [0, num_classes); none of an unconditional generator.
        psi, guidance: see `GatGenerator`; of one that truncates and guides.
        stage: int from 1 to `levels`, which output of the generator is decoded; None for the last.

    Returns:
        Float32 images (B, S, S, 3), nominally in [-1, 1], not clipped.

    Raises:
        ValueError: if generator and autoencoder have different latent channels; or for a `tile`
            that is no whole number from 0 on.
    """

    def __init__(self, generator, vae, tile=None, **kwargs):
        kwargs.setdefault("name", "decoded_generator")
        kwargs.setdefault("dtype", generator.dtype_policy)
        super().__init__(autocast=False, **kwargs)
        check(
            generator.channels == vae.latent_channels,
            f"vae: its latents have {vae.latent_channels} channels, the generator's "
            f"{generator.channels}",
        )
        check(tile is None or (isinstance(tile, int) and tile >= 0), f"tile={tile}: give rows or 0")
        self.generator = generator
        self.vae = vae
        self.tile = (TILE if generator.latent_size >= LARGE else 0) if tile is None else tile
        self.noise_dim = generator.noise_dim
        self.num_classes = generator.num_classes
        self.levels = getattr(generator, "levels", 0)
        self.truncates = getattr(generator, "truncates", False)
        self.guides = getattr(generator, "guides", False)
        self.class_names = generator.class_names
        self.resolution = generator.latent_size * vae.factor
        self.built = True

    @property
    def mean_style(self):
        return self.generator.mean_style

    @property
    def paper(self):
        return self.generator.paper

    def call(self, z, labels=None, psi=1.0, guidance=1.0, stage=None):
        if self.truncates:
            return self.of_style(self.generator.style(z, labels, psi, guidance), stage)
        return self.decode(self.generator(*((z,) if labels is None else (z, labels))))

    def of_style(self, style, stage=None):
        """Images (B, S, S, 3) of styles (B, C) as `GatGenerator.style` makes them, at a stage."""
        return self.decode(self.generator.synthesize(style)[-1 if stage is None else stage - 1])

    def decode(self, latents):
        """Images (B, S, S, 3) of generated latents (B, s, s, C)."""
        latents = latents / self.vae.scaling_factor
        return self.vae.decode_tiled(latents, self.tile) if self.tile else self.vae.decode(latents)

    def compute_output_shape(self, z_shape, labels_shape=None):
        return z_shape[0], self.resolution, self.resolution, 3

    def get_config(self):
        return {
            **super().get_config(),
            "generator": keras.saving.serialize_keras_object(self.generator),
            "vae": keras.saving.serialize_keras_object(self.vae),
            "tile": self.tile,
        }

    @classmethod
    def from_config(cls, config):
        networks = {
            name: keras.saving.deserialize_keras_object(config.pop(name))
            for name in ("generator", "vae")
        }
        return cls(**networks, **config)
