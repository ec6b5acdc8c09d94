"""What `gpu_run.py` tells of speed, memory and quality."""

import json
import platform
import statistics
import sys
import time

import jax
import jax.numpy as jnp
import keras
import numpy as np
from absl import flags

from ladagan_tf.evaluation import metrics
from ladagan_tf.evaluation.frechet import frechet_distance
from ladagan_tf.evaluation.statistics import Moments
from ladagan_tf.flags.train import SYSTEMS
from ladagan_tf.hardware import processor, usable_cores

FLAGS = flags.FLAGS


def quality(fakes, reals, kimg):
    """Lines of metrics.jsonl of one seed, in features of a classifier.

    Args:
        fakes: list of float arrays (N, F), one for each moment.
        reals: float array (M, F).
        kimg: list of float, the moments.

    Returns:
        List of str, up to the first moment at which a feature is not finite.
    """
    lines, radii = [], {k: metrics.squared_radii(reals, k) for k in (3, 5)}
    for fake, at in zip(fakes, kimg, strict=True):
        if not np.isfinite(fake).all():
            break
        distance = frechet_distance(*_gaussian(fake), *_gaussian(reals))
        precision, recall = metrics.precision_recall(reals, fake, 3, radii=radii[3])
        _, coverage = metrics.density_coverage(reals, fake, 5, radii=radii[5])
        line = {"kimg": at, "fcd": distance, "precision": precision, "recall": recall}
        lines.append(json.dumps({**line, "coverage": coverage}))
    return lines


def _gaussian(features):
    moments = Moments(features.shape[1])
    moments.add(features)
    return moments.mean, moments.covariance()


def step_speed(trainer, run, values, images, rows):
    """Seconds of a step, median of three dispatches after one, and whether losses are finite."""
    seconds = []
    for i in range(4):
        start = time.perf_counter()
        first = np.int32(i * FLAGS.steps_per_call)
        values, told = run(values, trainer.keys, images, first, rows)
        jax.block_until_ready(told)
        seconds.append((time.perf_counter() - start) / FLAGS.steps_per_call)
    return statistics.median(seconds[1:]), bool(np.isfinite(list(told.values())).all())


def speed(trainer, seconds, alone=True):
    """What a step of `seconds` is worth: images and multiply-adds per second, as a dict.

    Beside them, if the device is this process's `alone`, what a large matrix product reaches.
    """
    macs, *_ = SYSTEMS[FLAGS.system].step_cost(**trainer.networks, batch_size=FLAGS.batch_size)
    images = FLAGS.batch_size * len(trainer.seeds)
    found = {
        "train_images_per_s": round(images / seconds, 1),
        "milliseconds_per_step": round(1000 * seconds, 2),
        "multiply_adds_per_s": float(f"{macs * images / seconds:.4g}"),
    }
    if alone:
        matmul = matmul_rate()
        found["bfloat16_matmul_multiply_adds_per_s"] = float(f"{matmul:.4g}")
        found["share_of_bfloat16_matmul_rate"] = round(macs * images / seconds / matmul, 3)
    return found


def environment():
    """Command, device, its peak memory so far, versions and date: dict."""
    device = jax.devices()[0]
    memory = device.memory_stats() or {}
    return {
        "command": sys.argv,
        "device": device.device_kind,
        "peak_memory_gb": round(memory["peak_bytes_in_use"] / 1e9, 2) if memory else None,
        "cpu": processor(),
        "cores": usable_cores(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "date": time.strftime("%Y-%m-%d"),
    }


def matmul_rate():
    """Multiply-adds per second of a large bfloat16 matrix product on this device."""
    size = 512 if jax.default_backend() == "cpu" else 8192
    a = jax.random.normal(jax.random.key(1), (size, size), jnp.bfloat16)
    product = jax.jit(lambda a: a @ a)
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        product(a).block_until_ready()
        seconds.append(time.perf_counter() - start)
    return size**3 / statistics.median(seconds[3:])
