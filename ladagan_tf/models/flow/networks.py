"""The velocity of a flow as a transformer of GAT's blocks, and the generator that follows it.

Conditioning as in DiT (arXiv 2212.09748): the sum of an embedding of the time and a vector of the
class shifts, scales and gates every block.
"""

import math
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from ladagan_tf.models.checks import check, check_shape
from ladagan_tf.models.classes import ClassTable, check_one_each, checked_names
from ladagan_tf.models.flow.samplers import MOST_STEPS, PREDICTIONS, SAMPLERS
from ladagan_tf.models.gat.blocks import GeneratorBlock, LevelHead
from ladagan_tf.models.gat.initializers import linear
from ladagan_tf.models.gat.transformer import GatTransformer
from ladagan_tf.models.presets import FromPreset

FREQUENCIES = 128  # of the time's embedding
LONGEST, TIMES = 10_000.0, 1_000.0  # their longest period, of times that count to a thousand
LEFT = 0.05  # of the time, at least, in which predicted data are reached


def time_features(t):
    """Cosines and sines of times, DiT's: of 1000 t, at periods from 2 pi to 2 pi 10^4.

    Args:
        t: float tensor (B,), in [0, 1].

    Returns:
        float32 tensor (B, 256).
    """
    rates = TIMES * np.exp(-math.log(LONGEST) * np.arange(FREQUENCIES) / FREQUENCIES)
    angles = ops.expand_dims(ops.cast(t, "float32"), 1) * np.float32(rates)  # (B, 128)
    return ops.concatenate([ops.cos(angles), ops.sin(angles)], axis=-1)


