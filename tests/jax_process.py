"""How processes under JAX are started."""

import importlib.metadata
import os

OLDER = "--xla_cpu_use_fusion_emitters=false"  # of conftest.py; gone with JAX 0.11


def environment(**more):
    """`os.environ`, for JAX on the CPU, and `more`: an XLA flag that XLA has not ends a process."""
    version = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    known = os.environ.get("XLA_FLAGS", "")
    if version >= (0, 11):
        known = known.replace(OLDER, "")
    return {**os.environ, "XLA_FLAGS": known, "JAX_PLATFORMS": "cpu", **more}
