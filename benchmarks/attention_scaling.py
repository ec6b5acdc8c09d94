"""Time and memory of attention as the number of tokens grows: LadaGAN's kinds and GAT's two.

Run `python benchmarks/attention_scaling.py`; it prints JSON, and `--plot=FILE` draws it. Every
point is a process of its own, because a process's peak memory never falls.

All calls have the same number of tokens in all, as many images as they make, and the numbers are
per image: so a call of small images is not mostly overhead, and only the attention's own growth is
left. The exponent of a quantity is the slope of its logarithm against that of the number of tokens,
fitted to all points by least squares.
"""

import datetime
import importlib.metadata
import json
import math
import pathlib
import resource
import statistics
import subprocess
import sys
import time

from absl import app, flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

_TOKENS = flags.DEFINE_list(
    "tokens",
    ["256", "576", "1024", "2304", "4096", "9216", "16384"],
    "Numbers of tokens of an image, squares of multiples of 8; 256 to 16384 by default.",
)
flags.register_validator(
    "tokens",
    lambda counts: all(n.isdigit() and math.isqrt(int(n)) ** 2 == int(n) > 0 for n in counts),
    "give squares, as 256,1024: windows need a square grid",
)
_TOTAL = flags.DEFINE_integer(
    "total_tokens", 16384, "Tokens of a call, at least one image's; 16384 by default."
)
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of a token; 64 by default.")
_HEADS = flags.DEFINE_integer(
    "heads", 1, "Heads, must divide --width; 1 of 64 channels, as GAT's are, by default."
)
_REPEATS = flags.DEFINE_integer("repeats", 5, "Timed calls, the median counts; 5 by default.")
_BACKWARD = flags.DEFINE_bool("backward", True, "Also compute gradients; true by default.")
_LIMIT_GIB = flags.DEFINE_float(
    "limit_gib", 2.0, "Skip points with maps of N x N that are larger, in GiB; 2 by default."
)
_PLOT = flags.DEFINE_string("plot", None, "Write a figure to this file; none by default.")
_POINT = flags.DEFINE_string("point", None, "Measure one 'KIND,TOKENS' only (used internally).")

# The colours of Okabe and Ito, which the colour-blind tell apart.
COLOURS = {
    "additive": "#D55E00",
    "fastformer": "#E69F00",
    "linformer": "#009E73",
    "swin": "#56B4E9",
    "swin_pair": "#0072B2",
    "dot_product": "#000000",
    "gat_additive": "#CC79A7",
    "gat_dot_product": "#777777",
}
QUADRATIC = ("dot_product", "gat_dot_product")


def kinds():
    """Names of what is measured: of `make_attention`, and GAT's two as the networks have them."""
    from ladagan_tf.models.attention import ATTENTIONS

    return [*ATTENTIONS, "gat_additive", "gat_dot_product"]


def make_attend(kind, tokens):
    """A layer for so many tokens, and self-attention as a function of tokens (B, N, D)."""
    from ladagan_tf.models.attention.kinds import make_attention
    from ladagan_tf.models.gat.additive import GatAdditiveAttention
    from ladagan_tf.models.gat.attention import GatAttention

    shape = (None, tokens, _WIDTH.value)
    if kind == "gat_additive":
        layer = GatAdditiveAttention(_HEADS.value)
    elif kind == "gat_dot_product":
        layer = GatAttention(_HEADS.value, grid=round(tokens**0.5), fused=True)
    else:
        layer = make_attention(kind, _HEADS.value)
    layer.build(shape)
    return layer, layer if kind.startswith("gat") else lambda x: layer(x)[0]


