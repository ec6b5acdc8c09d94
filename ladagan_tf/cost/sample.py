"""What a sample costs of any generator here, by the formulas of its kind."""

from ladagan_tf.cost import flow, gat, lada
from ladagan_tf.models.flow.networks import FlowGenerator
from ladagan_tf.models.gat.networks import GatGenerator


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
