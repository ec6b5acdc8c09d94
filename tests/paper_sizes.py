"""Sizes, parameters and multiply-adds of nine configurations of the official code.

Counted on the official networks (see the reproduction report); the first, second and fifth
generator totals are also printed in the authors' notebook.
"""

import contextlib
import dataclasses

import keras
import pytest

NARROW, WIDE = (1024, 256, 64), (1024, 512, 256)
DISCRIMINATOR_WIDTHS = {
    32: (128, 256),
    64: (64, 128, 256),
    128: (32, 64, 128, 256),
    256: (16, 32, 64, 128, 256),
}
# Per resolution: parameters, of which trained, multiply-adds in units of 10^9.
DISCRIMINATOR = {
    32: (6_777_476, 6_775_940, 0.709),
    64: (7_006_660, 7_004_356, 0.947),
    128: (7_063_908, 7_061_220, 1.189),
    256: (7_078_196, 7_075_316, 1.438),
}


@dataclasses.dataclass(frozen=True)
class Row:
    resolution: int
    widths: tuple
    decoder_widths: tuple
    parameters: int
    trained: int
    giga_multiply_adds: float

    @property
    def generator(self):
        """Arguments of `Generator`."""
        return {
            "resolution": self.resolution,
            "widths": self.widths,
            "decoder_widths": self.decoder_widths,
        }

    @property
    def discriminator(self):
        """Arguments of `Discriminator`."""
        widths = DISCRIMINATOR_WIDTHS[self.resolution]
        return {"resolution": self.resolution, "widths": widths}


ROWS = {
    "32": Row(32, NARROW, (), 19_901_647, 19_901_647, 0.759),
    "64_patch": Row(64, NARROW, (), 19_900_351, 19_900_351, 0.759),
    "128_patch_narrow": Row(128, NARROW, (), 19_900_027, 19_900_027, 0.759),
    "128_patch_wide": Row(128, WIDE, (), 23_655_359, 23_655_359, 1.904),
    "128_conv_wide": Row(128, WIDE, (128, 64), 24_026_255, 24_025_871, 4.341),
    "64_conv": Row(64, NARROW, (32,), 19_919_375, 19_919_311, 0.836),
    "128_conv_narrow": Row(128, NARROW, (32, 16), 19_923_631, 19_923_535, 0.915),
    "256_conv_narrow": Row(256, NARROW, (32, 16, 8), 19_924_607, 19_924_495, 0.998),
    "256_conv_wide": Row(256, WIDE, (128, 64, 32), 24_043_983, 24_043_535, 5.577),
}
EVERY_ROW = pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)


@contextlib.contextmanager
def zero_weights():
    """Networks built inside have zero kernels: counting needs no QR of 24 million numbers."""
    orthogonal = keras.initializers.Orthogonal
    call = orthogonal.__call__
    orthogonal.__call__ = lambda self, shape, dtype=None: keras.ops.zeros(shape, dtype)
    try:
        yield
    finally:
        orthogonal.__call__ = call
