"""Trains a compact autoencoder of SD-1.x's class, so that GAT's latent path needs no download.

    loss = L1(x, y) + 4 L2(x, y) + 1/2 edges(x, y) + w * KL per latent value

No perceptual network and no discriminator: reconstructions are softer than those of published
autoencoders. What generated latents decode to is bounded by the held-out PSNR recorded here.
"""

import math
import pathlib

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from ladagan_tf import pictures
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.decimals import plain
from ladagan_tf.devices import seed_keras
from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, check_writable, set_aside, writing
from ladagan_tf.models.pixels import scale_images
from ladagan_tf.models.vae.autoencoder import AutoencoderKL, kl_per_image, split_moments
from ladagan_tf.progress import progress_bar
from ladagan_tf.training.optimizers import FusedAdam
from ladagan_tf.weights.vae_weights import default_path

KIMG = 16.0
MOST_KIMG = 1e9
BATCH_SIZE = 8
LEARNING_RATE = 2e-3
WARM_UP = 0.05  # share of all steps
WIDTHS = (16, 32, 64)  # a quarter of the side; wide only where the grid is small
GROUPS = 4  # norms of few channels each would take colours out of the last layer
RESNETS = 1
L2_WEIGHT = 4.0  # rare colours: to L1 a few wrong pixels are nothing
EDGE_WEIGHT = 0.5
KL_WEIGHT = 1e-3
CLIP_NORM = 1.0
TRAINED_SHARE = 0.9  # the rest tells how good reconstructions are
SHEET_COLUMNS = 12


def edge_difference(x, y):
    """Mean |difference| of the steps between neighbouring pixels: keeps edges sharp, scalar."""
    d = x - y  # (B, H, W, 3)
    rows, columns = d[:, 1:] - d[:, :-1], d[:, :, 1:] - d[:, :, :-1]
    return ops.mean(ops.abs(rows)) + ops.mean(ops.abs(columns))


def psnr(x, y):
    """Peak signal-to-noise ratio in dB of each image: floats in [0, 255], (B, H, W, C) -> (B,)."""
    error = np.mean(np.square(np.asarray(x, "float64") - np.asarray(y, "float64")), axis=(1, 2, 3))
    return 10.0 * np.log10(255.0**2 / np.maximum(error, 1e-10))


def train_vae(folder, out=None, kimg=KIMG, seed=0, widths=WIDTHS, kl_weight=KL_WEIGHT, dtype=None):
    """Trains on nine tenths of a prepared set, measures on the rest, and saves.

    It sets Keras's global random seed. Order and noise derive from (seed, step).

    Args:
        folder: a prepared set.
        out: path of the .keras file; None is `default_path(folder)`. A sheet of held-out images
            above their reconstructions is written beside it, ending in .png.
        kimg: float, thousands of images to train on.
        seed: int.
        widths: ints, multiples of 4: channels per level; 2 ** (len - 1) must divide the side.
        kl_weight: float >= 0, weight of the KL divergence per latent value.
        dtype: dtype policy to train in; None is Keras's own. What is saved is float32.

    Returns:
        AutoencoderKL whose `scaling_factor` is 1 / the measured latent standard deviation, and
        whose `about` holds the set's name and content hash, "latent_std" and "held_out_psnr_db".

    Raises:
        InputError: if the set is smaller than 10 batches, an argument is out of its range,
            or nothing can be written there.
    """
    info = dataset_info.load_info(folder)
    out = pathlib.Path(out or default_path(info.folder))
    sheet = out.with_suffix(".png")
    _check(info, out, kimg, widths, kl_weight)
    for path in (out, sheet):
        check_writable(path)
    steps = round(kimg * 1000 / BATCH_SIZE)
    seed_keras(seed)
    sizes = {"widths": widths, "resnets": RESNETS, "groups": GROUPS}
    trained = AutoencoderKL(**sizes, dtype=dtype)
    _fit(trained, folder, steps, seed, kl_weight)
    network = AutoencoderKL(**sizes, dtype="float32")
    network.set_weights(trained.get_weights())
    measured, shown = _measure(network, info)
    network.about = {
        "trained_on": info.folder.name,
        "content_sha256": info.content_sha256,
        "resolution": info.resolution,
        "kimg": steps * BATCH_SIZE / 1000,
        "seed": seed,
        "kl_weight": kl_weight,
        **measured,
    }
    network.scaling_factor = 1.0 / network.about["latent_std"]
    foreign = sheet.exists() and not out.exists()  # else it is that of the network replaced
    with writing(out), atomic_path(out) as temporary:
        network.save(temporary)
    with writing(sheet):  # last: the network is what took the time
        if foreign:
            print(f"{sheet}: it is of no network here, and is now {set_aside(sheet).name}")
        _write_sheet(sheet, shown)
    return network


def _check(info, out, kimg, widths, kl_weight):
    if info.latents:
        raise InputError(f"dataset={info.folder}: it holds latents; give the set of their images")
    if out.suffix != ".keras":
        raise InputError(f"out={out}: it must end in .keras")
    if not 0 < kimg <= MOST_KIMG or round(kimg * 1000 / BATCH_SIZE) < 1:
        least = BATCH_SIZE / 1000
        raise InputError(
            f"kimg={kimg:g}: it must be from {least}, one batch, to {plain(MOST_KIMG)}"
        )
    if info.count < 10 * BATCH_SIZE:
        raise InputError(
            f"dataset={info.folder}: {info.count} images; give {10 * BATCH_SIZE} or more"
        )
    if not widths or any(width < 1 or width % GROUPS for width in widths):
        raise InputError(f"widths={list(widths)}: they must be multiples of {GROUPS}")
    factor = 2 ** (len(widths) - 1)
    if info.resolution % factor:
        raise InputError(
            f"widths={list(widths)}: {len(widths)} levels need a side divisible by {factor}, but "
            f"dataset={info.folder} has {info.resolution}"
        )
    if not kl_weight >= 0:
        raise InputError(f"kl_weight={kl_weight}: it must be at least 0")