@keras.saving.register_keras_serializable(package="ladagan_tf")
class FlowGenerator(FromPreset, GatTransformer):
    """Follows a learned velocity from noise at t = 0 to a sample at t = 1.

    What is learned is `velocity`; a call is `steps` steps of `sampler` of the same length. Noise is
    given flat, as any generator's z here: with the same sampler a z is one image.

    Args:
        latent_size: int, S, side of what it makes: of images, or of latents.
        channels: int, of them; 3 for images.
        patch: int, p, side of one token's square; divides S.
        width: int, C, a multiple of 4 times `num_heads`.
        depth: int, number of blocks.
        num_heads: int.
        num_classes: int; 0 for an unconditional generator.
        sampler: "euler", "heun" or "heun_euler", see `models.flow.samplers`.
        steps: int, of the sampler.
        remat, fused, attention: see `GatGenerator`.
        modulation: "scale_gate" or "shift_scale_gate", see `GeneratorBlock`.
        predicts: what the head makes: "velocity"; or "data", x_1, of which the velocity is
            (x_1 - x) / (1 - t), with 0.05 at least below (JiT, arXiv 2511.13720, Sec. 3), so that
            beyond t = 0.95 it is no longer x_1 that makes the loss least. Of a
            token of more numbers than it has channels only data can be told: noise fills all
            directions.
        class_names: what the classes are called, a text for each; empty if they have no names.
        dtype: Keras dtype policy; times, styles and velocities are always computed in float32.

    Call arguments:
        z: float tensor (B, S S channels), standard normal noise.
        labels: int tensor (B,), classes in [0, num_classes); of a conditional generator.

    Returns:
        Float32 images (B, S, S, channels), nominally in [-1, 1], not clipped.

    Raises:
        ValueError: for sizes that do not fit, naming the field, the value and what is accepted.
    """

    paper = "flow"

    def __init__(
        self,
        latent_size: int = 32,
        channels: int = 3,
        patch: int = 2,
        width: int = 384,
        depth: int = 12,
        num_heads: int = 6,
        num_classes: int = 0,
        sampler: str = "heun",
        steps: int = 8,
        remat: bool = False,
        fused: bool = True,
        attention: str = "dot_product",
        modulation: str = "shift_scale_gate",
        class_names: Sequence[str] = (),
        predicts: str = "velocity",
        **kwargs,
    ):
        kwargs.setdefault("name", "generator")
        super().__init__(
            latent_size=latent_size,
            channels=channels,
            patch=patch,
            width=width,
            depth=depth,
            num_heads=num_heads,
            num_classes=num_classes,
            remat=remat,
            fused=fused,
            trainable_positions=False,
            attention=attention,
            **kwargs,
        )
        self.sample_by(sampler, steps)
        check(
            predicts in PREDICTIONS,
            f"predicts={predicts!r} is not one of {', '.join(PREDICTIONS)}",
        )
        self.predicts = predicts
        self.modulation = modulation
        self.class_names = checked_names(class_names, num_classes)
        self.noise_dim = latent_size**2 * channels

        self.to_tokens = linear(width, self.dtype_policy, "to_tokens")
        self.time_1 = linear(width, self.precise, "time_1")
        self.time_2 = linear(width, self.precise, "time_2")
        self.classes = None
        if num_classes:
            self.classes = ClassTable(num_classes, width, dtype=self.precise, name="classes")
        self.blocks = self._blocks(GeneratorBlock, modulation=modulation)
        head = {"modulation": modulation, "dtype": self.dtype_policy, "name": "head"}
        self.head = LevelHead(self.grid, patch, channels, **head)
        self.build((None, self.noise_dim), (None,))

    def sample_by(self, sampler, steps):
        """Chooses the sampler and its steps; ValueError for what there is not."""
        check(sampler in SAMPLERS, f"sampler={sampler!r}: give one of {', '.join(SAMPLERS)}")
        whole = isinstance(steps, int) and 1 <= steps <= MOST_STEPS
        check(whole, f"sampler_steps={steps!r}: give a whole number from 1 to {MOST_STEPS:,}")
        self.sampler, self.steps = sampler, steps

    @property
    def resolution(self):
        """Side of what is generated."""
        return self.latent_size

    def build(self, z_shape, labels_shape=None):
        if self.built:
            return
        tokens, style = (None, self.grid**2, self.width), (None, self.width)
        self.positions = self._add_positions(self.grid)
        self.to_tokens.build((None, self.grid**2, self.patch**2 * self.channels))
        self.time_1.build((None, 2 * FREQUENCIES))
        self.time_2.build(style)
        if self.classes:
            self.classes.build((None,))
        for layer in (*self.blocks, self.head):
            layer.build(tokens, style)
        self.built = True

    def call(self, z, labels=None):
        check_shape("z", z, self.noise_dim)
        side = self.latent_size
        x = ops.reshape(ops.cast(z, "float32"), (-1, side, side, self.channels))
        step, last = SAMPLERS[self.sampler]
        h = 1.0 / self.steps

        def velocity(x, t):
            return self.velocity(x, ops.broadcast_to(t, ops.shape(x)[:1]), labels)

        def advanced(i, x):
            return step(velocity, x, h * ops.cast(i, "float32"), h)

        # A loop of the graph: it does not grow with the steps.
        alike = self.steps - (step is not last)
        x = ops.fori_loop(0, alike, advanced, x)  # (B, S, S, c)
        if alike == self.steps:
            return x
        return last(velocity, x, ops.convert_to_tensor(h * alike, "float32"), h)

    def velocity(self, x, t, labels=None):
        """dx/dt at x and t.

        Args:
            x: float tensor (B, S, S, channels).
            t: float tensor (B,), in [0, 1]: 0 is noise, 1 a sample.
            labels: int tensor (B,), of a conditional generator; else None.

        Returns:
            float32 tensor (B, S, S, channels).
        """
        made = self._made(x, self.style(t, labels))
        if self.predicts == "velocity":
            return made
        return (made - x) / ops.maximum(ops.reshape(1.0 - t, (-1, 1, 1, 1)), LEFT)

    def _made(self, x, style):
        """What the head makes of x (B, S, S, c): float32, of its shape."""
        check_shape("x", x, self.latent_size, self.latent_size, self.channels)
        if self.patch > 1:  # TensorFlow's function refuses 1
            x = ops.space_to_depth(x, self.patch)  # (B, g, g, p p c)
        x = ops.reshape(x, (-1, self.grid**2, self.patch**2 * self.channels))  # (B, T, p p c)
        x = ops.cast(self.to_tokens(x), self.precise)  # (B, T, C)
        x = x + ops.cast(self.positions, x.dtype)  # (B, T, C)
        for block in self.blocks:
            x = self._run(block, x, style)  # (B, T, C)
        return ops.cast(self.head(x, style), "float32")  # (B, S, S, c)

    def style(self, t, labels=None):
        """What modulates the blocks (B, C), of times and classes."""
        style = self.time_2(ops.silu(self.time_1(time_features(t))))  # (B, C)
        if self.classes is None:
            return style
        classes = self.classes(labels)  # (B, C)
        check_one_each(classes, t)
        return style + classes

    def compute_output_shape(self, z_shape, labels_shape=None):
        return z_shape[0], self.latent_size, self.latent_size, self.channels

    def get_config(self):
        config = super().get_config()
        del config["trainable_positions"]  # they are not
        return {
            **config,
            "sampler": self.sampler,
            "steps": self.steps,
            "modulation": self.modulation,
            "class_names": self.class_names,
            "predicts": self.predicts,
        }


@keras.saving.register_keras_serializable(package="ladagan_tf")
class LatentFlowGenerator(FlowGenerator):
    """`FlowGenerator` of a VAE's latents, on the scale that they are trained on."""

    makes_images = False
