"""What GAT's networks cost: multiply-adds as closed forms of their sizes.

Counted as in `evaluation.cost`, which also counts parameters: matrix products only. The paper's
"119 GFLOPs" of XL/2 are such multiply-adds.
"""

from ladagan_tf.models.gat_layers import swiglu_width


def _block(tokens, width):
    attention = 4 * width**2 + 2 * tokens * width
    return tokens * (attention + 3 * width * swiglu_width(width))


def generator_multiply_adds(generator):
    """Multiply-adds of one sample's latents, without guidance.

    Args:
        generator: `models.gat.GatGenerator`.

    Returns:
        int.
    """
    g = generator
    tokens, width = g.grid**2, g.width
    mapping = 2 * g.noise_dim * width + width**2
    head = width**2 + tokens * width * g.patch**2 * g.channels
    return mapping + g.depth * (_block(tokens, width) + 4 * width**2) + g.levels * head


def discriminator_multiply_adds(discriminator, features=True):
    """Multiply-adds of one sample, all its levels at once.

    Args:
        discriminator: `models.gat.GatDiscriminator`.
        features: bool, count the alignment head, which only clean real images need.

    Returns:
        int.
    """
    d = discriminator
    tokens, width = d.grid**2, d.width
    embedding = tokens * d.patch**2 * d.levels * d.channels * width
    total = embedding + d.depth * _block(tokens + 1, width)
    total += 2 * d.class_dim**2 + width * d.class_dim
    if features and d.teacher_dim is not None:
        inner = d.projector_dim
        total += (tokens + 1) * (width * inner + inner**2 + inner * d.teacher_dim)
    return total


def training_multiply_adds(generator, discriminator):
    """Multiply-adds of one training step per sample, counted as the paper's scaling law does.

    D's step: a pass of G and four of D (real, fake and both perturbed), each three times for its
    derivatives. G's step: three of G, and D on real (once) and on fakes (three times). The
    alignment head is counted in every pass of D.

    Args:
        generator, discriminator: `models.gat` networks.

    Returns:
        int.
    """
    return 4 * generator_multiply_adds(generator) + 16 * discriminator_multiply_adds(discriminator)
