"""Where a run computes: strategy, precision and XLA, from the names users type."""

import collections
import json
import os
import pathlib

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf import extras, slurm
from ladagan_tf.errors import InputError, one_line, reason
from ladagan_tf.hardware import hardware, multiplies_bfloat16


def make_strategy(name, virtual_cpus=1):
    """Makes a `tf.distribute.Strategy`. Call it before anything else uses TensorFlow.

    Args:
        name: "none", one device; "mirrored", all GPUs (or virtual CPUs) of this machine;
            "multiworker", the workers of TF_CONFIG or of a job of Slurm, synchronously; "tpu".
        virtual_cpus: int, split the CPU into this many devices, to try `mirrored` without GPUs.

    Returns:
        tf.distribute.Strategy.

    Raises:
        InputError: if the devices or the cluster are not there, or the CPU is split for nothing.
    """
    if virtual_cpus > 1:
        if name != "mirrored":
            raise InputError(f"virtual_cpus={virtual_cpus}: it needs strategy=mirrored")
        cpu = tf.config.list_physical_devices("CPU")[0]
        split = [tf.config.LogicalDeviceConfiguration()] * virtual_cpus
        tf.config.set_logical_device_configuration(cpu, split)
    if name == "none":
        return tf.distribute.get_strategy()
    if name == "mirrored":
        os.environ.pop("TF_CONFIG", None)  # of workers: it is read here, too, and may be none
        kind = "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
        return tf.distribute.MirroredStrategy(
            [d.name for d in tf.config.list_logical_devices(kind)]
        )
    if name == "multiworker":
        cluster()
        gpus = tf.config.list_physical_devices("GPU")
        tf.config.set_visible_devices(own_gpus(gpus), "GPU")
        try:
            return tf.distribute.MultiWorkerMirroredStrategy()
        except (ValueError, tf.errors.OpError) as error:
            raise InputError(
                f"strategy=multiworker: this worker of TF_CONFIG={os.environ['TF_CONFIG']} cannot "
                f"start ({reason(error)}); its host must be this one, and its port free"
            ) from None
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu="")
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except (ValueError, tf.errors.OpError) as error:
        raise InputError(f"strategy=tpu: no TPU was found ({reason(error)})") from None
    return tf.distribute.TPUStrategy(resolver)


def cluster():
    """The workers' addresses, a list of "host:port", and which of them is this one.

    TF_CONFIG says so; where it is not set, as TensorFlow reads it, it is set to what Slurm says.

    Raises:
        InputError: if neither is there, or it says something else.
    """
    if "TF_CONFIG" not in os.environ and "SLURM_PROCID" in os.environ:
        addresses, index = slurm.workers()
        task = {"type": "worker", "index": index}
        os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": addresses}, "task": task})
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        addresses, task = config["cluster"]["worker"], config["task"]
        index = int(task["index"])
        places = [address.rpartition(":") for address in addresses]
        right = all(host and 0 < int(port) < 2**16 for host, _, port in places)
        right &= set(config["cluster"]) == {task["type"]} == {"worker"}
        right &= 0 <= index < len(addresses) == len(set(addresses))
    except (KeyError, TypeError, ValueError, AttributeError):
        right = False
    if not right:
        raise InputError(
            'strategy=multiworker needs TF_CONFIG={"cluster": {"worker": ["host:port", ...]}, '
            '"task": {"type": "worker", "index": 0}} in the environment of every worker, not '
            f"{one_line(os.environ.get('TF_CONFIG') or 'nothing')}; in a job of Slurm srun starts "
            "them without it"
        )
    return addresses, index


def own_gpus(gpus):
    """Those GPUs of a machine that this worker takes, of a list: all, or its part of them.

    Several tasks of Slurm on one machine may all see all of its GPUs.

    Raises:
        InputError: if they cannot be divided among its tasks.
    """
    number, count = slurm.place()
    if count == 1 or len(gpus) != slurm.gpus_of_machine():
        return gpus  # or Slurm has given each task its own
    if len(gpus) % count:
        raise InputError(
            f"strategy=multiworker: {len(gpus)} GPUs of this machine for {count} tasks of Slurm; "
            "give --ntasks-per-node a divisor, or --gpus-per-task"
        )
    share = len(gpus) // count
    return gpus[number * share :][:share]


