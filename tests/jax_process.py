"""Where processes that compute with JAX run: on the CPU, with little compiling."""

import os

# Of XLA's two ways to emit loops the older one compiles networks in a third of the time, and one
# part of a program sooner than many.
FLAGS = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
ENVIRONMENT = {
    "JAX_PLATFORMS": "cpu",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",  # most of the time goes into compiling
    "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}",
}
