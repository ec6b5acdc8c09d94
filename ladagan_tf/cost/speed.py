"""How fast a generator runs here, and how much memory it takes."""

import statistics
import time

import tensorflow as tf

from ladagan_tf.devices import replicated
from ladagan_tf.hardware import peak_memory

BATCH_SIZES = (1, 8, 64)
WARM_UP, REPEATS = 2, 7
OF = {"cpu_peak_gb": "this process", "gpu_peak_gb": "the fullest GPU"}


def measure_speed(sampler, batch_sizes=BATCH_SIZES, jit=False, repeats=REPEATS):
    """Times a generator from latents on the host to float images on the host.

    Args:
        sampler: Sampler.
        batch_sizes: sequence of ints; those of many large images are made smaller.
        jit: bool, compile with XLA.
        repeats: int, calls whose median is taken, after two to trace and warm up.

    Returns:
        List of dicts: "batch_size", "latency_ms" (median of a whole batch) and "images_per_s".
    """
    rows = []
    for batch_size in sorted({sampler.affordable(size) for size in batch_sizes}):
        generate = replicated(sampler.generate, tf.distribute.get_strategy(), jit)
        given = sampler.inputs(range(batch_size))
        seconds = []
        for _ in range(WARM_UP + repeats):
            start = time.perf_counter()
            generate(*given)
            seconds.append(time.perf_counter() - start)
        median = statistics.median(seconds[WARM_UP:])
        rows.append(
            {
                "batch_size": batch_size,
                "latency_ms": 1000 * median,
                "images_per_s": batch_size / median,
            }
        )
    return rows


def speed_report(sampler, **how):
    """`measure_speed` and the peak of memory as text; `how` are arguments of the former."""
    lines = ["batch   latency      throughput"]
    for row in measure_speed(sampler, **how):
        lines.append(
            f"{row['batch_size']:>5}   {row['latency_ms']:>7.1f} ms   "
            f"{row['images_per_s']:>7.1f} images/s"
        )
    for what, peak in peak_memory().items():
        lines.append(f"peak memory of {OF[what]}: {peak:.2f} GB")
    return "\n".join(lines)
