"""Speed of the full training step and of the generator: prints one JSON document.

    python benchmarks/train_step.py --config=configs/cifar10.cfg --batch_size=64

Every variant (XLA on or off, float32 or bfloat16) runs in a process of its own, so that peak memory
is its own. Run it on an otherwise idle machine.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
VARIANTS = [
    (precision, jit) for precision in ("float32", "mixed_bfloat16") for jit in ("off", "on")
]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="flagfile of the experiment")
    parser.add_argument("--batch_size", type=int, default=64, help="images per step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps per variant")
    parser.add_argument("--variant", help=argparse.SUPPRESS)  # used by the parent only
    arguments = parser.parse_args()
    if arguments.variant:
        print(json.dumps(measure(arguments)))
        return
    results = []
    for precision, jit in VARIANTS:
        child = [sys.executable, __file__, *sys.argv[1:], f"--variant={precision},{jit}"]
        output = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True).stdout
        results.append(json.loads(output.splitlines()[-1]))
    print(json.dumps({"config": arguments.config, **hardware(), "variants": results}, indent=2))


def measure(arguments):
    """Times one variant in this process."""
    precision, jit = arguments.variant.split(",")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import numpy as np
    import tensorflow as tf
    from absl import flags

    import train
    from ladagan_tf.evaluation import cost
    from ladagan_tf.flags import train as train_flags

    train_flags.define()
    batch = arguments.batch_size
    given = [f"--flagfile={arguments.config}", f"--batch_size={batch}", "--dataset=unused"]
    flags.FLAGS([__file__, *given, f"--precision={precision}", f"--jit={jit}"])
    train_flags.resolve()
    gan = train.build()

    random = np.random.default_rng(0)
    size = flags.FLAGS.resolution
    images = tf.constant(random.integers(0, 256, (batch, size, size, 3)), tf.uint8)
    labels = tf.zeros((batch,), tf.int32)
    latents = tf.constant(random.normal(size=(batch, flags.FLAGS.noise_dim)), tf.float32)
    step = tf.function(lambda: gan.train_step((images, labels)))
    generate = tf.function(lambda: gan.averaged(latents), jit_compile=jit == "on")

    step_seconds = timed(step, arguments.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    generator_seconds = timed(generate, arguments.steps)
    macs = cost.training_multiply_adds(gan.generator, gan.discriminator)
    rate = macs * batch / step_seconds
    matmul = matmul_rate(tf)
    return {
        "precision": precision,
        "xla": jit == "on",
        "batch_size": batch,
        "train_images_per_s": round(batch / step_seconds, 2),
        "generator_images_per_s": round(batch / generator_seconds, 1),
        "peak_memory_gb": round(peak / 1e9, 2),
        "training_multiply_adds_per_image": macs,
        "float32_matmul_multiply_adds_per_s": round(matmul),
        "share_of_float32_matmul_rate": round(rate / matmul, 3),
    }


def timed(function, repeats):
    """Median seconds of a call, after two for tracing and warming up."""
    seconds = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        synchronise(function())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[2:])


def synchronise(result):
    for value in result.values() if isinstance(result, dict) else [result]:
        value.numpy()


def matmul_rate(tf, size=2048):
    """Multiply-adds per second of a large float32 matrix product on this machine."""
    a = tf.random.normal((size, size))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return size**3 / timed(product, 7)


def hardware():
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": models[0] if models else "unknown",
        "cores": len(os.sched_getaffinity(0)),
        "date": time.strftime("%Y-%m-%d"),
    }


if __name__ == "__main__":
    main()
