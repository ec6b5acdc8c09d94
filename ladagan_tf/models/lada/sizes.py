"""Which sizes and switches LadaGAN's networks can have, and which the paper uses."""

import dataclasses

from ladagan_tf.models.checks import check

RESOLUTIONS = (32, 64, 128, 256)
MODULATIONS = ("sln", "vitgan_sln", "layer_norm")
OUTPUTS = ("linear", "tanh", "softclip")
NORMS = ("batch", "none", "group")  # of the discriminator's down blocks


def check_resolution(resolution):
    """Raises ValueError unless the networks exist at this resolution."""
    check(
        resolution in RESOLUTIONS,
        f"resolution={resolution} is not one of {', '.join(map(str, RESOLUTIONS))}",
    )


@dataclasses.dataclass(frozen=True)
class Preset:
    """Sizes of one experiment. `confirmed`: printed in the authors' published config.json."""

    resolution: int
    widths: tuple
    decoder_widths: tuple
    discriminator_widths: tuple
    confirmed: bool


_NARROW, _WIDE = (1024, 256, 64), (1024, 512, 256)

PRESETS = {
    #                       px   token widths  decoder        discriminator           confirmed
    "cifar10_32":   Preset(32,  _NARROW,      (),            (128, 256),              True),
    "celeba_64":    Preset(64,  _NARROW,      (),            (64, 128, 256),          True),
    "ffhq_128":     Preset(128, _WIDE,        (128, 64),     (32, 64, 128, 256),      True),
    "bedroom_128":  Preset(128, _WIDE,        (128, 64),     (32, 64, 128, 256),      False),
    "ffhq_256":     Preset(256, _WIDE,        (128, 64, 32), (16, 32, 64, 128, 256),  False),
    "bedroom_256":  Preset(256, _WIDE,        (128, 64, 32), (16, 32, 64, 128, 256),  False),
}  # fmt: skip
