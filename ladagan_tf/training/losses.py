"""Adversarial losses and penalties: pure functions of logits and gradients.

Logits are float tensors (B, K) with K logits per image, positive for real. Losses are scalars,
means over all logits; penalties average over the batch.
"""

import keras
from keras import ops

from ladagan_tf.training.autodiff import input_gradient


def adversarial_discriminator(kind, real_logits, fake_logits):
    """D's adversarial loss.

    Args:
        kind: one of `training.LOSSES`.
        real_logits, fake_logits: float tensors (B, K).
    """
    if kind == "rpgan":
        return relativistic(real_logits, fake_logits)
    return apart(kind, -real_logits) + apart(kind, fake_logits)


def apart(kind, wrong):
    """What images of one side add to D's adversarial loss, where the sides are judged apart.

    Args:
        kind: "nsl" or "hinge".
        wrong: float tensor (B, K), what D wants to be low: its logits of generated images, or minus
            those of real ones.
    """
    return ops.mean(ops.softplus(wrong) if kind == "nsl" else ops.relu(1.0 + wrong))


def adversarial_generator(kind, fake_logits, real_logits=None):
    """G's adversarial loss.

    Args:
        kind: one of `training.LOSSES`.
        fake_logits, real_logits: float tensors (B, K); only "rpgan" needs reals.
    """
    if kind == "rpgan":
        return relativistic(fake_logits, real_logits)
    return {"nsl": non_saturating_generator, "hinge": hinge_generator}[kind](fake_logits)


def verdict(kind, real_logits, fake_logits):
    """What a loss wants to be positive at reals: D(x), or D(x) - D(G(z)) of each pair.

    A relativistic D has no zero: a constant that is added to all its logits changes nothing.

    Args:
        kind: one of `training.LOSSES`.
        real_logits, fake_logits: float tensors (B, K).

    Returns:
        Float tensor (B, K).
    """
    return real_logits - fake_logits if kind == "rpgan" else real_logits


def non_saturating_discriminator(real_logits, fake_logits):
    """mean softplus(-D(x)) + mean softplus(D(G(z))) (Goodfellow et al. 2014, in logits)."""
    return adversarial_discriminator("nsl", real_logits, fake_logits)


def non_saturating_generator(fake_logits):
    """mean softplus(-D(G(z)))."""
    return ops.mean(ops.softplus(-fake_logits))


def hinge_discriminator(real_logits, fake_logits):
    """mean relu(1 - D(x)) + mean relu(1 + D(G(z))) (Lim and Ye 2017)."""
    return adversarial_discriminator("hinge", real_logits, fake_logits)


def hinge_generator(fake_logits):
    """-mean D(G(z))."""
    return -ops.mean(fake_logits)


def r1_penalty(input_gradient):
    """mean over images of ||d sum_k D_k / dx||^2 (Mescheder et al. 2018), without a factor 1/2.

    Args:
        input_gradient: float tensor (B, ...), gradient of the SUM of an image's logits. With
            LadaGAN's 25 logits a weight of 1e-4 thus acts like 0.0625 on the mean logit.
    """
    squares = ops.square(ops.cast(input_gradient, "float32"))
    return ops.mean(ops.sum(squares, axis=tuple(range(1, len(squares.shape)))))


def every_nth(tree, n):
    """Images 0, n, 2n ... of a nested structure of tensors (B, ...): 1 / n of a batch.

    Batches are in random order already. Where n divides the images of each part of a batch, these
    are the same images however many replicas and micro-batches there are.
    """
    return tree if n == 1 else keras.tree.map_structure(lambda x: x[::n], tree)


def judged_with_penalty(judge, x, network, n=1, given=()):
    """Logits, and `r1_penalty` at every n-th image.

    Args:
        judge: function from images (b, ...), and what is `given` with them, to logits (b, K), in
            which images do not mix but by batch norm; a part of the images has batch statistics of
            its own.
        x: float tensor (B, ...).
        network: the keras.Model that `judge` calls.
        n: int, must divide B.
        given: tuple of tensors (B, ...), as labels, that are not differentiated.

    Returns:
        Logits (B, K) and a scalar.
    """
    some, with_some = every_nth((x, given), n)
    logits, gradient = input_gradient(lambda x: judge(x, *with_some), some, network)
    return logits if n == 1 else judge(x, *given), r1_penalty(gradient)


def range_penalty(images):
    """Mean square of how far values lie beyond [-1, 1], which is what a picture file can hold.

    Args:
        images: float tensor of any shape.
    """
    return ops.mean(ops.square(ops.relu(ops.abs(images) - 1.0)))


def consistency(logits, augmented_logits):
    """Balanced consistency for one side: mean squared difference (Zhao et al. 2020, bCR)."""
    return ops.mean(ops.square(logits - augmented_logits))


def relativistic(ours, theirs):
    """mean softplus(-(ours - theirs)): each logit against that of its pair (RpGAN).

    Jolicoeur-Martineau (2018); Huang et al. (2024, R3GAN), Eq. 2. D minimises it with
    (real, fake), G with (fake, real).

    Args:
        ours, theirs: float tensors (B, K), paired by sample and by place.
    """
    return ops.mean(ops.softplus(theirs - ours))


def centring(real_logits, fake_logits):
    """mean (D(x) + D(G(z)))^2: holds the middle of a pair's logits at 0, where `relativistic` does
    not care for it (AdvFlow, arXiv 2511.22475).

    Args:
        real_logits, fake_logits: float tensors (B, K), paired.
    """
    return ops.mean(ops.square(real_logits + fake_logits))


def finite_difference_penalty(logits, perturbed_logits, sigma):
    """Mean squared directional derivative (sum_k (D_k(x) - D_k(x + sigma e)) / sigma)^2.

    Its expectation over e ~ N(0, I) is `r1_penalty`, up to O(sigma^2), without a second derivative.
    In float32: logits in half precision are coarser than their difference.

    Args:
        logits, perturbed_logits: float tensors (B, K), D(x) and D(x + sigma e).
        sigma: float.
    """
    difference = ops.cast(logits, "float32") - ops.cast(perturbed_logits, "float32")
    return ops.mean(ops.square(ops.sum(difference, axis=-1) / sigma))


def cosine_alignment(features, targets):
    """1 - cos(features, targets), averaged over all tokens of each sample and over the batch.

    Args:
        features, targets: float tensors (B, N, F); targets get no gradient.
    """
    targets = ops.stop_gradient(targets)
    cosine = ops.sum(_unit(features) * _unit(targets), axis=-1)  # (B, N)
    return ops.mean(1.0 - cosine)


def _unit(x):
    return x / ops.maximum(ops.norm(x, axis=-1, keepdims=True), 1e-12)