def losses(network, images, noise, kl_weight):
    """The training loss and its parts, scalars.

    Args:
        network: `AutoencoderKL`.
        images: float32 tensor (B, H, W, 3) in [-1, 1].
        noise: float32 tensor (B, h, w, C), standard normal.
        kl_weight: float.

    Returns:
        Loss and a dict of "l1" and "kl" (nats per latent value).
    """
    mean, logvar = split_moments(network.moments(images))  # (B, h, w, C)
    decoded = network.decode(mean + ops.exp(0.5 * logvar) * noise)  # (B, H, W, 3)
    l1 = ops.mean(ops.abs(images - decoded))
    l2 = ops.mean(ops.square(images - decoded))
    kl = ops.mean(kl_per_image(mean, logvar)) / math.prod(mean.shape[1:])
    edges = edge_difference(images, decoded)
    loss = l1 + L2_WEIGHT * l2 + EDGE_WEIGHT * edges + kl_weight * kl
    return loss, {"l1": l1, "kl": kl}


def _fit(network, folder, steps, seed, kl_weight):
    warm_up = max(1, round(WARM_UP * steps))
    rate = keras.optimizers.schedules.CosineDecay(
        0.0, max(1, steps - warm_up), warmup_target=LEARNING_RATE, warmup_steps=warm_up
    )
    optimizer = FusedAdam(rate, beta_2=0.99, global_clipnorm=CLIP_NORM)
    optimizer.build(network.trainable_variables)

    @tf.function(autograph=False)
    def step(images, index):
        images = scale_images(images)
        shape = (images.shape[0], *(s // network.factor for s in images.shape[1:3]))
        words = tf.stack([tf.constant(seed, tf.int64), tf.cast(index, tf.int64)])
        noise = tf.random.stateless_normal((*shape, network.latent_channels), words, alg="philox")
        with tf.GradientTape() as tape:
            loss, parts = losses(network, images, noise, kl_weight)
        gradients = tape.gradient(loss, network.trainable_variables)
        optimizer.apply(gradients, network.trainable_variables)
        return parts

    stream = pipeline.make_dataset(folder, batch_size=BATCH_SIZE, seed=seed, subset=TRAINED_SHARE)
    bar = progress_bar(steps * BATCH_SIZE, "img", "training")
    with pipeline.damage_as_input_error(folder), bar:
        for index, (images, _) in enumerate(stream.take(steps)):
            parts = step(images, tf.constant(index))
            if index % 20 == 0 or index + 1 == steps:
                parts = {name: float(value) for name, value in parts.items()}
                if not all(map(math.isfinite, parts.values())):
                    raise InputError(f"the loss is not finite at step {index}: {parts}")
                bar.set_postfix({name: f"{value:.4f}" for name, value in parts.items()})
            bar.update(BATCH_SIZE)


def _measure(network, info):
    """Latent statistics of the trained images and PSNR of the others, a dict; and pairs of those:
    a list of (original, reconstruction), uint8 arrays (S, S, 3).
    """
    trained_on = np.zeros(info.count, bool)
    trained_on[pipeline.subset_indices(info.count, TRAINED_SHARE)] = True
    shape = (None, info.resolution, info.resolution, 3)

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.uint8)], autograph=False)
    def compute(images):
        mean, std = network.encode(scale_images(images))
        return mean, std, network.decode(mean)

    second_moment, first_moment, noise, quality, shown, first = 0.0, 0.0, 0.0, [], [], 0
    for images, _ in pipeline.iterate_images(info.folder, 64):
        mean, std, decoded = (x.numpy() for x in compute(images))
        used = trained_on[first : first + len(images)]
        first += len(images)
        # Of samples, not of means: what a generator learns are draws from the Gaussians.
        second_moment += np.sum(np.mean(mean[used] ** 2.0 + std[used] ** 2.0, axis=(1, 2, 3)))
        first_moment += np.sum(np.mean(mean[used], axis=(1, 2, 3), dtype=np.float64))
        noise += np.sum(np.mean(std[used], axis=(1, 2, 3)))
        decoded = pictures.to_uint8(decoded[~used])
        quality.append(psnr(images[~used], decoded))
        shown += list(zip(images[~used], decoded, strict=True))
    total, quality = trained_on.sum(), np.concatenate(quality)
    statistics = {
        "latent_std": float(np.sqrt(second_moment / total - (first_moment / total) ** 2)),
        "latent_mean": float(first_moment / total),
        "posterior_std": float(noise / total),
        "held_out_psnr_db": float(np.mean(quality)),
        "held_out_psnr_db_worst_tenth": float(np.mean(np.sort(quality)[: -(-len(quality) // 10)])),
        "held_out_images": len(quality),
    }
    return statistics, shown


def _write_sheet(path, pairs):
    """Rows of originals, each above the row of their reconstructions, spread over the pairs."""
    chosen = np.unique(np.linspace(0, len(pairs) - 1, 3 * SHEET_COLUMNS).astype(int))
    rows = [chosen[i : i + SHEET_COLUMNS] for i in range(0, len(chosen), SHEET_COLUMNS)]
    rows = [row for row in rows if len(row) == len(rows[0])]
    tiles = [pairs[i][which] for row in rows for which in (0, 1) for i in row]
    pictures.save_png(path, pictures.grid(np.stack(tiles), len(rows[0])))
