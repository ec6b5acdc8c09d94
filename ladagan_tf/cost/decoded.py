"""What an image of a decoded generator costs: its latents, and decoding them.

Counted as in `cost.lada`.
"""

from ladagan_tf.cost.gat import generator_multiply_adds
from ladagan_tf.cost.lada import parameter_counts


def decoder_multiply_adds(vae, latent_size):
    """Multiply-adds of decoding the latents of one image.

    Args:
        vae: `models.vae.autoencoder.AutoencoderKL`.
        latent_size: int, side of the latents.

    Returns:
        int.
    """
    side, inputs, channels = latent_size, vae.widths[-1], vae.latent_channels
    total = _conv(side, 1, channels, channels) + _conv(side, 3, channels, inputs)
    total += 4 * _conv(side, 3, inputs, inputs)  # two resnets of the middle
    total += 4 * side**2 * inputs**2 + 2 * side**4 * inputs  # its attention
    for i, width in enumerate(reversed(vae.widths)):
        if i:
            side *= 2
            total += _conv(side, 3, inputs, inputs)
        for _ in range(vae.resnets + 1):
            total += _conv(side, 3, inputs, width) + _conv(side, 3, width, width)
            total += _conv(side, 1, inputs, width) if inputs != width else 0
            inputs = width
    return total + _conv(side, 3, inputs, 3)


def _conv(side, size, inputs, outputs):
    return side**2 * size**2 * inputs * outputs


def report(network):
    """Parameters and multiply-adds of a generator of latents and of its decoder, as text.

    Args:
        network: `models.gat.decoded.DecodedGenerator`.
    """
    generator, vae = network.generator, network.vae
    decoder = parameter_counts(vae.decoder)[0] + parameter_counts(vae.post_quant_conv)[0]
    latents, pixels = f"{generator.latent_size} px of latents", f"{network.resolution} px"
    rows = (
        ("generator", latents, parameter_counts(generator)[0], generator_multiply_adds(generator)),
        ("VAE decoder", pixels, decoder, decoder_multiply_adds(vae, generator.latent_size)),
    )
    lines = ["FLOPs are twice the multiply-adds; the papers' GFLOPs are multiply-adds."]
    for name, output, parameters, multiply_adds in rows:
        lines.append(
            f"{name:<11}  {output:<16} {parameters:>12,} parameters {multiply_adds / 1e9:>9.3f} G "
            "multiply-adds per image"
        )
    encoder = parameter_counts(vae)[0] - decoder
    lines.append(f"Not used to generate: the VAE's encoder, {encoder:,} parameters.")
    return "\n".join(lines)
