"""How processes under JAX are started."""

import importlib.metadata
import os

# In front of what a process does: JAX makes MLIR's context anew for each of a thousand programs, a
# sixth of the time; one does for all.
ONE_CONTEXT = """
import functools
from jax._src.interpreters import mlir
mlir.make_ir_context = functools.cache(mlir.make_ir_context)
"""
# Behind it: to clear JAX's caches takes seconds, and a process that ends has no use of them.
END = """
import os
sys.stdout.flush()
os._exit(0)
"""
OLDER = "--xla_cpu_use_fusion_emitters=false"  # of conftest.py; gone with JAX 0.11


def environment(**more):
    """`os.environ`, for JAX on the CPU, and `more`: an XLA flag that XLA has not ends a process."""
    version = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    known = os.environ.get("XLA_FLAGS", "")
    if version >= (0, 11):
        known = known.replace(OLDER, "")
    return {**os.environ, "XLA_FLAGS": known, "JAX_PLATFORMS": "cpu", **more}
