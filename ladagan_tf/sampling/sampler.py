"""One interface to a generator, whatever it was loaded from."""

import collections.abc
import dataclasses
import functools

import keras
import tensorflow as tf

from ladagan_tf.errors import InputError

PIXELS = 2**20  # of images computed at once: 64 of 128 px; 6 GB for the usual decoder of GAT


@dataclasses.dataclass(frozen=True)
class Sampler:
    """A generator and where it came from.

    Attributes:
        generate: function from latents (B, Z), and int32 labels (B,) if conditional, arrays or
            tensors, to float images (B, S, S, 3), nominally in [-1, 1].
        noise_dim: int, Z.
        resolution: int, S.
        num_classes: int; 0 for an unconditional generator.
        network: keras.Model; None for a SavedModel.
        about: dict of plain values that identify it in a protocol.
        truncated: `generate` with psi in [0, 1] as its first argument; None where there is no mean
            style to truncate towards.
        class_names: tuple of num_classes texts; empty where classes have no names.
    """

    generate: collections.abc.Callable
    noise_dim: int
    resolution: int
    num_classes: int
    network: keras.Model | None
    about: dict
    truncated: collections.abc.Callable | None = None
    class_names: tuple[str, ...] = ()

    def at(self, psi):
        """This generator truncated: psi 1 not at all, 0 to the mean style of each class.

        Raises:
            InputError: if there is no mean style, or psi is out of range.
        """
        if self.truncated is None:
            raise InputError(
                f"psi={psi:g}: this model has no mean style to truncate towards, only psi=1"
            )
        check_psi(psi)
        return dataclasses.replace(
            self,
            generate=functools.partial(self.truncated, psi),
            about={**self.about, "psi": psi},
        )

    def affordable(self, most):
        """Images to compute at once: `most`, or fewer of large ones; the default batch size."""
        return max(1, min(most, PIXELS // self.resolution**2))


def check_stage(stage, network):
    """Raises InputError unless a network has a stage of this number, from 1 on."""
    levels = getattr(network, "levels", 0)
    if not 1 <= stage <= levels:
        has = f"it has stages 1 to {levels}" if levels else "this model has only its images"
        raise InputError(f"stage={stage}: {has}")


def check_psi(psi):
    """Raises InputError unless a truncation is from 0 to 1."""
    if not 0.0 <= psi <= 1.0:
        raise InputError(f"psi={psi:g}: give 0 (each class's mean) to 1 (no truncation)")


def of_network(network, about=None, psi=1.0, guidance=1.0, stage=None):
    """`Sampler` for a Keras generator in memory.

    Args:
        network: keras.Model with `noise_dim` and `resolution`, and `num_classes` if conditional.
            With a `mean_style`, its call takes psi and guidance, and `about` tells them.
        about: dict, see `Sampler`.
        psi, guidance: see `GatGenerator`; other values than 1 need a mean style.
        stage: see `DecodedGenerator`; `about` tells it.

    Raises:
        InputError: if it is no generator, or psi, guidance or stage are out of range or not for it.
    """
    about = dict(about or {})
    if not hasattr(network, "noise_dim") or not hasattr(network, "resolution"):
        raise InputError(f"{about.get('model', network.name)}: it is not a generator")
    truncates = hasattr(network, "mean_style")
    if not guidance > 0.0:
        raise InputError(f"guidance={guidance:g}: give a number above 0; 1 is none")
    if guidance != 1.0 and not truncates:
        raise InputError(
            f"guidance={guidance:g}: this model has no styles to guide, only guidance=1"
        )
    if getattr(network, "paper", None) == "CAT":
        about["paper"] = "CAT"  # how GAT's authors sample says nothing of it
    strength = {"guidance": guidance} if guidance != 1.0 else {}
    if stage is not None:
        check_stage(stage, network)
        strength["stage"] = about["stage"] = stage

    @tf.function(autograph=False)
    def generate(z, *labels):
        return network(z, *labels, training=False, **strength)

    @tf.function(autograph=False)
    def compiled(psi, z, *labels):
        return network(z, *labels, psi=psi, training=False, **strength)

    def truncated(psi, z, *labels):  # a tensor: a number would be compiled anew
        return compiled(tf.convert_to_tensor(psi, tf.float32), z, *labels)

    source = Sampler(
        generate,
        network.noise_dim,
        network.resolution,
        getattr(network, "num_classes", 0),
        network,
        about | ({"psi": 1.0, "guidance": guidance} if truncates else {}),
        truncated if truncates else None,
        tuple(getattr(network, "class_names", ())),
    )
    return source if psi == 1.0 else source.at(psi)
