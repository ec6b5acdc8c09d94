"""Time and memory of additive against dot-product attention as the number of tokens grows.

Run `python benchmarks/attention_scaling.py`; it prints JSON, and `--plot=FILE` draws it. Every
point is a process of its own, because a process's peak memory never falls.
"""

import datetime
import json
import os
import pathlib
import platform
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

_TOKENS = flags.DEFINE_list(
    "tokens",
    ["256", "512", "1024", "2048", "4096", "8192", "16384"],
    "Numbers of tokens to measure; 256 to 16384 by default.",
)
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of a token; 64 by default.")
_HEADS = flags.DEFINE_integer("heads", 4, "Heads, must divide --width; 4 by default.")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 1, "Images per call; 1 by default.")
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed calls, the median counts; 5 by default.")
_BACKWARD = flags.DEFINE_bool("backward", True, "Also compute gradients; true by default.")
_LIMIT_GIB = flags.DEFINE_float(
    "limit_gib", 4.0, "Skip dot-product points whose map alone is larger, in GiB; 4 by default."
)
_PLOT = flags.DEFINE_string("plot", None, "Write a figure to this file; none by default.")
_POINT = flags.DEFINE_string("point", None, "Measure one 'KIND,TOKENS' only (used internally).")

KINDS = ("additive", "dot_product")


def make_attention(kind):
    """Self-attention as a function of tokens (B, N, D)."""
    import keras

    from ladagan_tf.models.attention import AdditiveAttention

    shape = (None, None, _WIDTH.value)
    if kind == "additive":
        layer = AdditiveAttention(_HEADS.value)
        layer.build(shape)
        return layer, lambda x: layer(x)[0]
    layer = keras.layers.MultiHeadAttention(_HEADS.value, _WIDTH.value // _HEADS.value)
    layer.build(shape, shape)
    return layer, lambda x: layer(x, x)


def peak_bytes(tf, gpus):
    if gpus:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    kibi = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibi


def measure(kind, tokens):
    """Median seconds of a call, and how far it raised the peak memory of the process."""
    import tensorflow as tf

    layer, attend = make_attention(kind)
    gpus = tf.config.list_physical_devices("GPU")

    @tf.function
    def call(x):
        if not _BACKWARD.value:
            return tf.reduce_sum(attend(x))
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(attend(x)))
        return [tf.reduce_sum(g) for g in tape.gradient(loss, [x, *layer.trainable_variables])]

    def timed(x):
        start = time.perf_counter()
        for value in tf.nest.flatten(call(x)):
            value.numpy()  # waits for the device
        return time.perf_counter() - start

    def random_tokens(count):
        return tf.random.stateless_normal((_BATCH_SIZE.value, count, _WIDTH.value), (0, 0))

    timed(random_tokens(16))  # loads what every size needs, so that the baseline has it
    x = random_tokens(tokens)
    before = peak_bytes(tf, gpus)
    timed(x)
    seconds = statistics.median(timed(x) for _ in range(_REPEATS.value))
    return {"tokens": tokens, "seconds": seconds, "peak_bytes": peak_bytes(tf, gpus) - before}


def measure_in_a_process(kind, tokens):
    passed = [
        f"--{flag.name}={flag.value}" for flag in (_WIDTH, _HEADS, _BATCH_SIZE, _REPEATS, _BACKWARD)
    ]
    command = [sys.executable, __file__, f"--point={kind},{tokens}", *passed]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def fitted_exponent(points, quantity):
    """Slope of log(quantity) against log(tokens) over the larger half of the points."""
    import numpy as np

    points = [p for p in points[len(points) // 2 :] if p[quantity] > 0]
    if len(points) < 2:
        return None
    logs = [np.log([p[name] for p in points]) for name in ("tokens", quantity)]
    return round(float(np.polyfit(*logs, 1)[0]), 2)


def cpu_model():
    """The processor's name, as Linux tells it."""
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def hardware():
    import tensorflow as tf

    cores = getattr(os, "sched_getaffinity", lambda _: range(os.cpu_count()))(0)
    gpus = tf.config.list_physical_devices("GPU")
    names = [tf.config.experimental.get_device_details(g).get("device_name") for g in gpus]
    return {
        "cpu": cpu_model(),
        "cores": len(cores),
        "gpus": names,
        "tensorflow": tf.__version__,
        "date": datetime.date.today().isoformat(),
    }


def plot(results, path):
    """Time and memory against tokens, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for axis, quantity, scale, label in (
        (axes[0], "seconds", 1e3, "time per call (ms)"),
        (axes[1], "peak_bytes", 2**-20, "peak memory above the idle process (MiB)"),
    ):
        for kind in KINDS:
            points = [p for p in results["points"][kind] if p[quantity] > 0]
            exponent = results["exponents"][kind][quantity]
            name = kind.replace("_", "-") + ("" if exponent is None else f", N^{exponent}")
            values = [p[quantity] * scale for p in points]
            axis.loglog([p["tokens"] for p in points], values, "o-", label=name)
        axis.set_xlabel("tokens N")
        axis.set_ylabel(label)
        axis.grid(True, which="major", alpha=0.3)
        axis.legend(frameon=False)
    machine = results["hardware"]
    figure.suptitle(f"{machine['gpus'] or machine['cpu']}, TensorFlow {machine['tensorflow']}")
    figure.savefig(path, dpi=150)


def main(argv):
    del argv
    if _POINT.value:
        kind, tokens = _POINT.value.split(",")
        print(json.dumps(measure(kind, int(tokens))))
        return
    sizes = sorted(int(n) for n in _TOKENS.value)
    points = {kind: [] for kind in KINDS}
    skipped = []
    for tokens in sizes:
        for kind in KINDS:
            map_gib = 4 * _BATCH_SIZE.value * _HEADS.value * tokens**2 / 2**30
            if kind == "dot_product" and map_gib > _LIMIT_GIB.value:
                skipped.append(tokens)
            else:
                points[kind].append(measure_in_a_process(kind, tokens))
    results = {
        "points": points,
        "dot_product_skipped": skipped,
        "exponents": {
            kind: {q: fitted_exponent(points[kind], q) for q in ("seconds", "peak_bytes")}
            for kind in KINDS
        },
        "width": _WIDTH.value,
        "heads": _HEADS.value,
        "batch_size": _BATCH_SIZE.value,
        "backward": _BACKWARD.value,
        "hardware": hardware(),
    }
    if _PLOT.value:
        plot(results, _PLOT.value)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    app.run(main)
