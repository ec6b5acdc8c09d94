"""Where a run computes: strategy, precision and XLA, from the names users type."""

import json
import os

import keras
import tensorflow as tf

from ladagan_tf.errors import InputError

STRATEGIES = ("none", "mirrored", "multiworker", "tpu")
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")


def make_strategy(name, virtual_cpus=1):
    """Makes a `tf.distribute.Strategy`. Call it before anything else uses TensorFlow.

    Args:
        name: "none", one device; "mirrored", all GPUs (or virtual CPUs) of this machine;
            "multiworker", the workers of TF_CONFIG, synchronously; "tpu".
        virtual_cpus: int, split the CPU into this many devices, to try `mirrored` without GPUs.

    Returns:
        tf.distribute.Strategy.

    Raises:
        InputError: if the devices or TF_CONFIG are not there.
    """
    if virtual_cpus > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        split = [tf.config.LogicalDeviceConfiguration()] * virtual_cpus
        tf.config.set_logical_device_configuration(cpu, split)
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy(
            [d.name for d in tf.config.list_logical_devices(kind)]
        )
    if name == "multiworker":
        workers = json.loads(os.environ.get("TF_CONFIG", "{}")).get("cluster", {}).get("worker")
        if not workers:
            raise InputError(
                'strategy=multiworker needs TF_CONFIG={"cluster": {"worker": ["host:port", ...]}, '
                '"task": {"type": "worker", "index": 0}} in the environment of every worker'
            )
        return tf.distribute.MultiWorkerMirroredStrategy()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise InputError(f"strategy=tpu: no TPU was found ({error})".splitlines()[0]) from None
    return tf.distribute.TPUStrategy(resolver)


def worker(strategy):
    """(index of this worker, number of workers); worker 0 is the chief and writes the run."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


def use_jit(choice):
    """Whether to compile with XLA: "auto" is yes on GPUs and TPUs and no on CPUs, where XLA is
    slower than op-by-op execution for these networks (spec 8)."""
    if choice == "auto":
        return any(d.device_type in ("GPU", "TPU") for d in tf.config.list_logical_devices())
    return choice == "on"


def make_optimizer(learning_rate, beta1, beta2, precision, epsilon=1e-7):
    """Adam as Keras defines it; with dynamic loss scaling under mixed_float16.

    It is GAT's AdamW too, whose weight decay is 0. Keras adds epsilon before the bias correction,
    PyTorch after it: with beta 2 of 0.99 the two are one after some hundred steps.
    """
    adam = keras.optimizers.Adam(learning_rate, beta1, beta2, epsilon=epsilon)
    return keras.optimizers.LossScaleOptimizer(adam) if precision == "mixed_float16" else adam