def seed_keras(seed):
    """Seeds Python, NumPy, TensorFlow and Keras, from which initial weights come.

    Args:
        seed: int from 0 to 2^63 - 1. NumPy's global state takes 32 bits: seeds that differ by a
            multiple of 2^32 begin with the same weights (the draws of a GAN's training differ).
    """
    keras.utils.set_random_seed(seed % 2**32)


def in_words(precision, jit):
    """What this process computes on, as one line.

    Args:
        precision: str, Keras dtype policy.
        jit: bool, whether XLA compiles.
    """
    about = hardware()
    if about["gpus"]:
        names = collections.Counter(about["gpus"])
        where = ", ".join(f"{count} x {name}" for name, count in names.items())
    else:
        where = f"no GPU found, training on the CPU: {about['cores']} cores of {about['cpu']}"
    return f"{where}; {precision}, XLA {'on' if jit else 'off'}"


def unseen_gpu(folder="/proc/driver/nvidia/gpus"):
    """What to do about a GPU that is in this machine and that TensorFlow does not see; or None.

    Args:
        folder: where NVIDIA's driver lists them.
    """
    listed = pathlib.Path(folder)
    if tf.config.list_physical_devices("GPU") or not listed.is_dir() or not any(listed.iterdir()):
        return None
    return (
        "an NVIDIA GPU is in this machine, but TensorFlow does not see it: "
        f"{extras.install('gpu')}, and look at CUDA_VISIBLE_DEVICES"
    )


def emulated(precision):
    """What to do about a precision that takes more time here than float32; or None.

    Args:
        precision: str, Keras dtype policy.
    """
    if precision != "mixed_bfloat16" or multiplies_bfloat16():
        return None
    return (
        "precision=mixed_bfloat16: nothing here multiplies bfloat16, so it is emulated, many times "
        "slower than --precision=float32"
    )


def worker(strategy):
    """(index of this worker, number of workers); worker 0 is the chief and writes the run."""
    resolver = strategy.cluster_resolver
    if not isinstance(strategy, tf.distribute.MultiWorkerMirroredStrategy):
        return 0, 1
    return resolver.task_id, len(resolver.cluster_spec().as_dict()["worker"])


def use_jit(choice):
    """Whether to compile with XLA, of `choice`: "on", "off" or "auto".

    "auto" is yes on GPUs and TPUs and no on CPUs, where XLA is slower than op-by-op execution for
    these networks (docs/speed.md).
    """
    if choice == "auto":
        return any(d.device_type in ("GPU", "TPU") for d in tf.config.list_logical_devices())
    return choice == "on"


def replicated(function, strategy=None, jit=False):
    """Runs a function of batches on every replica of a strategy.

    Each replica takes consecutive rows, and results come back in the order of the rows, so that
    nothing depends on how many replicas there are. A batch is padded to the size of the largest
    before it: a last partial one is neither dropped nor compiled anew.

    Args:
        function: from tensors (b, ...) to a nested structure of tensors (b, ...).
        strategy: tf.distribute.Strategy; None is the current one.
        jit: bool, compile with XLA.

    Returns:
        Function from arrays (B, ...) to the same structure of NumPy arrays (B, ...).
    """
    strategy = strategy or tf.distribute.get_strategy()
    replicas = strategy.num_replicas_in_sync
    compiled = tf.function(function, autograph=False, jit_compile=jit)
    step = tf.function(lambda *parts: strategy.run(compiled, args=parts), autograph=False)
    share = 0  # rows per replica

    def call(*arrays):
        nonlocal share
        rows = len(arrays[0])
        share = max(share, -(-rows // replicas))
        values = [
            strategy.experimental_distribute_values_from_function(
                lambda context, a=a: tf.constant(
                    a[context.replica_id_in_sync_group * share :][:share]
                )
            )
            for a in (padded(array, share * replicas) for array in arrays)
        ]
        results = step(*values)
        flat = [strategy.experimental_local_results(v) for v in keras.tree.flatten(results)]
        return keras.tree.pack_sequence_as(results, [np.concatenate(v)[:rows] for v in flat])

    return call


def padded(array, rows):
    """An array (n, ...) with its last row repeated to (rows, ...): a batch of the usual size."""
    return np.concatenate([array, np.repeat(array[-1:], rows - len(array), axis=0)])
