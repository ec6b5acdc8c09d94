"""What a discriminator sees of a sample: DiffAugment on latents, then GAT's noise or CAT's scales.

Stages are float tensors (B, S, S, K, C): the K cumulative outputs of the generator, noisiest level
first, or K copies of a real latent. All stages of one sample get the same augmentation, with
parameters that can be replayed (official diffaug.py). GAT's multi-level noise guidance, MNG, judges
each under noise of its own level; CAT judges each at a resolution of its own.
"""

import math

import numpy as np
from keras import ops

from ladagan_tf.training import NOISE_SCHEDULES
from ladagan_tf.training.augment import augmentation_draws, cutout, translation
from ladagan_tf.training.draws import Draw

CLEANEST = 0.01  # noise of the last level


def noise_levels(count, schedule="exponential", min_information=0.125):
    """t_k = 1 - a_k + 0.01: standard deviations of the noise, for any K ending at 0.01.

    a_k is the information that a level keeps, from m at the first to 1 at the last, with
    p = k / (K - 1):

        exponential   m^(1 - p)                        official code, with m = 0.125: .885 to .01
        linear        m + (1 - m) p                    the paper's ablation (second-hand)
        cosine        m + (1 - m) sin^2(pi p / 2)      after Nichol and Dhariwal (arXiv 2102.09672)
        learned       exponential at first, see `training.schedules.NoiseSpacing`

    Args:
        count: int, K >= 1; with one level it is the cleanest.
        schedule: one of `training.NOISE_SCHEDULES`.
        min_information: float, m, from 0.01, at which nothing of the latent is left, to 1, at
            which all levels are the cleanest.

    Returns:
        float64 array (K,).

    Raises:
        ValueError: if there is no such schedule, m is out of range, or nothing can be learned:
            there is no level between the ends, or nothing is left of the first output.
    """
    if schedule not in NOISE_SCHEDULES:
        raise ValueError(f"noise_schedule={schedule!r} is not one of {', '.join(NOISE_SCHEDULES)}")
    m = min_information
    if not CLEANEST <= m <= 1:
        raise ValueError(f"min_information={m:g}: give a number from {CLEANEST} to 1")
    if schedule == "learned" and count < 3:
        raise ValueError(f"levels={count}: noise_schedule=learned needs 3, it moves those between")
    if schedule == "learned" and m <= CLEANEST:
        raise ValueError(f"min_information={m:g}: of nothing noise_schedule=learned learns nothing")
    p = np.arange(count) / (count - 1) if count > 1 else np.ones(1)
    exponential = m ** (1.0 - p)
    information = {
        "exponential": exponential,
        "linear": m + (1.0 - m) * p,
        "cosine": m + (1.0 - m) * np.sin(np.pi * p / 2) ** 2,
        "learned": exponential,
    }[schedule]
    return 1.0 - information + CLEANEST


def add_noise(stages, noise, levels=None):
    """x_k' = (1 - t_k) x_k + n_k, with the n_k of all levels from one Markov chain.

    From the cleanest level up, n_k = d n_{k+1} + sqrt(t_k^2 - t_{k+1}^2 d^2) e_k with
    d = (1 - t_k) / (1 - t_{k+1}): for K copies of one latent each level is a further noised copy
    of the next, so that D cannot average independent noises.

    Args:
        stages, noise: float tensors (B, S, S, K, C); noise is standard normal, e_k at place k.
        levels: K falling floats t_k, or a float32 tensor (K,) of them; the official code's by
            default.

    Returns:
        Float tensor (B, S, S, K, C).
    """
    count = stages.shape[3]
    stages, noise = (ops.unstack(x, axis=3) for x in (stages, noise))
    levels = noise_levels(count) if levels is None else levels
    tensors = ops.is_tensor(levels)
    chain, next_level, noised = 0.0, 0.0, []
    for k in reversed(range(count)):
        t = ops.cast(levels[k], stages[k].dtype) if tensors else float(levels[k])
        kept = (1.0 - t) / (1.0 - next_level)
        variance = t**2 - next_level**2 * kept**2
        fresh = ops.sqrt(ops.relu(variance)) if tensors else math.sqrt(max(variance, 0.0))
        chain = kept * chain + fresh * noise[k]  # (B, S, S, C)
        noised.append((1.0 - t) * stages[k] + chain)
        next_level = t
    return ops.stack(noised[::-1], axis=3)


