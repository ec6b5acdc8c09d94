"""What a network costs: parameters, multiply-adds and a rough estimate of training memory.

Multiply-adds count one multiplication with its addition once. FLOPs are twice that; the numbers
that the LadaGAN paper prints as "FLOPs" are multiply-adds. Counted are matrix products and
convolutions, as closed forms of the layers' sizes; biases, norms, activations, softmax and the
elementwise products of additive attention are not.
"""

import math

from ladagan_tf.cost.layers import (
    attention_activations,
    attention_multiply_adds,
    conv_multiply_adds,
    mlp_multiply_adds,
    norm_multiply_adds,
)
from ladagan_tf.models.lada.discriminator import (
    DISCRIMINATOR_GRID,
    EMBEDDING,
    HEAD_KERNEL,
    LOGITS,
)
from ladagan_tf.models.lada.generator import GRID, MAPPING_LAYERS

LOGITS_SIDE = 5
# Of a process on a CPU, in bytes: TensorFlow and Keras; the graphs of a step, once they have run.
IMPORTS, GRAPHS = 0.8e9, 0.3e9


def parameter_counts(model):
    """Numbers in the model's weights.

    Args:
        model: a built keras.Model.

    Returns:
        (total, trainable): ints; the difference is batch norm's moving statistics.
    """
    return model.count_params(), _size(model.trainable_variables)


def _size(variables):
    return sum(math.prod(v.shape) for v in variables)


