"""Which sizes GAT's networks can have, and which the paper uses."""

import dataclasses
import itertools

from ladagan_tf.models.checks import check, check_positive


@dataclasses.dataclass(frozen=True)
class Size:
    """One column of GAT's scaling study, where both networks have it; or a generator of CAT's."""

    width: int  # C, channels of a token
    depth: int  # L, blocks
    num_heads: int


SIZES = {
    #          width depth heads
    "S":  Size(384,  12,   6),
    "B":  Size(768,  12,  12),
    "L":  Size(1024, 24,  16),
    "XL": Size(1152, 28,  16),
    "M":  Size(768,  24,  12),  # this and the next: CAT's
    "H":  Size(1280, 32,  16),
}  # fmt: skip
# What a style does to normed tokens and branches. GAT scales and gates them; CAT's published sizes
# need a shift, too.
MODULATIONS = ("scale_gate", "shift_scale_gate")


def check_modulation(modulation):
    """Raises ValueError unless a modulation is one of `MODULATIONS`."""
    check(
        modulation in MODULATIONS,
        f"modulation={modulation!r} is not one of {', '.join(MODULATIONS)}",
    )


def check_tokens(latent_size, patch, width, num_heads):
    """Raises ValueError unless tokens of this kind exist.

    Args:
        latent_size: int, S, side of the latents.
        patch: int, p, side of the square of latents that one token stands for.
        width: int, C.
        num_heads: int.
    """
    check_positive(latent_size=latent_size, patch=patch, width=width, num_heads=num_heads)
    check(latent_size % patch == 0, f"patch={patch} does not divide the latent_size {latent_size}")
    check(width % 4 == 0, f"width={width} is not a multiple of 4, as the position table needs")
    check(width % num_heads == 0, f"num_heads={num_heads} does not divide the width {width}")
    check(
        width // num_heads % 4 == 0,
        f"num_heads={num_heads} gives heads of {width // num_heads} channels: "
        f"the rotation of two axes needs a multiple of 4",
    )


def evenly_spaced_taps(depth, levels):
    """Indices of the blocks behind which the `levels` heads read, the last block among them.

    Raises:
        ValueError: if `levels` does not divide `depth`. The official code, made for 4 levels, then
            fails, gives more taps than levels or leaves blocks unused.
    """
    check_positive(depth=depth, levels=levels)
    check(
        depth % levels == 0,
        f"depth={depth} is not a multiple of levels={levels}: change one of them",
    )
    return tuple((i + 1) * (depth // levels) - 1 for i in range(levels))


def check_taps(taps, depth, levels):
    """Raises ValueError unless `taps` are `levels` rising indices that end at block `depth` - 1."""
    check(
        len(taps) == levels
        and all(isinstance(t, int) and t >= 0 for t in taps)
        and all(a < b for a, b in itertools.pairwise(taps))
        and taps[-1] == depth - 1,
        f"taps={list(taps)}: give levels={levels} rising block indices, the last {depth - 1} "
        f"(later blocks would be unused)",
    )
