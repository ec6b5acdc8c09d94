"""The autoencoder of Stable Diffusion 1.x (AutoencoderKL), in whose latent space GAT generates.

Rombach et al., arXiv 2112.10752. A convolutional encoder halves the grid once per level but the
last; a latent is the mean and the variance of a Gaussian per position and channel.
"""

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.blank import blank_of
from ladagan_tf.models.checks import tensor_problems
from ladagan_tf.models.transfer import FROM_TORCH, TO_TORCH
from ladagan_tf.models.vae import names
from ladagan_tf.models.vae.coders import Decoder, Encoder
from ladagan_tf.models.vae.layers import conv


def decode_in_strips(decoder, z, rows):
    """The decoder applied to latents in strips.

    Args:
        decoder: built `coders.Decoder`.
        z: float tensor (B, h, w, C) of static h and w.
        rows: int >= 1, latent rows per strip; the last strip may have fewer.

    Returns:
        Tensor (B, H, W, 3) of the decoder's compute dtype.

    Raises:
        ValueError: if `rows` is less than 1.
    """
    if rows < 1:
        raise ValueError(f"tile={rows}: it must be at least 1")
    # Attention lets all positions interact, but at the latents' resolution nothing is large.
    x = decoder.mid(decoder.conv_in(z))  # (B, h, w, Wn)
    strips = [x[:, start : start + rows] for start in range(0, x.shape[1], rows)]
    for level in decoder.levels:
        for block in level.resnets:
            strips = _resnet(block, strips)
        if level.resampler:
            strips = _upsampled(level.resampler, strips)
    strips = list(_convolved(decoder.conv_out, strips, _norm_silu(decoder.norm_out, strips)))
    return ops.concatenate(strips, axis=1)


def _resnet(block, strips):
    inner = list(_convolved(block.conv1, strips, _norm_silu(block.norm1, strips)))
    outer = _convolved(block.conv2, inner, _norm_silu(block.norm2, inner))
    shortcut = block.conv_shortcut or (lambda x: x)
    return [shortcut(x) + h for x, h in zip(strips, outer, strict=True)]


def _upsampled(upsample, strips):
    # Repeated first: the convolution borrows a row of the finer grid.
    strips = [ops.repeat(ops.repeat(x, 2, axis=1), 2, axis=2) for x in strips]
    return list(_convolved(upsample.conv, strips, lambda x: x))


def _norm_silu(norm, strips):
    """A function of a strip: silu(norm(x)) with the moments of all strips together."""
    total = sum(x.shape[1] for x in strips)
    parts = [(x.shape[1] / total, *norm.moments(x)) for x in strips]
    mean = sum(share * m for share, m, _ in parts)
    variance = sum(share * (v + ops.square(m - mean)) for share, m, v in parts)
    return lambda x: ops.silu(norm(x, moments=(mean, variance)))


def _convolved(layer, strips, prepare):
    """Yields the strips of a "same" 3x3 convolution of `prepare` of each strip."""
    for i, x in enumerate(strips):
        first, last = i == 0, i + 1 == len(strips)
        above = [] if first else [strips[i - 1][:, -1:]]
        below = [] if last else [strips[i + 1][:, :1]]
        x = prepare(ops.concatenate([*above, x, *below], axis=1))
        x = ops.pad(x, ((0, 0), (int(first), int(last)), (1, 1), (0, 0)))
        kernel, bias = (ops.cast(w, layer.compute_dtype) for w in (layer.kernel, layer.bias))
        yield ops.conv(x, kernel, padding="valid") + bias


SD1_WIDTHS = (128, 256, 512, 512)
SD1_SCALING_FACTOR = 0.18215
LOGVAR_RANGE = (-30.0, 20.0)


def split_moments(moments):
    """Mean and log-variance, the latter clipped to [-30, 20], each (..., C) of (..., 2C)."""
    mean, logvar = ops.split(moments, 2, axis=-1)
    return mean, ops.clip(logvar, *LOGVAR_RANGE)


def kl_per_image(mean, logvar):
    """Divergence in nats of each image's Gaussian from N(0, I): (B, h, w, C) twice -> (B,)."""
    terms = ops.square(mean) + ops.exp(logvar) - 1.0 - logvar
    return 0.5 * ops.sum(terms, axis=tuple(range(1, len(mean.shape))))


