"""What generators cost beside the numbers that the LadaGAN paper prints (Sec. IV), as text."""

from ladagan_tf.cost.lada import parameter_counts
from ladagan_tf.cost.sample import multiply_adds
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.lada.sizes import PRESETS

# Parameters and "FLOPs", by preset.
PAPER = {
    "cifar10_32": ("19 M", "0.7 B"),
    "celeba_64": ("19 M", "0.7 B"),
    "ffhq_128": ("24 M", "4.3 B"),
}


def generator_row(name, generator, paper=("-", "-")):
    """A line of `comparison` for one generator."""
    counted = multiply_adds(generator)
    return (
        f"{name:<14} {generator.resolution:>4} {parameter_counts(generator)[0]:>12,} "
        f"{counted / 1e9:>9.3f} G {2 * counted / 1e9:>9.3f} G "
        f"{paper[0]:>8} {paper[1]:>8}"
    )


def comparison(presets=PRESETS):
    """The generators of the presets beside the numbers that the paper prints, as text.

    Args:
        presets: names, keys of `models.lada.sizes.PRESETS`.
    """
    lines = [
        "The paper's FLOPs are multiply-adds, truncated; FLOPs are twice the multiply-adds.",
        f"{'generator':<14} {'px':>4} {'parameters':>12} {'mult-adds':>11} {'FLOPs':>11} "
        f"{'paper':>8} {'FLOPs':>8}",
    ]
    for name in presets:
        lines.append(generator_row(name, preset_generator(name), PAPER.get(name, ("-", "-"))))
    return "\n".join(lines)


def preset_generator(name):
    """An untrained generator of a preset."""
    preset = PRESETS[name]
    return Generator(preset.resolution, 128, preset.widths, decoder_widths=preset.decoder_widths)