def images_per_call(tokens):
    return max(1, _TOTAL.value // tokens)


def peak_bytes(tf, gpus):
    if gpus:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"]
    kibi = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibi


def make_call(tf, kind, images, tokens):
    """A function without arguments that does one call and returns its seconds."""
    layer, attend = make_attend(kind, tokens)

    @tf.function
    def call(x):
        if not _BACKWARD.value:
            return [tf.reduce_sum(attend(x))]
        with tf.GradientTape() as tape:
            tape.watch(x)
            loss = tf.reduce_sum(tf.square(attend(x)))
        weights = [weight.value for weight in layer.trainable_variables]
        return [tf.reduce_sum(g) for g in tape.gradient(loss, [x, *weights])]

    x = tf.random.stateless_normal((images, tokens, _WIDTH.value), (0, 0))
    call.get_concrete_function(x)

    def timed():
        start = time.perf_counter()
        for value in call(x):
            value.numpy()  # waits for the device
        return time.perf_counter() - start

    return timed


def measure(kind, tokens):
    """Per image: median seconds of a call, and how far it raised the process's peak memory."""
    import tensorflow as tf

    gpus = tf.config.list_physical_devices("GPU")
    make_call(tf, kind, 1, 64)()  # loads what every size needs, so that the baseline has it
    images = images_per_call(tokens)
    timed = make_call(tf, kind, images, tokens)
    before = peak_bytes(tf, gpus)
    timed()
    seconds = statistics.median(timed() for _ in range(_REPEATS.value))
    return {
        "tokens": tokens,
        "images_per_call": images,
        "seconds": seconds / images,
        "peak_bytes": (peak_bytes(tf, gpus) - before) / images,
    }


def measure_in_a_process(kind, tokens):
    passed = [
        f"--{flag.name}={flag.value}" for flag in (_WIDTH, _HEADS, _TOTAL, _REPEATS, _BACKWARD)
    ]
    command = [sys.executable, __file__, f"--point={kind},{tokens}", *passed]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def fitted_exponent(points, quantity):
    """Slope of log(quantity) against log(tokens) over all points; None for fewer than two."""
    import numpy as np

    points = [p for p in points if p[quantity] > 0]
    if len(points) < 2:
        return None
    logs = [np.log([p[name] for p in points]) for name in ("tokens", quantity)]
    return round(float(np.polyfit(*logs, 1)[0]), 2)


def spread(heights, gap):
    """Heights in the same order, rising, at least `gap` apart and near what they were."""
    heights = list(heights)
    for _ in range(200):
        for i in range(len(heights) - 1):
            missing = gap - (heights[i + 1] - heights[i])
            if missing > 0:
                heights[i] -= missing / 2
                heights[i + 1] += missing / 2
    return heights


def label_curves(axis, ends):
    """Writes each curve's name beside its end; `ends` are (value, text, colour)."""
    import numpy as np

    ends = sorted(ends)
    low, high = np.log(axis.get_ylim())
    heights = spread([(np.log(value) - low) / (high - low) for value, *_ in ends], 0.065)
    for height, (_, text, colour) in zip(heights, ends, strict=True):
        axis.text(
            1.02, height, text, color=colour, transform=axis.transAxes, va="center", fontsize=9
        )


def plot(results, path):
    """Time and memory against tokens, both axes logarithmic."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axis, quantity, scale, label in (
        (axes[0], "seconds", 1e3, "time per image (ms)"),
        (axes[1], "peak_bytes", 2**-20, "peak memory per image (MiB)"),
    ):
        ends = []
        for kind, points in results["points"].items():
            points = [p for p in points if p[quantity] > 0]
            if not points:
                continue
            style = "o--" if kind.startswith("gat") else "o-"
            values = [p[quantity] * scale for p in points]
            colour = COLOURS[kind]
            axis.loglog([p["tokens"] for p in points], values, style, color=colour, markersize=4)
            exponent = results["exponents"][kind][quantity]
            name = kind.replace("gat_", "GAT, ").replace("dot_", "dot-").replace("_", " ")
            name += "" if exponent is None else f": $N^{{{exponent}}}$"
            ends.append((values[-1], name, colour))
        label_curves(axis, ends)
        axis.set_xscale("log", base=4)
        axis.xaxis.set_major_formatter("{x:.0f}")
        axis.set_xlabel("tokens N")
        axis.set_ylabel(label)
        axis.grid(True, which="major", alpha=0.3)
    machine = results["hardware"]
    figure.suptitle(f"{machine['gpus'] or machine['cpu']}, TensorFlow {machine['tensorflow']}")
    figure.savefig(path, dpi=150)


def main(argv):
    del argv
    if _POINT.value:
        kind, tokens = _POINT.value.split(",")
        print(json.dumps(measure(kind, int(tokens))))
        return
    points = {kind: [] for kind in kinds()}
    skipped = []
    for tokens in sorted(int(n) for n in _TOKENS.value):
        maps_gib = 4 * images_per_call(tokens) * _HEADS.value * tokens**2 / 2**30
        for kind, measured in points.items():
            if kind in QUADRATIC and maps_gib > _LIMIT_GIB.value:
                skipped.append([kind, tokens])
            else:
                measured.append(measure_in_a_process(kind, tokens))
    from ladagan_tf.hardware import hardware  # late: a point sets up TensorFlow itself

    results = {
        "points": points,
        "skipped": skipped,
        "exponents": {
            kind: {q: fitted_exponent(measured, q) for q in ("seconds", "peak_bytes")}
            for kind, measured in points.items()
        },
        "width": _WIDTH.value,
        "heads": _HEADS.value,
        "total_tokens": _TOTAL.value,
        "backward": _BACKWARD.value,
        "hardware": {
            **hardware(),
            "tensorflow": importlib.metadata.version("tensorflow"),
            "date": datetime.date.today().isoformat(),
        },
    }
    if _PLOT.value:
        plot(results, _PLOT.value)
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    app.run(main)
