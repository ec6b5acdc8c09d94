"""What a sample costs of any generator here, and what the LadaGAN paper prints (Sec. IV)."""

from ladagan_tf.cost import flow, gat, lada
from ladagan_tf.models.flow.networks import FlowGenerator
from ladagan_tf.models.gat.networks import GatGenerator
from ladagan_tf.models.lada.generator import Generator
from ladagan_tf.models.lada.sizes import PRESETS

# Parameters and "FLOPs", by preset.
PAPER = {
    "cifar10_32": ("19 M", "0.7 B"),
    "celeba_64": ("19 M", "0.7 B"),
    "ffhq_128": ("24 M", "4.3 B"),
}


def formulas(generator):
    """The module of this room whose `generator_multiply_adds` is of a generator."""
    if isinstance(generator, FlowGenerator):
        return flow
    return gat if isinstance(generator, GatGenerator) else lada


def multiply_adds(generator):
    """Multiply-adds of one sample; of latents without their decoding: int."""
    return formulas(generator).generator_multiply_adds(generator)


def decoded_report(network):
    """Parameters and multiply-adds of a generator of latents and of its decoder, as text.

    Args:
        network: `models.gat.decoded.DecodedGenerator`.
    """
    generator, vae = network.generator, network.vae
    decoder = sum(lada.parameter_counts(part)[0] for part in (vae.decoder, vae.post_quant_conv))
    latents, pixels = f"{generator.latent_size} px of latents", f"{network.resolution} px"
    rows = (
        ("generator", latents, lada.parameter_counts(generator)[0], multiply_adds(generator)),
        ("VAE decoder", pixels, decoder, gat.decoder_multiply_adds(vae, generator.latent_size)),
    )
    lines = ["FLOPs are twice the multiply-adds; the papers' GFLOPs are multiply-adds."]
    for name, output, parameters, counted in rows:
        lines.append(
            f"{name:<11}  {output:<16} {parameters:>12,} parameters {counted / 1e9:>9.3f} G "
            "multiply-adds per image"
        )
    if encoder := lada.parameter_counts(vae)[0] - decoder:
        lines.append(f"Not used to generate: the VAE's encoder, {encoder:,} parameters.")
    return "\n".join(lines)


def generator_row(name, generator, paper=("-", "-")):
    """A line of `comparison` for one generator."""
    counted = multiply_adds(generator)
    return (
        f"{name:<14} {generator.resolution:>4} {lada.parameter_counts(generator)[0]:>12,} "
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
