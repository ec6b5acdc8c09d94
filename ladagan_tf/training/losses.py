"""Adversarial losses and penalties: pure functions of logits and gradients.

Logits are float tensors (B, K) with K logits per image, positive for real. Losses are scalars,
means over all logits; penalties average over the batch.
"""

from keras import ops


def non_saturating_discriminator(real_logits, fake_logits):
    """mean softplus(-D(x)) + mean softplus(D(G(z))) (Goodfellow et al. 2014, in logits)."""
    return ops.mean(ops.softplus(-real_logits)) + ops.mean(ops.softplus(fake_logits))


def non_saturating_generator(fake_logits):
    """mean softplus(-D(G(z)))."""
    return ops.mean(ops.softplus(-fake_logits))


def hinge_discriminator(real_logits, fake_logits):
    """mean relu(1 - D(x)) + mean relu(1 + D(G(z))) (Lim and Ye 2017)."""
    return ops.mean(ops.relu(1.0 - real_logits)) + ops.mean(ops.relu(1.0 + fake_logits))


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


def consistency(logits, augmented_logits):
    """Balanced consistency for one side: mean squared difference (Zhao et al. 2020, bCR)."""
    return ops.mean(ops.square(logits - augmented_logits))
