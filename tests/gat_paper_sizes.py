"""Sizes, parameters and multiply-adds of the official GAT networks (counted on them), and CAT's."""

import dataclasses

from ladagan_tf.models.gat.sizes import SIZES

# Parameters by size and patch. They include the table of positions and, in the generator, the patch
# embedding of an image that the official code multiplies by zero.
GENERATOR = {
    ("S", 2): 29_361_344, ("B", 2): 116_754_752, ("L", 2): 408_748_576, ("XL", 2): 602_251_136,
    ("S", 4): 29_379_968, ("B", 4): 116_791_808, ("L", 4): 408_797_920, ("XL", 4): 602_306_624,
    ("S", 8): 29_730_944, ("B", 8): 117_492_992, ("L", 8): 409_732_576, ("XL", 8): 603_358_016,
}  # fmt: skip
DISCRIMINATOR = {
    ("S", 2): 39_212_928, ("B", 2): 104_676_864, ("L", 2): 323_035_872, ("XL", 2): 467_678_784,
    ("S", 4): 39_212_928, ("B", 4): 104_676_864, ("L", 4): 323_035_872, ("XL", 4): 467_678_784,
    ("S", 8): 39_489_408, ("B", 8): 105_229_824, ("L", 8): 323_773_152, ("XL", 8): 468_508_224,
}  # fmt: skip
WITHOUT_PROJECTOR = {"S": 32_654_464, "B": 97_331_968, "L": 315_166_688, "XL": 459_547_456}  # /2
DEAD_EMBEDDING = {"S": 6_528, "B": 13_056, "L": 17_408, "XL": 19_584}  # /2
TABLE = {"S": 98_304, "B": 196_608, "L": 262_144, "XL": 294_912}  # /2

# Multiply-adds in units of 10^9, by size, patch and latent size.
GENERATOR_GIGA = {
    ("S", 2, 32): 6.06, ("B", 2, 32): 23.00, ("L", 2, 32): 80.65, ("XL", 2, 32): 118.56,
    ("S", 4, 32): 1.41, ("B", 4, 32): 5.56, ("L", 4, 32): 19.65, ("XL", 4, 32): 28.98,
    ("S", 8, 32): 0.36, ("B", 8, 32): 1.41, ("L", 8, 32): 4.97, ("XL", 8, 32): 7.33,
    ("XL", 2, 64): 524.5, ("XL", 4, 64): 118.6,
}  # fmt: skip
DISCRIMINATOR_GIGA = {"S": 7.77, "B": 24.95, "L": 82.89, "XL": 120.98}  # /2 at 32
# CAT, all /2 at 32: S is ours, M and H are published (and reproduced only with shifts), and the
# discriminator is a third party's reading.
CAT_GENERATOR = {"S": 33_500_864, "B": 133_291_328, "M": 260_845_376, "H": 959_769_216}
CAT_GENERATOR_GIGA = {"S": 6.06, "B": 23.0, "M": 46.0, "H": 166.8}
CAT_DISCRIMINATOR, CAT_WITHOUT_PROJECTOR, CAT_DISCRIMINATOR_GIGA = 104_709_888, 97_364_992, 30.5
CAT_STEP_GIGA = {"M": 536, "H": 1019}
STEP_GIGA = {"S": 148, "B": 491, "L": 1649, "XL": 2410}  # /2 at 32, both networks


def sizes(name, patch, **others):
    """Arguments of either network."""
    return {**dataclasses.asdict(SIZES[name]), "patch": patch, **others}