def generator_multiply_adds(generator):
    """Multiply-adds of one image, from the generator's configuration.

    Args:
        generator: `models.lada.generator.Generator`.

    Returns:
        int.
    """
    g = generator
    total = g.noise_dim * GRID[0] ** 2 * g.widths[0]
    if g.modulation == "vitgan_sln":
        total += (MAPPING_LAYERS + (g.num_classes > 0)) * g.noise_dim**2
    if g.class_tokens:
        total += g.noise_dim * GRID[0] ** 2 * g.widths[0]
    for i, side in enumerate(GRID):
        width = g.widths[i]
        block = attention_multiply_adds(
            g.attention,
            side**2,
            width,
            g.num_heads[i],
            score=g.score,
            rank=g.rank,
            window=g.window,
        )
        block += mlp_multiply_adds(side**2, width, g.mlp_widths[i])
        block += 2 * norm_multiply_adds(g.modulation, g.noise_dim, width, g.num_classes > 0)
        total += g.depths[i] * block
        if g.conv and i + 1 < len(GRID):
            total += conv_multiply_adds(2 * side, g.conv_kernel, width // 4, g.widths[i + 1])
    side, channels = GRID[-1], g.widths[-1]
    for width in g.decoder_widths:
        side *= 2
        total += conv_multiply_adds(side, 3, channels, width)
        channels = width
    factor = g.resolution // side  # of the patch head; 1 behind a decoder
    return total + conv_multiply_adds(g.resolution, 3, channels // factor**2, 3)


def discriminator_multiply_adds(discriminator):
    """Multiply-adds of one image, from the discriminator's configuration.

    Args:
        discriminator: `models.lada.discriminator.Discriminator`.

    Returns:
        int.
    """
    d = discriminator
    side = d.resolution
    total = conv_multiply_adds(side, 3, 4 if d.scale_cue else 3, d.widths[0])
    for inputs, outputs in zip(d.widths, d.widths[1:], strict=False):
        side //= 2
        for size, channels in ((d.conv_kernel, inputs), (d.conv_kernel, outputs), (1, inputs)):
            total += conv_multiply_adds(side, size, channels, outputs)
    width, tokens = d.widths[-1], DISCRIMINATOR_GRID**2
    if d.ladaformer:
        block = attention_multiply_adds(
            "additive", tokens, width, d.num_heads, score=d.score, rank=0, window=0
        )
        total += d.depth * (block + mlp_multiply_adds(tokens, width, d.mlp_width))
    side = DISCRIMINATOR_GRID // 2
    total += conv_multiply_adds(side, 3, 4 * width, d.out_widths[0])
    total += conv_multiply_adds(side, 1, *d.out_widths)
    return total + _head_multiply_adds(d)


def _head_multiply_adds(d):
    """Of a discriminator's last convolutions, and of the products with its class's vector."""
    channels = int(not d.pure) + (d.class_dim if d.num_classes else 0)
    total = conv_multiply_adds(LOGITS_SIDE, HEAD_KERNEL, d.out_widths[1], channels)
    if d.num_classes:
        total += d.class_dim * (1 if d.class_head == "pooled" else LOGITS)
    return total + (EMBEDDING * d.class_dim if d.pure else 0)


def generator_activations(generator):
    """Numbers that one image's forward pass keeps for the backward pass.

    Counted are the inputs of matrix products, convolutions, norms and nonlinear functions, once
    each; per block of N tokens of width D: the normed and the residual stream (5 N D), the
    attention's, for the additive one q, k, v and their product (4 N D) and the scores, and the MLP
    before and after its GELU (2 N m).

    Args:
        generator: `models.lada.generator.Generator`.

    Returns:
        int.
    """
    g = generator
    total = 0
    for i, side in enumerate(GRID):
        tokens = side**2
        block = tokens * (5 * g.widths[i] + 2 * g.mlp_widths[i])
        block += attention_activations(
            g.attention, tokens, g.widths[i], g.num_heads[i], rank=g.rank, window=g.window
        )
        total += g.depths[i] * block
        if g.conv and i + 1 < len(GRID):
            total += tokens * g.widths[i] + 4 * tokens * g.widths[i + 1]
    side, channels = GRID[-1], g.widths[-1]
    for width in g.decoder_widths:
        side *= 2
        total += side**2 * (channels + 3 * width)  # repeated input; convolved, normed, bent
        channels = width
    return total + g.resolution**2 * 3


def discriminator_activations(discriminator):
    """Numbers that one image's forward pass keeps for the backward pass.

    Counted as in `generator_activations`; per convolution with a batch norm its input, its output
    and the normed output.

    Args:
        discriminator: `models.lada.discriminator.Discriminator`.

    Returns:
        int.
    """
    d = discriminator
    side = d.resolution
    total = side**2 * (3 + 2 * d.widths[0])
    for inputs, outputs in zip(d.widths, d.widths[1:], strict=False):
        side //= 2
        kept = 6 if d.norm == "none" else 9  # three times conv, norm, bend
        total += side**2 * (inputs + kept * outputs)  # and the pooled input
    tokens = DISCRIMINATOR_GRID**2
    if d.ladaformer:
        total += d.depth * tokens * (9 * d.widths[-1] + 2 * d.num_heads + 2 * d.mlp_width)
    side = DISCRIMINATOR_GRID // 2
    return total + side**2 * (4 * d.widths[-1] + d.out_widths[0] + 2 * d.out_widths[1])


def memory_estimate(
    generator,
    discriminator,
    batch_size,
    micro_batches=1,
    bytes_per_activation=4,
    r1=True,
    r2=False,
    share=1.0,
    bcr=False,
    paired=False,
):
    """Rough peak memory of one training step on one device, in bytes, by what uses it.

    What is counted, with b = batch_size / micro_batches images in flight:

    - weights: both networks, float32;
    - optimizer: two Adam slots per trainable number of both networks;
    - ema: a second set of the generator's weights;
    - gradients: of the network with more trainable numbers, twice with micro-batches (the sum and
      the part being added);
    - activations: the greater of the D phase (D on fakes, then on reals, whose tape also records
      the backward pass that R1 differentiates: 3 times the forward pass; so on fakes with R2; of a
      share of the images beside a pass of all; both at once where logits of both are compared, and
      with bCR D on twice as many augmented images) and the G phase (G, then D), b images each, and
      the uint8 and float batch.

    Not counted: the framework, convolution workspaces, fragmentation, the input pipeline. Compilers
    fuse elementwise operations and store less. Expect the right order of magnitude.

    Args:
        generator, discriminator: `models.lada.generator` networks.
        batch_size: int, images per device and step.
        micro_batches: int, parts the batch is computed in; must divide it.
        bytes_per_activation: int, 4 for float32 and 2 for the half precisions.
        r1, r2: bools, the penalty is taken at reals, at fakes.
        share: float, of the images that it is taken at.
        bcr: bool, balanced consistency is taken.
        paired: bool, the loss is relativistic.

    Returns:
        Dict of ints, bytes: "weights", "optimizer", "ema", "gradients", "activations", "total".

    Raises:
        ValueError: if `micro_batches` does not divide `batch_size`.
    """
    if micro_batches < 1 or batch_size % micro_batches:
        raise ValueError(
            f"micro_batches={micro_batches} does not divide batch_size={batch_size}: "
            f"give a positive divisor of it"
        )
    one_g, one_d = generator_activations(generator), discriminator_activations(discriminator)
    penalised = 3 if share == 1 else 1 + 3 * share
    sides = [penalised if taken else 1 for taken in (r1, r2)]
    passes = sum(sides) + (2 if bcr else 0) if bcr or paired else max(sides)
    per_image = max(passes * one_d, one_g + one_d)
    activations = batch_size // micro_batches * per_image * bytes_per_activation
    activations += batch_size * generator.resolution**2 * 3 * 5
    return memory_parts([generator, discriminator], activations, micro_batches)


def memory_parts(networks, activations, micro_batches):
    """`memory_estimate` for any system.

    Args:
        networks: list of keras.Models, the generator first.
        activations: int, bytes that they take.
        micro_batches: int, parts of a device's batch.

    Returns:
        Dict of bytes by part, and their "total".
    """
    totals, trained = zip(*map(parameter_counts, networks), strict=True)
    parts = {
        "weights": 4 * sum(totals),
        "optimizer": 8 * sum(trained),
        "ema": 4 * totals[0],
        "gradients": 4 * max(trained) * (1 if micro_batches == 1 else 2),
        "activations": activations,
    }
    return {**parts, "total": sum(parts.values())}


def training_multiply_adds(
    generator, discriminator, r1=True, r2=False, bcr=False, share=1.0, paired=False
):
    """Multiply-adds of one training step per image, a backward pass counted as two forward passes.

    G: one pass in the D phase, three in the G phase. D: three on the fakes and three on the reals;
    three more for each penalty (an input gradient and the way back through it) at the share of the
    batch that it is taken at; three of each side for bCR; two in the G phase, which needs only the
    gradient of the images. As published, with R1 alone, D has 11.

    Args:
        generator, discriminator: `models.lada.generator` networks.
        r1, r2, bcr, share: see `memory_estimate`.
        paired: bool, the loss is relativistic: G's looks at D of the reals, too.

    Returns:
        int.
    """
    passes = 8 + 3 * share * (r1 + r2) + 6 * bcr + paired
    of_d = passes * discriminator_multiply_adds(discriminator)
    return round(4 * generator_multiply_adds(generator) + of_d)


def of_process(device_bytes, graphs=GRAPHS):
    """Rough peak memory of a process that trains on the CPU, in bytes.

    TensorFlow and Keras, the graphs of a step, and a seventh more than what is counted: within 15 %
    of what was measured of configs that two cores can run (docs/studies/hardware.md).

    Args:
        device_bytes: int, "total" of `memory_estimate`.
        graphs: float, bytes of the graphs and what is made of them.

    Returns:
        int.
    """
    return round(IMPORTS + graphs + 1.15 * device_bytes)


def memory_in_words(device_bytes, graphs=GRAPHS):
    """The memory of a step, on a device and of a process on the CPU: text."""
    on_cpu = of_process(device_bytes, graphs)
    return f"{device_bytes / 1e9:.1f} GB per device, {on_cpu / 1e9:.1f} GB of a process on a CPU"


def report(generator, discriminator, batch_size, **step):
    """Parameters, multiply-adds and the memory estimate of a training step, as text.

    Args:
        generator, discriminator: `models.lada.generator` networks.
        batch_size: int, images per device and step.
        **step: the other arguments of `memory_estimate`.

    Returns:
        str of three lines.
    """
    memory = memory_estimate(generator, discriminator, batch_size, **step)
    return "\n".join(
        [
            network_line(generator, generator_multiply_adds(generator)),
            network_line(discriminator, discriminator_multiply_adds(discriminator)),
            f"memory of a step, roughly: {memory_in_words(memory['total'])}",
        ]
    )


def network_line(network, multiply_adds):
    """A line on a network's parameters and multiply-adds per image."""
    total, trained = parameter_counts(network)
    return (
        f"{network.name}: {total:,} parameters, {trained:,} of them trained; "
        f"{multiply_adds / 1e9:.3f} G multiply-adds per image"
    )
