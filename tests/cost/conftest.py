"""The generator that speed is measured of."""

from small_generators import noise  # noqa: F401
