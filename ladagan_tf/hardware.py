"""What this machine has."""

import os
import pathlib
import platform


def hardware():
    """Dict of the processor's name, the cores this process may use, and the GPUs' names."""
    import tensorflow as tf  # here, because counting cores needs none

    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return {
        "cpu": names[0] if names else platform.processor() or platform.machine(),
        "cores": usable_cores(),
        "gpus": [about.get("device_name", "GPU") for about in details],
    }


def usable_cores():
    """Number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):  # Linux; it knows of limits set from outside
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
