"""One step as pure gradient functions, for any backend and any objective.

An adversarial objective (see `training/lada.py`) supplies `generate`, `discriminator_terms` and
`generator_loss`; one of a generator alone (see `training/flow.py`) `own_loss`. A batch and its
draws are dicts of tensors whose first axis is the image, so that micro-batches are slices of both.
"""

import functools

import keras
from keras import ops

from ladagan_tf.training.autodiff import after, value_and_grad
from ladagan_tf.training.schedules import AS_CONFIGURED


def discriminator_gradients(
    objective,
    generator,
    discriminator,
    batch,
    draws,
    micro_batches=1,
    scale=1.0,
    strengths=AS_CONFIGURED,
):
    """Gradients of `scale` times D's loss, and its metrics.

    Args:
        objective: see the module.
        generator, discriminator: keras.Models.
        batch: dict of tensors with B images.
        draws: nested dict of tensors as `objective.discriminator_draws()` describes.
        micro_batches: int, parts computed one after the other to save memory; must divide B. The
            result is that of the whole batch, except that each part has its own BN statistics.
        scale: float or scalar tensor.
        strengths: Strengths of this step.

    Returns:
        List of gradients in the order of `discriminator.trainable_variables`, dict of scalars.
    """

    def differentiated(part, drawn):
        # Outside the differentiated function: nothing of the generator is recorded.
        fake = ops.stop_gradient(objective.generate(generator, part, drawn))

        sums = None
        for term, images in objective.discriminator_terms(
            discriminator, part, fake, drawn, strengths
        ):
            # What the backward pass of the term before needs is freed before the next term begins.
            images = images if sums is None else after(sums[0], images)
            found = _value_and_grad(functools.partial(term, images), scale, discriminator)
            sums = _sum(sums, found)
        return sums

    return _mean_over_parts(differentiated, batch, draws, micro_batches)


def generator_gradients(
    objective,
    generator,
    discriminator,
    batch,
    draws,
    micro_batches=1,
    scale=1.0,
    strengths=AS_CONFIGURED,
):
    """Gradients of `scale` times G's loss, and its metrics; see `discriminator_gradients`."""

    def differentiated(part, drawn):
        def loss():
            return objective.generator_loss(generator, discriminator, part, drawn, strengths)

        return _value_and_grad(loss, scale, generator, also_calls=(discriminator,))

    return _mean_over_parts(differentiated, batch, draws, micro_batches)


def own_gradients(
    objective, generator, batch, draws, micro_batches=1, scale=1.0, strengths=AS_CONFIGURED
):
    """Gradients of `scale` times a generator's own loss, and its metrics.

    Args:
        objective, generator, batch, micro_batches, scale, strengths: see `discriminator_gradients`.
        draws: dict of tensors as `objective.draws()` describes.

    Returns:
        List of gradients in the order of `generator.trainable_variables`, dict of scalars.
    """

    def differentiated(part, drawn):
        def loss():
            return objective.own_loss(generator, part, drawn, strengths)

        return _value_and_grad(loss, scale, generator)

    return _mean_over_parts(differentiated, batch, draws, micro_batches)


def _value_and_grad(loss, scale, network, also_calls=()):
    """(gradients of `scale` times a loss, its metrics)."""

    def scaled():
        value, metrics = loss()
        return value * scale, metrics

    (_, metrics), gradients = value_and_grad(scaled, network, also_calls)
    return gradients, metrics


def _mean_over_parts(differentiated, batch, draws, parts):
    """Mean of what a function makes of the parts of a batch and of its draws, one by one."""
    sums = None
    for index in range(parts):
        found = differentiated(*_part((batch, draws), index, parts, sums))
        sums = _sum(sums, found)
    return sums if parts == 1 else keras.tree.map_structure(lambda x: x / parts, sums)


def _part(tree, index, parts, before):
    """Part `index` of tensors (B, ...), not available until what comes `before` is computed."""
    if parts == 1:
        return tree

    def rows(x):
        count = ops.shape(x)[0]
        if isinstance(count, int) and count % parts:  # or images would be left out
            raise ValueError(f"micro_batches={parts} does not divide the {count} images of a batch")
        size = count // parts
        return x[index * size : (index + 1) * size]

    tree = keras.tree.map_structure(rows, tree)
    # Or all parts would be in memory at once.
    return tree if before is None else after(before[0], tree)


def _sum(sums, values):
    """Of two pairs (gradients, metrics); a metric that one lacks is 0 there."""
    if sums is None:
        return values
    gradients = [a + b for a, b in zip(sums[0], values[0], strict=True)]
    names = {**sums[1], **values[1]}
    return gradients, {name: sums[1].get(name, 0.0) + values[1].get(name, 0.0) for name in names}


def squared_norms(gradients):
    """Each gradient's squared L2 norm: a list of scalars."""
    return [ops.sum(ops.square(g)) for g in gradients]


def clip_by_global_norm(gradients, limit, squares=None):
    """Scales all gradients down together so that their joint L2 norm is at most `limit`.

    `squares`: their `squared_norms`, where these are known already.
    """
    norm = ops.sqrt(sum(squares or squared_norms(gradients)))
    factor = ops.minimum(1.0, limit / (norm + 1e-12))
    return [g * factor for g in gradients]


def update_average(averaged, network, share, statistics=True):
    """Moving average of all weights: e <- (1 - share) * e + share * w.

    Args:
        averaged: keras.Model or `averages.AveragedWeights` of the network's sizes.
        network: keras.Model.
        share: float or scalar tensor in (0, 1].
        statistics: bool, average what is not trained too (LadaGAN's BN statistics); else copy it.
    """
    for average, weight in zip(averaged.weights, network.weights, strict=True):
        if statistics or weight.trainable:
            before, now = map(ops.convert_to_tensor, (average, weight))
            average.assign(before + share * (now - before))
        else:
            average.assign(weight)


def decay_of_halflife(batch_size, images_seen, halflife_kimg, ema_rampup):
    """EMA decay for one step from a half-life in thousands of images (Karras et al. 2020).

    Args:
        batch_size: int, images per step.
        images_seen: images trained on before the step.
        halflife_kimg: float, kimg after which a weight's influence has halved.
        ema_rampup: float, the half-life is at most this share of the images seen, so that the
            average forgets the start early on; 0 for no ramp-up.

    Returns:
        Scalar decay in [0, 1).
    """
    halflife = ops.cast(halflife_kimg * 1000.0, "float32")
    if ema_rampup:
        seen = ops.cast(images_seen, "float32") * ema_rampup
        halflife = ops.minimum(halflife, ops.maximum(seen, 1e-8))
    return ops.power(0.5, batch_size / halflife)
