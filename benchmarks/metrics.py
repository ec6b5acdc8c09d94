"""Speed and memory of the metrics and of the Inception network: prints one JSON document.

    python benchmarks/metrics.py

Features are random, so no weights or data are needed. Every point runs in a process of its own, so
that peak memory is its own. Run it on an otherwise idle machine; --only=fid,trace selects parts.
"""

import argparse
import datetime
import importlib.util
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
PARTS = ("fid", "trace", "pairs", "inception")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--counts", default="2500,10000", help="images of the FID points")
    parser.add_argument("--pairs", type=int, default=10000, help="images per set of KID and PRDC")
    parser.add_argument("--dimension", type=int, default=2048, help="features per image")
    parser.add_argument("--batch_size", type=int, default=250, help="images per call of Moments")
    parser.add_argument("--inception_batches", default="16,32", help="images per Inception call")
    parser.add_argument("--repeats", type=int, default=3, help="timed runs, the median counts")
    parser.add_argument(
        "--torch_fidelity_weights", help="its Inception .pth file, to time it beside ours"
    )
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run, comma-separated")
    parser.add_argument("--point", help=argparse.SUPPRESS)  # used by the parent only
    arguments = parser.parse_args()
    if arguments.point:
        part, *rest = arguments.point.split(",")
        measured = {"fid": fid, "trace": trace, "pairs": pairs, "inception": inception}
        print(json.dumps(measured[part](arguments, *rest)))
        return
    if unknown := set(arguments.only.split(",")) - set(PARTS):
        parser.error(f"--only={arguments.only}: no {min(unknown)!r} in {','.join(PARTS)}")
    points = {"trace": ["trace"], "pairs": ["pairs"]}
    points["fid"] = [f"fid,{count}" for count in arguments.counts.split(",")]
    points["inception"] = [
        f"inception,{batch},{network}"
        for network in ("ours", "ours_xla", "torch_fidelity")
        for batch in arguments.inception_batches.split(",")
    ]
    results = {p: [in_a_process(q) for q in points[p]] for p in arguments.only.split(",")}
    from ladagan_tf.hardware import hardware  # late: a point's memory is without it

    about = {**hardware(), "date": datetime.date.today().isoformat()}
    print(json.dumps({**results, "dimension": arguments.dimension, **about}, indent=1))


def in_a_process(point):
    child = [sys.executable, __file__, *sys.argv[1:], f"--point={point}"]
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    output = subprocess.run(child, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(output.stdout.splitlines()[-1])


def peak_mib():
    kibi = 1 if sys.platform == "darwin" else 1024  # macOS reports bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * kibi / 2**20


def seconds(call, repeats=1):
    """Median duration of `call`, and what it returned last."""
    durations = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = call()
        durations.append(time.perf_counter() - start)
    return round(statistics.median(durations), 4), result


def fid(arguments, count):
    """FID of two sets streamed in batches; peak memory above that of the imports."""
    import numpy as np

    from ladagan_tf.evaluation.frechet import frechet_distance
    from ladagan_tf.evaluation.statistics import Moments

    idle, streaming = peak_mib(), 0.0
    random = np.random.default_rng(0)
    sets = [Moments(arguments.dimension) for _ in range(2)]
    for moments in sets:
        for start in range(0, int(count), arguments.batch_size):
            rows = min(arguments.batch_size, int(count) - start)
            batch = random.standard_normal((rows, arguments.dimension), dtype=np.float32)
            streaming += seconds(lambda m=moments, b=batch: m.add(b))[0]
    arrays = [a for m in sets for a in (m.mean, m.covariance())]
    distance_seconds, value = seconds(lambda: frechet_distance(*arrays))
    return {
        "images_per_set": int(count),
        "moments_seconds": round(streaming, 2),
        "distance_seconds": distance_seconds,
        "peak_mib_above_imports": round(peak_mib() - idle),
        "fid": value,
    }


def trace(arguments):
    """The trace term of full-rank covariances, and the matrix root that other packages take."""
    import numpy as np

    from ladagan_tf.evaluation.frechet import trace_of_root

    size, random = arguments.dimension, np.random.default_rng(0)
    scales = np.geomspace(1.0, 1e-2, size)
    rows = [random.standard_normal((3 * size, size)) * s for s in (scales, scales[::-1] + 0.1)]
    first, second = (np.cov(r, rowvar=False) for r in rows)
    ours, value = seconds(lambda: trace_of_root(first, second), arguments.repeats)
    result = {"seconds": ours, "value": value}
    if importlib.util.find_spec("scipy"):
        from scipy.linalg import sqrtm

        theirs, root = seconds(lambda: sqrtm(first @ second))
        difference = abs(np.trace(root).real / value - 1.0)
        result |= {"scipy_sqrtm_seconds": theirs, "ratio": round(theirs / ours, 1)}
        result["relative_difference"] = float(difference)
    return result


def pairs(arguments):
    """KID, precision/recall and density/coverage over all pairs, in blocks."""
    import numpy as np

    from ladagan_tf.evaluation import metrics

    shape, random = (arguments.pairs, arguments.dimension), np.random.default_rng(0)
    banks = [random.standard_normal(shape, dtype=np.float32) for _ in range(2)]
    idle, result = peak_mib(), {"images_per_set": arguments.pairs}
    for name in ("kernel_distance", "precision_recall", "density_coverage"):
        result[f"{name}_seconds"] = seconds(lambda n=name: getattr(metrics, n)(*banks))[0]
    return {**result, "peak_mib_above_banks": round(peak_mib() - idle)}


def inception(arguments, batch, network):
    """Images per second of a feature network with random weights, on 32 px images."""
    import numpy as np

    shape = (int(batch), 32, 32, 3)
    images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    result = {"network": network, "batch_size": int(batch)}
    try:
        if network == "torch_fidelity":
            call = torch_fidelity_network(images, arguments.torch_fidelity_weights)
        else:
            call = our_network(images, xla=network == "ours_xla")
    except ImportError as error:
        return {**result, "skipped": str(error)}
    first, _ = seconds(call)  # traces and compiles
    duration, _ = seconds(call, arguments.repeats)
    speed = round(int(batch) / duration, 1)
    peak = round(peak_mib())
    return {**result, "first_call_seconds": first, "images_per_second": speed, "peak_mib": peak}


def our_network(images, xla):
    import keras
    import tensorflow as tf

    from ladagan_tf.models.features.inception import Inception

    tf.config.experimental.enable_tensor_float_32_execution(False)  # FID is a float32 number
    network = Inception()
    for weight in network.weights:  # He's variance, so that activations neither vanish nor grow
        scale = (2.0 / max(1, weight.shape.num_elements() // weight.shape[-1])) ** 0.5
        weight.assign(keras.random.normal(weight.shape, stddev=scale, seed=0))
    function = tf.function(network, jit_compile=xla)
    images = tf.constant(images)
    return lambda: function(images)["2048"].numpy()


def torch_fidelity_network(images, weights):
    import torch
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

    if weights is None:
        raise ImportError("needs --torch_fidelity_weights")
    network = FeatureExtractorInceptionV3(
        "inception-v3-compat", ["2048"], feature_extractor_weights_path=weights
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    network = network.eval().to(device)
    images = torch.from_numpy(images.transpose(0, 3, 1, 2).copy()).to(device)

    def call():
        with torch.no_grad():
            return network(images)[0].cpu().numpy()

    return call


if __name__ == "__main__":
    main()
