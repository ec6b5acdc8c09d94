"""What GAT's and CAT's networks cost: multiply-adds as closed forms of their sizes.

Counted as in `cost.lada`, which also counts parameters: matrix products only. The papers'
"119 GFLOPs" of GAT-XL/2 and 46 of CAT-M/2 are such multiply-adds.
"""

from ladagan_tf.cost.lada import memory_in_words, memory_parts, network_line
from ladagan_tf.cost.layers import conv_multiply_adds as conv
from ladagan_tf.models.gat.layers import swiglu_width

GRAPHS = 0.8e9  # bytes, see `cost.lada.of_process`: of two transformers, with all that D is shown


def block_multiply_adds(network, tokens):
    """Multiply-adds of a block without its modulation: int.

    Args:
        network: `models.gat.transformer.GatTransformer`.
        tokens: int, that the block reads.
    """
    width = network.width
    mixing = network.num_heads if network.attention == "additive" else 2 * tokens
    return tokens * (4 * width**2 + width * mixing + 3 * width * swiglu_width(width))


def generator_multiply_adds(generator):
    """Multiply-adds of one sample's latents, without guidance.

    Args:
        generator: `models.gat.networks.GatGenerator`.

    Returns:
        int.
    """
    g = generator
    tokens, width = g.grid**2, g.width
    mapping = 2 * g.noise_dim * width + width**2
    of_block, of_head = g.blocks[0].parts * width**2, g.heads[0].parts * width**2  # modulations
    head = of_head + tokens * width * g.patch**2 * g.channels
    return mapping + g.depth * (block_multiply_adds(g, tokens) + of_block) + g.levels * head


def discriminator_multiply_adds(discriminator, features=True):
    """Multiply-adds of one sample: of GAT all its levels at once, of CAT scale by scale.

    Args:
        discriminator: `models.gat.networks.GatDiscriminator`, or CAT's.
        features: bool, count the alignment head, which only clean real images need.

    Returns:
        int.
    """
    d = discriminator
    width, total = d.width, 2 * d.class_dim**2
    for grid in d.grids:
        tokens = grid**2
        total += tokens * d.patch**2 * d.seen_channels * width
        total += d.depth * block_multiply_adds(d, tokens + 1) + width * d.class_dim
    if features and d.teacher_dim is not None:
        inner = d.projector_dim
        total += (d.grid**2 + 1) * (width * inner + inner**2 + inner * d.teacher_dim)
    return total


def training_multiply_adds(generator, discriminator, share=1.0):
    """Multiply-adds of one training step per sample, counted as the paper's scaling law does.

    D's step: a pass of G and four of D (real, fake and both perturbed), each three times for its
    derivatives. G's step: three of G, and D on real (once) and on fakes (three times). The
    alignment head is counted in every pass of GAT's D, and not in CAT's.

    Args:
        generator, discriminator: `models.gat` networks.
        share: float, of the samples at which penalties are taken, which need the perturbed ones.

    Returns:
        int.
    """
    passes = 10 + 6 * share
    d = discriminator_multiply_adds(discriminator, features=discriminator.paper == "GAT")
    return 4 * generator_multiply_adds(generator) + round(passes * d)


def kept_numbers(network, *tokens):
    """Numbers that a network's blocks keep of one sample for the derivative: int.

    Args:
        network: `models.gat.transformer.GatTransformer`.
        *tokens: ints, of each sequence that it reads.
    """
    blocks = [_block_activations(network, count) for count in tokens]
    if network.remat:
        return network.depth * sum(tokens) * network.width + max(blocks)
    return network.depth * sum(blocks)


def _block_activations(network, tokens):
    # Normed and residual streams, q, k, v before and after their norms, the scores, SwiGLU; with
    # additive attention also the product of the global query and k.
    width, heads = network.width, network.num_heads
    mixing = width + 2 * heads if network.attention == "additive" else 2 * heads * tokens
    return tokens * (12 * width + mixing + 3 * swiglu_width(width))


def memory_estimate(
    generator, discriminator, batch_size, micro_batches=1, bytes_per_activation=4, share=1.0
):
    """Rough peak memory of one training step on one device, in bytes, by what uses it.

    Counted as in `lada.memory_estimate`. The greater phase is D's: four passes of D are kept for
    the backward pass; with `remat` only the blocks' inputs of each, and one block at a time.

    Args:
        generator, discriminator: `models.gat` networks.
        batch_size: int, samples per device and step.
        micro_batches: int, parts the batch is computed in.
        bytes_per_activation: int, 4 for float32 and 2 for the half precisions. D's own phase is in
            float32 where a penalty is taken.
        share: see `training_multiply_adds`.

    Returns:
        Dict of ints, bytes: "weights", "optimizer", "ema", "gradients", "activations", "total".
    """
    one_g = kept_numbers(generator, generator.grid**2)
    one_d = kept_numbers(discriminator, *(grid**2 + 1 for grid in discriminator.grids))
    passes = 2 + 2 * share
    per_sample = max(round(passes * one_d * 4), (one_g + one_d) * bytes_per_activation)
    activations = batch_size // micro_batches * per_sample
    return memory_parts([generator, discriminator], activations, micro_batches)


def report(generator, discriminator, batch_size, share=1.0, **step):
    """Parameters, multiply-adds and the memory estimate of a training step, as text.

    Args:
        generator, discriminator: `models.gat` networks.
        batch_size: int, samples per device and step.
        share: see `training_multiply_adds`.
        **step: the other arguments of `memory_estimate`.

    Returns:
        str of three lines.
    """
    memory = memory_estimate(generator, discriminator, batch_size, share=share, **step)
    total = batch_size * training_multiply_adds(generator, discriminator, share)
    return "\n".join(
        [
            network_line(generator, generator_multiply_adds(generator)),
            network_line(discriminator, discriminator_multiply_adds(discriminator)),
            f"a step of {batch_size}: {total / 1e12:.1f} T multiply-adds without the teacher and, "
            f"roughly, {memory_in_words(memory['total'], GRAPHS)}",
        ]
    )


def decoder_multiply_adds(vae, latent_size):
    """Multiply-adds of decoding the latents of one image.

    Args:
        vae: `models.vae.autoencoder.AutoencoderKL`.
        latent_size: int, side of the latents.

    Returns:
        int.
    """
    side, inputs, channels = latent_size, vae.widths[-1], vae.latent_channels
    total = conv(side, 1, channels, channels) + conv(side, 3, channels, inputs)
    total += 4 * conv(side, 3, inputs, inputs)  # two resnets of the middle
    total += 4 * side**2 * inputs**2 + 2 * side**4 * inputs  # its attention
    for i, width in enumerate(reversed(vae.widths)):
        if i:
            side *= 2
            total += conv(side, 3, inputs, inputs)
        for _ in range(vae.resnets + 1):
            total += conv(side, 3, inputs, width) + conv(side, 3, width, width)
            total += conv(side, 1, inputs, width) if inputs != width else 0
            inputs = width
    return total + conv(side, 3, inputs, 3)
