"""Speed of the full training step and of the generator: prints one JSON document.

    python benchmarks/train_step.py --config=configs/cifar10.cfg --batch_size=64
    python benchmarks/train_step.py --config=configs/gat_s2_imagenet256.cfg --batch_size=2 \
        --threads=1
    python benchmarks/train_step.py --config=configs/cifar10.cfg --variant=mixed_bfloat16,0 \
        --operations=12

Every variant runs in a process of its own, so that peak memory is its own: float32 and bfloat16,
each with and without XLA for LadaGAN, with and without rematerialisation for GAT and CAT, whose
teacher is replaced by constants. Run it on an otherwise idle machine.
"""

import argparse
import collections
import dataclasses
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf.errors import InputError, one_line_errors

OPTIONS = {  # what variants differ in besides precision: JSON name, flags of off and on
    "lada": ("xla", ("--jit=off", "--jit=on")),
    "gat": ("rematerialised", ("--noremat", "--remat")),
}
OPTIONS["cat"] = OPTIONS["gat"]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="name or flagfile of the experiment")
    parser.add_argument("--batch_size", type=int, default=64, help="images per step")
    parser.add_argument("--steps", type=int, default=5, help="timed steps per variant")
    parser.add_argument("--threads", type=int, default=0, help="0 (default): one per core")
    parser.add_argument(
        "--operations",
        type=int,
        default=0,
        metavar="N",
        help="and the N kinds of operations that take longest, of those that XLA does not compile",
    )
    parser.add_argument(
        "--variant", metavar="PRECISION,0|1", help="only this, in this process: float32,0 ..."
    )
    arguments = parser.parse_args()
    if arguments.variant:
        with one_line_errors():
            print(json.dumps(measure(arguments)))
        return
    results = []
    for precision in ("float32", "mixed_bfloat16"):
        for option in ("0", "1"):
            child = [sys.executable, __file__, *sys.argv[1:], f"--variant={precision},{option}"]
            done = subprocess.run(child, stdout=subprocess.PIPE, text=True, check=False)
            if done.returncode:
                sys.exit(done.returncode)  # it has said why
            results.append(json.loads(done.stdout.splitlines()[-1]))
    from ladagan_tf.hardware import hardware  # late: variants set up TensorFlow themselves

    about = {**hardware(), "date": time.strftime("%Y-%m-%d")}
    print(json.dumps({"config": arguments.config, **about, "variants": results}, indent=2))


def measure(arguments):
    """Times one variant in this process."""
    precision, option = arguments.variant.split(",")
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    gan, step, generate = functions(arguments, precision, int(option))
    import tensorflow as tf
    from absl import flags

    from ladagan_tf.flags import train as train_flags

    batch = arguments.batch_size
    step_seconds = timed(step, arguments.steps)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    kinds = seconds_by_kind(step, arguments.operations) if arguments.operations else {}
    generator_seconds = timed(generate, arguments.steps)
    networks = gan.generator, gan.discriminator
    system = flags.FLAGS.system
    macs, *_ = train_flags.SYSTEMS[system].step_cost(*networks, batch_size=batch)
    rate = macs * batch / step_seconds
    rates = {name: matmul_rate(tf, name) for name in ("float32", "bfloat16")}
    return {
        "precision": precision,
        OPTIONS[system][0]: option == "1",
        "batch_size": batch,
        "threads": arguments.threads or len(os.sched_getaffinity(0)),
        "seconds_per_step": round(step_seconds, 3),
        "train_images_per_s": round(batch / step_seconds, 2),
        "generator_images_per_s": round(batch / generator_seconds, 2),
        "peak_memory_gb": round(peak / 1e9, 2),
        "training_multiply_adds_per_image": macs,
        **{f"{name}_matmul_multiply_adds_per_s": round(most) for name, most in rates.items()},
        **{f"share_of_{name}_matmul_rate": round(rate / most, 3) for name, most in rates.items()},
        **({"seconds_by_kind_of_operation": kinds} if arguments.operations else {}),
    }