def pyramid(stages, scales, kernel="mean"):
    """Stage k of K at 2^(k - K) of its side, the last as it is.

    Args:
        stages: float tensor (B, S, S, K, C); or (B, S, S, 1, C), the same for all scales.
        scales: int, K.
        kernel: "mean" of the square that a value replaces, which is K - k averages of 2 x 2; or
            "bilinear" with corners not aligned and without antialiasing, which at 1 / 4 and
            below still reads only the two middle values of each axis.

    Returns:
        List of K float tensors (B, s_k, s_k, C), s_k = S 2^(k - K), the smallest first.
    """
    side, count, channels = stages.shape[2:]
    found = []
    for k in range(scales):
        stage, factor = stages[:, :, :, min(k, count - 1)], 2 ** (scales - 1 - k)
        if factor > 1:
            small = side // factor
            blocks = ops.reshape(stage, (-1, small, factor, small, factor, channels))
            if kernel == "bilinear":
                middle = slice(factor // 2 - 1, factor // 2 + 1)
                blocks = blocks[:, :, middle, :, middle]
            stage = ops.mean(blocks, axis=(2, 4))
        found.append(stage)  # (B, s_k, s_k, C)
    return found


COLOR_RATE = 0.5
FLIP_RATE = 0.4


def latent_augmentation_draws(size):
    """What `augment_stages` needs drawn for latents of side `size`: dict from name to `Draw`."""
    steps = augmentation_draws(("color", "translation", "cutout"), size)
    return {"colored": Draw.uniform(), **steps, "flipped": Draw.uniform()}


def color_means(latents):
    """What saturation and contrast turn about.

    Args:
        latents: float tensor (B, S, S, C), as the last stage of a fake; or stages (B, S, S, K, C),
            for each its own.

    Returns:
        Means over the channels (B, S, S, 1) and over each sample (B, 1, 1, 1); of stages
        (B, S, S, K, 1) and (B, 1, 1, K, 1).
    """
    return ops.mean(latents, axis=-1, keepdims=True), ops.mean(
        latents, axis=(1, 2, -1), keepdims=True
    )


def augment_stages(stages, draws, means):
    """Colour in half of the samples; shift and cutout in all; mirrored in two fifths.

    Unlike DiffAugment, saturation and contrast both turn about means of the original latent, which
    are passed in: a perturbed copy is augmented with the means of what it is a copy of.

    Args:
        stages: float tensor (B, S, S, K, C).
        draws: dict of (B,) tensors as `latent_augmentation_draws` describes them.
        means: what `color_means` returned.

    Returns:
        Float tensor (B, S, S, K, C).
    """
    colored = _per_sample(draws["colored"], stages) < COLOR_RATE
    stages = ops.where(colored, _color(stages, draws, means), stages)
    side, levels, channels = stages.shape[2:]
    flat = ops.reshape(stages, (-1, side, side, levels * channels))
    flat = cutout(translation(flat, draws), draws)
    mirrored = _per_sample(draws["flipped"], flat) < FLIP_RATE
    flat = ops.where(mirrored, ops.flip(flat, axis=2), flat)
    return ops.reshape(flat, (-1, side, side, levels, channels))


def left_alone(draws, samples):
    """Draws whose shift and mirroring, what a teacher's image goes through too, change nothing.

    Args:
        draws: dict of (B,) tensors as `latent_augmentation_draws` describes them.
        samples: bool tensor (B,), of which samples.
    """
    shifts = {
        name: ops.where(samples, ops.zeros_like(draws[name]), draws[name])
        for name in ("shift_rows", "shift_columns")
    }
    return {**draws, **shifts, "flipped": ops.where(samples, 1.0, draws["flipped"])}


def _color(stages, draws, means):
    if len(means[0].shape) < len(stages.shape):  # of one latent, for all stages
        means = [ops.expand_dims(m, 3) for m in means]
    grey, mean = means  # (B, S, S, 1 or K, 1), (B, 1, 1, 1 or K, 1)
    stages = stages + (_per_sample(draws["brightness"], stages) - 0.5)
    stages = (stages - grey) * (_per_sample(draws["saturation"], stages) * 2.0) + grey
    return (stages - mean) * (_per_sample(draws["contrast"], stages) + 0.5) + mean


def _per_sample(draw, like):
    return ops.reshape(ops.cast(draw, like.dtype), (-1,) + (1,) * (len(like.shape) - 1))