@keras.saving.register_keras_serializable(package="ladagan_tf")
class AutoencoderKL(keras.Model):
    """Images to Gaussians of latents, and latents to images.

    Latents are unscaled everywhere here; generators learn `latents * scaling_factor`, whose
    standard deviation is about 1. A half-precision dtype policy leaves group norms, softmax,
    moments and images in float32.

    Args:
        widths: sequence of ints, channels per level, finest first; len(widths) - 1 halvings.
        resnets: int, resnets per level of the encoder; the decoder has one more.
        latent_channels: int, C.
        groups: int, of the group norms, must divide every width.
        scaling_factor: float, see above.
        about: dict of plain values, where the weights are from; kept in the saved file.
        encodes: bool; without it there is no encoder, see `decoder_only`.

    Call arguments:
        images: float tensor (B, H, W, 3) in [-1, 1]; H and W divisible by `factor`.

    Returns:
        Float32 tensor (B, H, W, 3), the reconstruction from the mean latents; not clipped.

    Raises:
        ValueError: if `groups` does not divide a width, or `factor` a side of the images; or if
            one without an encoder is to encode.
    """

    _default_save_signature = None  # see `models.presets`; without its encoder it cannot be called

    def __init__(
        self,
        widths=SD1_WIDTHS,
        resnets=2,
        latent_channels=4,
        groups=32,
        scaling_factor=SD1_SCALING_FACTOR,
        about=None,
        encodes=True,
        **kwargs,
    ):
        kwargs.setdefault("name", "autoencoder_kl")
        super().__init__(**kwargs)
        self.widths = tuple(widths)
        self.resnets = resnets
        self.latent_channels = latent_channels
        self.groups = groups
        self.scaling_factor = float(scaling_factor)
        self.about = dict(about or {})
        self.factor = 2 ** (len(self.widths) - 1)
        policy = self.dtype_policy
        self.encodes = encodes
        if encodes:
            self.encoder = Encoder(
                self.widths, resnets, latent_channels, groups, dtype=policy, name="encoder"
            )
        self.decoder = Decoder(self.widths, resnets, groups, dtype=policy, name="decoder")
        if encodes:
            self.quant_conv = conv(2 * latent_channels, 1, policy, "quant_conv")
        self.post_quant_conv = conv(latent_channels, 1, policy, "post_quant_conv")
        self.build((None, None, None, 3))

    def build(self, images_shape):
        if self.built:
            return
        if self.encodes:
            self.encoder.build((None, None, None, 3))
            self.quant_conv.build((None, None, None, 2 * self.latent_channels))
        for layer in (self.post_quant_conv, self.decoder):
            layer.build((None, None, None, self.latent_channels))
        self.built = True

    def moments(self, images):
        """Mean and log-variance, not clipped, of the latents: float32 (B, h, w, 2C)."""
        if not self.encodes:
            raise ValueError("this autoencoder only decodes: it was kept without its encoder")
        for side in images.shape[1:3]:
            if side is not None and side % self.factor:
                raise ValueError(f"images of {images.shape[1:3]}: {self.factor} must divide both")
        x = ops.cast(images, self.compute_dtype)  # (B, H, W, 3)
        return ops.cast(self.quant_conv(self.encoder(x)), "float32")  # (B, h, w, 2C)

    def encode(self, images):
        """Mean and standard deviation of the latents: float32 (B, h, w, C) each."""
        mean, logvar = split_moments(self.moments(images))
        return mean, ops.exp(0.5 * logvar)

    def decode(self, latents):
        """Images, nominally in [-1, 1] but not clipped: float32 (B, H, W, 3)."""
        z = ops.cast(latents, self.compute_dtype)  # (B, h, w, C)
        return ops.cast(self.decoder(self.post_quant_conv(z)), "float32")  # (B, H, W, 3)

    def decode_tiled(self, latents, tile=8):
        """`decode` in about half of its memory, the same but for rounding (1e-4 in float32).

        Args:
            latents: float tensor (B, h, w, C) of static h and w.
            tile: int, latent rows per strip; see `decode_in_strips`. SD-1.x's decoder needs 181 MiB
                instead of 377 for 256 px in 8 strips on a CPU, and a quarter more time.
        """
        z = ops.cast(latents, self.compute_dtype)  # (B, h, w, C)
        x = decode_in_strips(self.decoder, self.post_quant_conv(z), tile)  # (B, H, W, 3)
        return ops.cast(x, "float32")

    def call(self, images):
        mean, _ = self.encode(images)  # (B, h, w, C)
        return self.decode(mean)  # (B, H, W, 3)

    def decoder_only(self):
        """This autoencoder without its encoder, 41 % of SD-1.x's weights; itself if it has none."""
        if not self.encodes:
            return self
        tensors = self.tensors()
        with blank_of(self.count_params()):
            other = AutoencoderKL.from_config({**self.get_config(), "encodes": False})
        other.load_tensors({name: tensors[name] for name in other.tensor_shapes()})
        return other

    def tensor_shapes(self):
        """Dict: canonical name -> shape, in PyTorch's layout, of the tensors to load."""
        return {
            names.variable_name(v): tuple(v.shape[axis] for axis in TO_TORCH[len(v.shape)])
            for v in self.weights
        }

    def tensors(self):
        """Dict: canonical name -> float32 array, as `load_tensors` takes them."""
        return {
            names.variable_name(v): ops.convert_to_numpy(v).transpose(TO_TORCH[len(v.shape)])
            for v in self.weights
        }

    def load_tensors(self, tensors):
        """Takes weights of diffusers, in both spellings of the attention, or of LDM.

        Args:
            tensors: dict, name -> float array in PyTorch's layout; see `names.canonical`.

        Raises:
            ValueError: listing the missing, the misshapen and the unknown names, or naming one
                whose values are not finite. Nothing is loaded then.
        """
        given = names.canonical(tensors, len(self.widths))
        if problems := tensor_problems(given, self.tensor_shapes()):
            raise ValueError(f"not the tensors of this autoencoder: {problems}")
        for name, array in given.items():
            if not np.isfinite(array).all():
                raise ValueError(f"{name} is not finite")
        for v in self.weights:
            array = given[names.variable_name(v)]
            v.assign(array.astype("float32").transpose(FROM_TORCH[array.ndim]))

    def get_config(self):
        return {
            **super().get_config(),
            "widths": self.widths,
            "resnets": self.resnets,
            "latent_channels": self.latent_channels,
            "groups": self.groups,
            "scaling_factor": self.scaling_factor,
            "about": self.about,
            "encodes": self.encodes,
        }
