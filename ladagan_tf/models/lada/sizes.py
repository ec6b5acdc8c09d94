"""Which sizes and switches LadaGAN's networks can have, and which the paper uses."""

import dataclasses

from ladagan_tf.models.checks import check

RESOLUTIONS = (32, 64, 128, 256)
MODULATIONS = ("sln", "vitgan_sln", "layer_norm")
OUTPUTS = ("linear", "tanh", "softclip")
NORMS = ("batch", "none", "group")  # of the discriminator's down blocks
MOST_BLOCKS = 100  # after each other; 1 in the paper
LARGEST_KERNEL = 31  # reaches everywhere from everywhere on a 16x16 grid
CLASS_HEADS = ("projection", "pure", "pooled")  # how a conditional discriminator sees its class


def check_resolution(resolution):
    """Raises ValueError unless the networks exist at this resolution."""
    check(
        resolution in RESOLUTIONS,
        f"resolution={resolution} is not one of {', '.join(map(str, RESOLUTIONS))}",
    )


def check_kernel(conv_kernel):
    """Raises ValueError unless it is a side that convolutions here can have."""
    check(
        isinstance(conv_kernel, int) and conv_kernel % 2 and 1 <= conv_kernel <= LARGEST_KERNEL,
        f"conv_kernel={conv_kernel!r}: give an odd integer from 1 to {LARGEST_KERNEL}",
    )


def check_depths(**fields):
    """Raises ValueError, naming the field, if there are more blocks than a graph should have."""
    for name, depths in fields.items():
        most = max(depths) if isinstance(depths, tuple) else depths
        shown = list(depths) if isinstance(depths, tuple) else depths
        check(most <= MOST_BLOCKS, f"{name}={shown}: give at most {MOST_BLOCKS}")


def repeated(name, depth):
    """Names of the `depth` blocks at one resolution: "block_8", "block_8_2", "block_8_3" ..."""
    return [name, *(f"{name}_{i}" for i in range(2, depth + 1))]


def check_num_classes(num_classes):
    """Raises ValueError unless it is a number of classes, or 0 for none."""
    check(
        isinstance(num_classes, int) and num_classes >= 0,
        f"num_classes={num_classes!r}: give a positive integer, or 0 for none",
    )


def check_labels(network, labels):
    """Raises ValueError unless a network gets labels where it has classes, and only there."""
    count = network.num_classes
    check(
        (labels is not None) == (count > 0),
        f"labels: {network.name} has {count or 'no'} classes; give "
        + ("one for each sample" if count else "none"),
    )


@dataclasses.dataclass(frozen=True)
class Preset:
    """Sizes of one experiment."""

    resolution: int
    widths: tuple
    decoder_widths: tuple
    discriminator_widths: tuple


_NARROW, _WIDE = (1024, 256, 64), (1024, 512, 256)

PRESETS = {
    #                       px   token widths  decoder        discriminator
    "cifar10_32":   Preset(32,  _NARROW,      (),            (128, 256)),
    "celeba_64":    Preset(64,  _NARROW,      (),            (64, 128, 256)),
    "ffhq_128":     Preset(128, _WIDE,        (128, 64),     (32, 64, 128, 256)),
    # Not printed in a published config.json of the authors, as those above are:
    "bedroom_128":  Preset(128, _WIDE,        (128, 64),     (32, 64, 128, 256)),
    "ffhq_256":     Preset(256, _WIDE,        (128, 64, 32), (16, 32, 64, 128, 256)),
    "bedroom_256":  Preset(256, _WIDE,        (128, 64, 32), (16, 32, 64, 128, 256)),
}  # fmt: skip
