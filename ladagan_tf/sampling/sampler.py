"""One interface to a generator, whatever it was loaded from."""

import collections.abc
import dataclasses
import functools
import numbers

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError, reason
from ladagan_tf.models.flow.networks import FlowGenerator
from ladagan_tf.models.flow.samplers import MOST_STEPS
from ladagan_tf.models.gat.decoded import undecoded
from ladagan_tf.sampling import seeds

PROBES = 2  # images that a foreign generator makes before it is used
RANGE = 8.0  # far beyond [-1, 1], which is nominal, and far below 255
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
        truncation_z: float, see `seeds.latents`; None for none.
    """

    generate: collections.abc.Callable
    noise_dim: int
    resolution: int
    num_classes: int
    network: keras.Model | None
    about: dict
    truncated: collections.abc.Callable | None = None
    class_names: tuple[str, ...] = ()
    truncation_z: float | None = None

    def latents(self, numbers: collections.abc.Sequence[int]) -> np.ndarray:
        """What this generator makes the images of seeds of: see `seeds.latents`."""
        return seeds.latents(numbers, self.noise_dim, self.truncation_z)

    def inputs(
        self,
        numbers: collections.abc.Sequence[int],
        labels: collections.abc.Sequence[int] | None = None,
    ) -> list[np.ndarray]:
        """What `generate` takes of seeds: latents (B, Z), and int32 labels (B,) if conditional.

        Args:
            numbers: seeds.
            labels: as many classes; None: in turn by seed.
        """
        if not self.num_classes:
            return [self.latents(numbers)]
        if labels is None:
            labels = seeds.labels(numbers, self.num_classes, "balanced")
        return [self.latents(numbers), np.asarray(labels, np.int32)]

    def within(self, truncation_z: float) -> "Sampler":
        """This generator with latents that have no component beyond [-truncation_z, truncation_z].

        Raises:
            InputError: if that is out of range.
        """
        seeds.check_truncation(truncation_z)
        about = {**self.about, "truncation_z": truncation_z}
        return dataclasses.replace(self, truncation_z=truncation_z, about=about)

    def at(self, psi: float) -> "Sampler":
        """This generator truncated: psi 1 not at all, 0 to the mean style of each class.

        Of a LadaGAN that is what its norms read; the first tokens still are of the latent.

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

    @property
    def has_styles(self) -> bool:
        """Whether images are made of styles alone, as a GAT's are; then `styled` takes those."""
        return hasattr(self.network, "of_style") and not flow_of(self.network)

    def styled(self) -> "Sampler":
        """This generator from styles, which its mapping makes of z and the class, in place of z.

        Its latents are (B, `noise_dim`), the width of a style; psi, if not 1, draws them towards
        the class's mean style.

        Raises:
            InputError: if it has no styles that are all an image is made of, as a GAT has them; or
                if it is guided.
        """
        network = self.network
        if not self.has_styles:
            raise InputError(
                f"model={self.about.get('model')}: only a GAT of --run_dir or a .keras file makes "
                "its images of styles alone; others have z"
            )
        if self.about.get("guidance", 1.0) != 1.0:
            raise InputError(
                f"guidance={self.about['guidance']:g}: it is for what styles are made of; of "
                "given styles only guidance=1"
            )
        stage = self.about.get("stage")

        @tf.function(autograph=False)
        def generate(w, labels):
            return network.of_style(w, stage)

        @tf.function(autograph=False)
        def compiled(psi, w, labels):
            mean = tf.gather(network.mean_style, labels)  # (B, C)
            return network.of_style(mean + psi * (w - mean), stage)

        def truncated(psi, w, labels):
            return compiled(tf.convert_to_tensor(psi, tf.float32), w, labels)

        source = dataclasses.replace(
            self, generate=generate, noise_dim=network.generator.width, truncated=truncated
        )
        psi = self.about.get("psi", 1.0)
        return source if psi == 1.0 else source.at(psi)

    def affordable(self, most: int) -> int:
        """Images to compute at once: `most`, or fewer of large ones; the default batch size."""
        return max(1, min(most, PIXELS // self.resolution**2))


def of_function(
    function: collections.abc.Callable,
    noise_dim: int,
    num_classes: int = 0,
    name: str = "function",
) -> Sampler:
    """`Sampler` for any function that makes images of latents, of whatever library.

    It is called with two latents at once to learn the size of its images.

    Args:
        function: from float32 arrays (B, noise_dim), standard normal latents, and int32 arrays (B,)
            of classes if conditional, to float images (B, S, S, 3), nominally in [-1, 1], on the
            CPU.
        noise_dim: int, Z.
        num_classes: int; 0 for an unconditional generator.
        name: str, what protocols call it.

    Raises:
        InputError: if it makes something else than such images, or a size is none.
    """
    check_count("noise_dim", noise_dim)
    if num_classes != 0:
        check_count("num_classes", num_classes)
    kinds = [np.float32, np.int32][: 2 if num_classes else 1]
    probe = [np.random.default_rng(0).standard_normal((PROBES, noise_dim), np.float32)]
    probe += [np.zeros(PROBES, np.int32)][: len(kinds) - 1]
    images = np.asarray(function(*probe))
    try:
        side = checked_side(images, PROBES, ours=False)
    except ValueError as error:
        raise InputError(f"{name}: {reason(error)}") from None

    def called(*inputs):
        return np.asarray(function(*inputs), np.float32)

    def generate(z, *labels):
        given = [tf.cast(x, kind) for x, kind in zip((z, *labels), kinds, strict=True)]
        images = tf.numpy_function(called, given, tf.float32)
        return tf.ensure_shape(images, (z.shape[0], side, side, 3))

    return Sampler(generate, noise_dim, side, num_classes, None, {"model": name})


def checked_side(images: np.ndarray, count: int, ours: bool) -> int:
    """The side of the images of a foreign generator.

    Args:
        images: what it makes of `count` latents.
        count: int.
        ours: bool, whether `exporting` wrote it; other generators may have images from 0 to 1.

    Raises:
        ValueError: unless they are (count, S, S, 3), floats, nominally in [-1, 1].
    """
    side = images.shape[1] if images.ndim == 4 else 0
    if not side or images.shape != (count, side, side, 3):
        raise ValueError(
            f"it makes images of shape {images.shape} of {count} latents; they must be "
            f"({count}, S, S, 3)"
        )
    if images.dtype.kind != "f":
        raise ValueError(f"its images are {images.dtype}; they must be floats in [-1, 1]")
    low, high = images.min(), images.max()
    signed = low < 0.0 or low == high or ours  # of one colour, they tell nothing
    if not (signed and low >= -RANGE and high <= RANGE):
        raise ValueError(
            f"its images are from {low:.3g} to {high:.3g}; they must be nominally in [-1, 1]"
        )
    return side


def check_count(name: str, value: int) -> None:
    """Raises InputError unless an argument is a whole number from 1 on; bool is none."""
    whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if not whole or value < 1:
        raise InputError(f"{name}={value}: give a whole number, 1 or more")


def check_stage(stage: int, network: keras.Model | None) -> None:
    """Raises InputError unless a network has a stage of this number, from 1 on."""
    levels = getattr(network, "levels", 0)
    if not 1 <= stage <= levels:
        has = f"it has stages 1 to {levels}" if levels else "this model has only its images"
        raise InputError(f"stage={stage}: {has}")


def check_psi(psi: float) -> None:
    """Raises InputError unless a truncation is from 0 to 1."""
    if not 0.0 <= psi <= 1.0:
        raise InputError(f"psi={psi:g}: give 0 (each class's mean) to 1 (no truncation)")


def check_guidance(guidance: float) -> None:
    """Raises InputError unless a guidance is above 0."""
    if not guidance > 0.0:
        raise InputError(f"guidance={guidance:g}: give a number above 0; 1 is none")


def check_steps(steps: int) -> None:
    """Raises InputError unless a sampler can have so many steps."""
    if not 1 <= steps <= MOST_STEPS:
        raise InputError(f"sampler_steps={steps}: give a whole number from 1 to {MOST_STEPS:,}")


def check_no_sampler(sampler: str | None, sampler_steps: int | None, why: str) -> None:
    """Raises InputError, saying `why`, if `sampler` or `sampler_steps` ask for one."""
    for name, value in (("sampler", sampler), ("sampler_steps", sampler_steps)):
        if value is not None:
            raise InputError(f"{name}={value}: {why}; only a flow has a sampler to choose")


def flow_of(network: keras.Model | None) -> FlowGenerator | None:
    """The flow that a network is, or decodes; None if it is another generator."""
    inner = undecoded(network)
    return inner if isinstance(inner, FlowGenerator) else None


def of_network(
    network: keras.Model,
    about: dict | None = None,
    psi: float = 1.0,
    guidance: float = 1.0,
    stage: int | None = None,
    sampler: str | None = None,
    sampler_steps: int | None = None,
) -> Sampler:
    """`Sampler` for a Keras generator in memory.

    Args:
        network: keras.Model with `noise_dim` and `resolution`, and `num_classes` if conditional.
            If it `truncates` its call takes psi, if it `guides` guidance, and `about` tells both.
        about: dict, see `Sampler`.
        psi, guidance: see `GatGenerator`; other values than 1 need a mean style.
        stage: see `DecodedGenerator`; `about` tells it.
        sampler, sampler_steps: of a flow, which is changed; as it is by default, and `about` tells.

    Raises:
        InputError: if it is no generator, or psi, guidance, stage, sampler or steps are out of
            range or not for it.
    """
    about = dict(about or {})
    if not hasattr(network, "noise_dim") or not hasattr(network, "resolution"):
        raise InputError(f"{about.get('model', network.name)}: it is not a generator")
    truncates, guides = (getattr(network, name, False) for name in ("truncates", "guides"))
    check_guidance(guidance)
    if guidance != 1.0 and not guides:
        raise InputError(
            f"guidance={guidance:g}: this model has no styles to guide, only guidance=1"
        )
    if getattr(network, "paper", None) == "CAT":
        about["paper"] = "CAT"  # how GAT's authors sample says nothing of it
    if flow := flow_of(network):
        try:
            flow.sample_by(sampler or flow.sampler, sampler_steps or flow.steps)
        except ValueError as error:
            raise InputError(str(error)) from None
        about |= {"sampler": flow.sampler, "sampler_steps": flow.steps}
    else:
        check_no_sampler(sampler, sampler_steps, "this model makes an image in one step")
    strength = {"guidance": guidance} if guidance != 1.0 else {}
    if stage is not None:
        check_stage(stage, network)
        strength["stage"] = about["stage"] = stage

    @tf.function(autograph=False)
    def generate(z, *labels):
        _check_backend()
        return network(z, *labels, training=False, **strength)

    @tf.function(autograph=False)
    def compiled(psi, z, *labels):
        _check_backend()
        return network(z, *labels, psi=psi, training=False, **strength)

    def truncated(psi, z, *labels):  # a tensor: a number would be compiled anew
        return compiled(tf.convert_to_tensor(psi, tf.float32), z, *labels)

    source = Sampler(
        generate,
        network.noise_dim,
        network.resolution,
        getattr(network, "num_classes", 0),
        network,
        about | ({"psi": 1.0, "guidance": guidance} if guides else {}),
        truncated if truncates else None,
        tuple(getattr(network, "class_names", ())),
    )
    return source if psi == 1.0 else source.at(psi)


def _check_backend():
    """Raises InputError unless Keras computes with TensorFlow: networks alone also do with JAX."""
    if (backend := keras.backend.backend()) != "tensorflow":
        raise InputError(f"KERAS_BACKEND={backend}: a sampler's images are made under tensorflow")
