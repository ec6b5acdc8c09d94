"""What a flow costs: multiply-adds of its velocity, of a step of training and of a sample.

Counted as in `cost.lada`: matrix products only.
"""

from ladagan_tf.cost.gat import block_multiply_adds, kept_numbers
from ladagan_tf.cost.lada import memory_in_words, memory_parts, network_line
from ladagan_tf.models.flow.networks import FREQUENCIES
from ladagan_tf.models.flow.samplers import evaluations

PASSES = 3  # of the velocity in a step of training: forward, and twice that for its derivatives


def velocity_multiply_adds(generator):
    """Multiply-adds of one evaluation of the velocity, of one sample.

    Args:
        generator: `models.flow.networks.FlowGenerator`.

    Returns:
        int.
    """
    g = generator
    tokens, width, square = g.grid**2, g.width, g.patch**2 * g.channels
    time = 2 * FREQUENCIES * width + width**2
    of_block, of_head = g.blocks[0].parts * width**2, g.head.parts * width**2  # modulations
    blocks = g.depth * (block_multiply_adds(g, tokens) + of_block)
    return time + 2 * tokens * width * square + blocks + of_head


def generator_multiply_adds(generator):
    """Multiply-adds of one sample, by the generator's sampler with its steps: int."""
    return evaluations(generator.sampler, generator.steps) * velocity_multiply_adds(generator)


def training_multiply_adds(generator):
    """Multiply-adds of one training step per sample, a pass back counted as two: int."""
    return PASSES * velocity_multiply_adds(generator)


def memory_estimate(generator, batch_size, micro_batches=1, bytes_per_activation=4):
    """Rough peak memory of one training step on one device, in bytes, by what uses it.

    Args:
        generator: `models.flow.networks.FlowGenerator`.
        batch_size, micro_batches, bytes_per_activation: see `cost.lada.memory_estimate`.

    Returns:
        Dict of ints, bytes: "weights", "optimizer", "ema", "gradients", "activations", "total".
    """
    kept = kept_numbers(generator, generator.grid**2) * bytes_per_activation
    return memory_parts([generator], batch_size // micro_batches * kept, micro_batches)


def report(generator, batch_size, **step):
    """Parameters, multiply-adds of a step and of a sample, and memory, as text.

    Args:
        generator: `models.flow.networks.FlowGenerator`.
        batch_size: int, samples per device and step.
        **step: the other arguments of `memory_estimate`.

    Returns:
        str of three lines.
    """
    g = generator
    memory = memory_estimate(g, batch_size, **step)
    return "\n".join(
        [
            network_line(g, generator_multiply_adds(g)),
            f"a sample: {in_words(g)}",
            f"a step: {training_multiply_adds(g) / 1e9:.3f} G multiply-adds per image and, "
            f"roughly, {memory_in_words(memory['total'])}",
        ]
    )


def in_words(generator):
    """What a sample of a flow is made of: text."""
    g = generator
    count = evaluations(g.sampler, g.steps)
    return (
        f"{g.sampler} steps {g.steps}, so evaluations of the velocity {count}, each of "
        f"{velocity_multiply_adds(g) / 1e9:.3f} G multiply-adds"
    )