def functions(arguments, precision, option):
    """The model of a config, its training step and its generator.

    Args:
        arguments: with config, batch_size and threads.
        precision: str, value of `--precision`.
        option: 0 or 1, of `OPTIONS`.

    Returns:
        (TrainedModel, function without arguments, function without arguments).
    """
    import tensorflow as tf
    from absl import flags

    from ladagan_tf.devices import use_jit
    from ladagan_tf.flags import model
    from ladagan_tf.flags import start as start_flags
    from ladagan_tf.flags import train as train_flags
    from ladagan_tf.flags.common import read_flags

    for set_threads in (
        tf.config.threading.set_intra_op_parallelism_threads,
        tf.config.threading.set_inter_op_parallelism_threads,
    ):
        set_threads(arguments.threads)
    train_flags.define()
    batch = arguments.batch_size
    given = [f"--config={arguments.config}", f"--batch_size={batch}", "--dataset=unused"]
    read_flags([__file__, *given, f"--precision={precision}", "--strategy=none"])
    system = flags.FLAGS.system
    if system not in OPTIONS:
        raise InputError(f"--config={arguments.config}: of lada, gat or cat, not {system}")
    flags.FLAGS([__file__, OPTIONS[system][1][option]])
    start_flags.resolve()
    gan = model.build(tf.distribute.get_strategy())
    if getattr(gan.discriminator, "teacher_dim", 0):
        gan.objective = dataclasses.replace(gan.objective, teacher=constant_teacher(gan, batch))
    latents, labels = inputs_of(gan.averaged, batch)
    data = training_data(gan, batch), labels
    conditions = [labels] if gan.generator.num_classes else []
    step = tf.function(lambda: gan.train_step(data), autograph=False)
    generate = tf.function(
        lambda: gan.averaged(latents, *conditions),
        jit_compile=use_jit(flags.FLAGS.jit),
        autograph=False,
    )
    return gan, step, generate


def inputs_of(generator, batch):
    """Random latents and labels."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(0)
    latents = random.normal(size=(batch, generator.noise_dim)).astype("float32")
    labels = random.integers(0, max(1, generator.num_classes), batch)
    return tf.constant(latents), tf.constant(labels, tf.int32)


def training_data(gan, batch):
    """What the input pipeline would yield: uint8 images, or moments of latents."""
    import numpy as np
    import tensorflow as tf

    random = np.random.default_rng(1)
    size = gan.generator.resolution
    if hasattr(gan.generator, "latent_size"):
        shape = (batch, size, size, 2 * gan.generator.channels)
        return {"moments": tf.constant(random.random(shape), tf.float16)}
    return tf.constant(random.integers(0, 256, (batch, size, size, 3)), tf.uint8)


def constant_teacher(gan, batch):
    """Features that cost nothing, as in the official measurement this is compared with."""
    import tensorflow as tf

    d = gan.discriminator
    cls = tf.ones((batch, d.teacher_dim))
    patches = tf.ones((batch, d.grid**2, d.teacher_dim))
    return lambda batch, draws, size: (cls, patches)


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


def seconds_by_kind(step, most):
    """What one call's operations take by kind, the longest first, those at one time added up."""
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            synchronise(step())
        (file,) = pathlib.Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            node, _, kind = names[event.metadata_id].rpartition(":")  # of an operation: path:Kind
            if "/" in node and kind.isidentifier():
                seconds[kind] += event.duration_ps / 1e12
    return {kind: round(value, 3) for kind, value in seconds.most_common(most)}


def matmul_rate(tf, dtype, size=2048):
    """Multiply-adds per second of a large matrix product on this machine."""
    a = tf.cast(tf.random.normal((size, size)), dtype)
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(a, a)))
    return size**3 / timed(product, 7)


if __name__ == "__main__":
    main()
