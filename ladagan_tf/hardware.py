"""What this machine has, and what this process takes of it."""

import math
import os
import pathlib
import platform
import re
import resource
import subprocess
import sys

CPUINFO = pathlib.Path("/proc/cpuinfo")
CGROUP = pathlib.Path("/sys/fs/cgroup")  # limits of a container or a job, which /proc ignores
OWN_GROUPS = pathlib.Path("/proc/self/cgroup")  # where in it this process is
BFLOAT16 = r"\b(avx512_bf16|amx_bf16)\b"  # instructions for products, of an x86
ARM_BFLOAT16 = r"\bbf16\b"
# What tells apart processors that a virtual machine calls by one name, the widest first.
VECTORS = {BFLOAT16: "AVX-512 and bfloat16", r"\bavx512f\b": "AVX-512", r"\bavx2\b": "AVX2"}


def hardware():
    """Dict of the processor's name, the cores this process may use, and the GPUs' names."""
    import tensorflow as tf  # here, because the others need none

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return {
        "cpu": processor(),
        "cores": usable_cores(),
        "gpus": [about.get("device_name", "GPU") for about in details],
    }


def multiplies_bfloat16():
    """Whether this machine has instructions for products of bfloat16 numbers.

    Without them they are emulated, and slower than float32. Of a GPU that does not say what it can,
    it is taken to have them.
    """
    import tensorflow as tf

    if tf.config.list_logical_devices("TPU"):
        return True
    gpus = tf.config.list_physical_devices("GPU")
    if gpus:
        details = map(tf.config.experimental.get_device_details, gpus)
        return all(about.get("compute_capability", (8, 0)) >= (8, 0) for about in details)
    return bool(CPUINFO.is_file() and re.search(f"{BFLOAT16}|{ARM_BFLOAT16}", CPUINFO.read_text()))


def processor():
    """The processor's name and, of an x86, its widest vectors, as "AMD EPYC with AVX2": str."""
    text = CPUINFO.read_text() if CPUINFO.is_file() else ""
    name = re.search(r"^model name\s*:\s*(\S.*?)\s*$", text, re.M)
    name = name[1] if name else platform.processor() or platform.machine()
    vectors = next((said for flag, said in VECTORS.items() if re.search(flag, text)), None)
    return f"{name} with {vectors}" if vectors else name


def device_memory():
    """Bytes of memory of a GPU, of the smallest of several; without one, what a process can take.

    That is what is free, here and of what a container may have, and what this one has taken.

    Returns:
        int, or None where neither the driver nor the system says.
    """
    import tensorflow as tf

    if tf.config.list_physical_devices("GPU"):
        ask = ["nvidia-smi", "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
        try:
            said = subprocess.run(ask, capture_output=True, text=True, timeout=60).stdout
            return min(int(mib) for mib in said.split()) * 2**20
        except (OSError, ValueError, subprocess.TimeoutExpired):
            return None
    kib = _in_kib("/proc/meminfo", "MemAvailable"), _in_kib("/proc/self/status", "VmRSS")
    if None in kib:
        return None
    free, taken = (1024 * number for number in kib)
    return min(free, _left_of_cgroup(free)) + taken


def _in_kib(path, name):
    """A size in a file of /proc, in kibibytes; None if it is not there."""
    found = re.search(rf"^{name}:\s+(\d+) kB$", _text(pathlib.Path(path)), re.M)
    return int(found[1]) if found else None


def _left_of_cgroup(otherwise):
    """Bytes that this process's groups may still take; `otherwise` where they limit it to no less.

    Pages of files that were read count as taken, and go where memory is needed.
    """
    left = otherwise
    for folder in _groups("memory"):
        for names in (("max", "current"), ("limit_in_bytes", "usage_in_bytes")):  # of version 1
            limit, taken = (_numbers(folder / f"memory.{name}") for name in names)
            if limit and taken:  # "max" is no number
                text = _text(folder / "memory.stat")
                cache = re.search(r"^(?:total_)?inactive_file (\d+)$", text, re.M)
                left = min(left, limit[0] - taken[0] + (int(cache[1]) if cache else 0))
    return max(0, left)


def _groups(controller):
    """Folders of this process's control group and of those around it, each of which limits it.

    Version 1 has a tree for each controller, such as "memory"; version 2 one for all. What a
    container sees as its root is not always what its processes are told to be in.
    """
    for line in _text(OWN_GROUPS).splitlines():
        _, controllers, own = line.split(":", 2)
        if not controllers or controller in controllers.split(","):
            root = CGROUP / controller if controllers else CGROUP
            folder = root / own.strip("/")
            yield from (path for path in (folder, *folder.parents) if path.is_relative_to(root))


def _text(path):
    try:
        return path.read_text()
    except OSError:
        return ""


def _numbers(path):
    """The whole numbers in a file; none if it holds anything else or is not there."""
    words = _text(path).split()
    return [int(word) for word in words] if all(map(str.isdecimal, words)) else []


def peak_memory():
    """The most memory that this process has taken so far, a dict of gigabytes (1e9 bytes).

    "cpu_peak_gb" is the peak of its resident set. "gpu_peak_gb" is that of TensorFlow's allocator,
    on the GPU where it is highest; it is left out where there is no GPU.
    """
    import tensorflow as tf

    found = {"cpu_peak_gb": round(_peak_resident_bytes() / 1e9, 3)}
    names = [
        device.name.removeprefix("/device:") for device in tf.config.list_logical_devices("GPU")
    ]
    if names:
        peaks = [tf.config.experimental.get_memory_info(name)["peak"] for name in names]
        found["gpu_peak_gb"] = round(max(peaks) / 1e9, 3)
    return found


def _peak_resident_bytes():
    # Where it is there: `getrusage` would count what the parent had before this process began.
    if kib := _in_kib("/proc/self/status", "VmHWM"):
        return 1024 * kib
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def usable_cores():
    """Number of processor cores that this process may use."""
    cores = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):  # Linux; it knows of limits set from outside
        cores = len(os.sched_getaffinity(0))
    for folder in _groups("cpu"):
        quota = _numbers(folder / "cpu.max") or [
            number
            for name in ("cpu.cfs_quota_us", "cpu.cfs_period_us")
            for number in _numbers(folder / name)
        ]
        if len(quota) == 2 and quota[1]:  # microseconds of work in so many, as docker run --cpus
            cores = min(cores, max(1, math.ceil(quota[0] / quota[1])))
    return cores
