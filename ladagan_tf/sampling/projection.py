"""The latent of a given picture, by gradient descent through the generator.

It follows the projector of StyleGAN2 (Karras et al. 2020, arXiv 1912.04958, App. D): Adam and its
rate. StyleGAN2 looks for w, which of a GAT is possible here, too; every generator is given z. Many
starts take the place of noise on the latent, which left pictures farther off.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.models.pixels import scale_images
from ladagan_tf.progress import progress_bar
from ladagan_tf.sampling import seeds, walks
from ladagan_tf.sampling.sampler import Sampler

RAMP_UP, RAMP_DOWN = 0.05, 0.25  # shares of the steps (StyleGAN2, App. D)
DRAWN_PER_START = 64
SHELL = 3.0  # standard deviations that the length of z may be off
MOST_FRAMES = 72
SMALLEST = 1e-12  # of what distances are divided by


@dataclasses.dataclass(frozen=True)
class Projection:
    """What was found for a picture.

    Attributes:
        latent: float32 array (Z,); in w (C,).
        path: float32 array (F, Z) or (F, C), F <= `MOST_FRAMES`, from the start to `latent`; closer
            together at the beginning, where most happens.
        distances: dict of floats, of images as they are written: "pixels", root mean square in grey
            levels of 255; with features also "features", the length of the difference as a share of
            the target's. "start" is "pixels" of the random picture that it began from.
    """

    latent: np.ndarray
    path: np.ndarray
    distances: dict


def project(
    sampler: Sampler,
    target: np.ndarray,
    features: Callable | None = None,
    label: int | None = None,
    *,
    steps: int = 500,
    starts: int = 8,
    learning_rate: float = 0.1,
    feature_weight: float = 0.1,
    seed: int = 0,
    space: str = "z",
) -> Projection:
    """Finds the latent whose image is nearest to a picture.

    Made small is the mean squared difference of pixels in [-1, 1], plus `feature_weight` times the
    squared distance of features as a share of the target's squared length. The nearest ones of
    `DRAWN_PER_START` normal latents per start are moved, independently, and the one that ends
    nearest is kept. The prior is a bound on the length of z: that of normal latents is about
    normal, near sqrt(Z - 1/2) with the variance 1/2 (Fisher 1922), and what is more than `SHELL`
    deviations off is brought back there. PULSE (Menon et al. 2020, arXiv 2003.03808, Sec. 3.2)
    keeps z on the sphere itself, where the latent of a generator's own picture need not be.

    In w a style moves instead, from those of the nearest latents. It may go anywhere, as
    StyleGAN2's, in units of the standard deviation of the styles of all that were drawn.

    Args:
        sampler: Sampler of a Keras network.
        target: uint8 array (S, S, 3), of the sampler's resolution.
        features: function from images (B, S, S, 3) in [0, 255] to a dict with "features" (B, D), as
            of `evaluation.features.Extractor`; None looks at pixels only.
        label: int, the class, of a conditional model; else None.
        steps: int >= 1, of Adam.
        starts: int >= 1.
        learning_rate: float > 0, the highest; see `rate`.
        feature_weight: float >= 0.
        seed: int in [0, 2^63), of the starts.
        space: "z" or "w", see `Sampler.styled`.

    Returns:
        Projection.

    Raises:
        InputError: if the sampler is a SavedModel, through which no gradients are known to pass,
            has no space w, or makes images that are not finite.
    """
    if sampler.network is None:
        raise InputError(
            f"model={sampler.about.get('model')}: pictures cannot be projected into a SavedModel; "
            "give a run or a .keras file"
        )
    source = sampler.styled() if space == "w" else sampler
    losses = _losses(sampler, target, features, label, feature_weight)
    drawn = seeds.more_latents(seed, starts * DRAWN_PER_START, sampler.noise_dim)
    nearest = drawn[np.argsort(_of_batches(losses, drawn, sampler))[:starts]]
    place = _within_shell
    if space == "w":
        losses = _losses(source, target, features, label, feature_weight)
        moved, place = _moved_styles(sampler.network, drawn, nearest, label)
        nearest = np.zeros_like(moved)
    free = tf.Variable(nearest)
    adam = keras.optimizers.Adam(learning_rate)
    adam.build([free])

    @tf.function(autograph=False)
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(free)
            # Within: brought back afterwards, Adam would not end where the loss is smallest.
            each = losses(place(free))
        adam.apply([tape.gradient(each, free)], [free])  # of the sum: starts do not know each other

    shown = set(np.rint(steps * np.linspace(0.0, 1.0, MOST_FRAMES) ** 2).astype(int))
    path = [place(free)]
    with progress_bar(steps, "step") as bar:
        for number in range(1, steps + 1):
            adam.learning_rate = learning_rate * rate((number - 0.5) / steps)
            step()
            if number in shown:
                path.append(place(free))
            bar.update()
    path = np.stack(path)  # (F, starts, Z)
    path = path[:, np.argmin(losses(path[-1]))]  # (F, Z)
    return Projection(path[-1], path, _distances(source, target, features, label, path))


def rate(done: float) -> float:
    """The factor of the learning rate (StyleGAN2, App. D).

    Args:
        done: float in [0, 1], the share of the steps.

    Returns:
        float: it rises linearly from 0 to 1, stays, and falls as a cosine to 0.
    """
    falling = 0.5 - 0.5 * math.cos(math.pi * min(1.0, (1.0 - done) / RAMP_DOWN))
    return min(1.0, done / RAMP_UP) * falling


def _losses(sampler, target, features, label, feature_weight):
    """The function from latents (B, Z) to what is made small, (B,)."""
    pixels = scale_images(target[None])
    wanted = features and features(tf.constant(target[None]))["features"]

    @tf.function(autograph=False)
    def losses(z):
        given = [] if label is None else [tf.fill(tf.shape(z)[:1], label)]
        images = sampler.generate(z, *given)
        loss = tf.reduce_mean(tf.square(images - pixels), axis=(1, 2, 3))
        if features and feature_weight:
            seen = features((tf.clip_by_value(images, -1.0, 1.0) + 1.0) * 127.5)["features"]
            loss += feature_weight * _relative(seen, wanted)
        return loss

    return losses


def _relative(seen, wanted):
    """Squared distances of features (B, D) as a share of the squared length of (1, D): (B,)."""
    length = tf.maximum(tf.reduce_sum(tf.square(wanted)), SMALLEST)
    return tf.reduce_sum(tf.square(seen - wanted), axis=1) / length


def _of_batches(losses, latents, sampler):
    """Losses (N,) of many latents."""
    size = sampler.affordable(DRAWN_PER_START)
    batches = (latents[i : i + size] for i in range(0, len(latents), size))
    return np.concatenate([losses(tf.constant(batch)) for batch in batches])


def _moved_styles(network, drawn, nearest, label):
    """Styles (B, C) of the `nearest` latents, and the function that moves them.

    It takes how far, (B, C), in standard deviations of the styles of `drawn`, over all channels.
    """
    labels = np.full(len(drawn), label, np.int32)
    styles = np.asarray(network.generator.style(drawn, labels), np.float64)
    deviation = max(float(np.sqrt(np.mean(np.var(styles, axis=0)))), SMALLEST)
    begun = np.asarray(network.generator.style(nearest, labels[: len(nearest)]), np.float32)
    return begun, lambda moved: begun + deviation * moved


def _within_shell(z):
    """Latents (B, Z) at lengths that normal ones have; beyond, only their direction counts."""
    middle, off = math.sqrt(z.shape[1] - 0.5), SHELL * math.sqrt(0.5)
    length = tf.maximum(tf.norm(z, axis=1, keepdims=True), SMALLEST)
    return z * tf.clip_by_value(length, max(0.0, middle - off), middle + off) / length


def _distances(sampler, target, features, label, path):
    """`Projection.distances` of a path (F, Z)."""
    ends = path[[0, -1]]
    labels = None if label is None else np.full(2, label, np.int32)
    (images,) = walks.image_batches(sampler, ends, labels, 2)
    off = (images.astype(np.float64) - target) ** 2
    start, found = np.sqrt(off.mean(axis=(1, 2, 3))).tolist()
    distances = {"pixels": found, "start": start}
    if features:
        seen, wanted = (features(tf.constant(x[None]))["features"] for x in (images[1], target))
        distances["features"] = math.sqrt(float(_relative(seen, wanted)[0]))
    return distances
