"""What is recorded of a machine is what this process may use of it."""

import os
import pathlib
import resource
import types

import pytest
import tensorflow as tf

from ladagan_tf.hardware import (
    device_memory,
    hardware,
    multiplies_bfloat16,
    peak_memory,
    processor,
    usable_cores,
)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="Linux limits cores by process")
def test_cores_are_those_that_the_process_may_use(group):
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores() == hardware()["cores"] == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert usable_cores() == len(allowed)


V2 = {"memory.max": "{}", "memory.current": "300", "memory.stat": "anon 1\ninactive_file 100\n"}
V1 = {
    "memory/memory.limit_in_bytes": "{}",
    "memory/memory.usage_in_bytes": "300",
    "memory/memory.stat": "inactive_file 100\ntotal_inactive_file 100\n",
}


@pytest.fixture
def group(monkeypatch, tmp_path):
    """A function that writes files of control groups, of which this process's is job/step."""
    monkeypatch.setattr("ladagan_tf.hardware.CGROUP", tmp_path / "fs")
    monkeypatch.setattr("ladagan_tf.hardware.OWN_GROUPS", tmp_path / "own")
    (tmp_path / "own").write_text("4:memory:/job/step\n2:cpu,cpuacct:/job/step\n0::/job/step\n")

    def write(files):
        for name, text in files.items():
            path = tmp_path / "fs" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"{text}\n")

    return write


@pytest.mark.parametrize("inner", ["", "job/", "job/step/"])
@pytest.mark.parametrize("files", [V2, V1], ids=["version 2", "version 1"])
def test_memory_is_what_the_group_leaves_where_that_is_less(group, monkeypatch, files, inner):
    files = {name.replace("memory.", f"{inner}memory."): text for name, text in files.items()}
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    monkeypatch.setattr("ladagan_tf.hardware._in_kib", lambda path, name: 1)
    assert device_memory() == 2048  # what is free, and what this process has
    for limit, left in (("1000", 800), ("9223372036854771712", 1024), ("max", 1024), ("100", 0)):
        group({name: text.format(limit) for name, text in files.items()})
        assert device_memory() == left + 1024


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000"}, 8),
        ({"cpu.max": "250000 100000"}, 3),
        ({"cpu.max": "10000 100000"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ({"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2),
        ({"cpu.max": "400000 100000", "job/cpu.max": "2 1", "job/step/cpu.max": "max 100000"}, 2),
        ({"cpu/job/cpu.cfs_quota_us": "2", "cpu/job/cpu.cfs_period_us": "1"}, 2),
    ],
)
def test_cores_are_no_more_than_the_group_has_time_for(group, monkeypatch, files, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    group(files)
    assert usable_cores() == expected


def test_the_processor_has_a_name_and_gpus_are_listed():
    found = hardware()
    assert found["cpu"] and len(found["gpus"]) == len(tf.config.list_physical_devices("GPU"))


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ("fpu sse avx2 avx512f avx512_bf16", "AMD EPYC with AVX-512 and bfloat16"),
        ("fpu sse avx2 avx512f", "AMD EPYC with AVX-512"),
        ("fpu sse avx2", "AMD EPYC with AVX2"),
        ("fpu sse", "AMD EPYC"),
    ],
)
def test_processors_of_one_name_are_told_apart(monkeypatch, tmp_path, flags, expected):
    (tmp_path / "cpuinfo").write_text(f"model name\t: AMD EPYC \nflags\t\t: {flags}\n\n" * 2)
    monkeypatch.setattr("ladagan_tf.hardware.CPUINFO", tmp_path / "cpuinfo")
    assert processor() == expected


def test_bfloat16_is_known_of_x86_arm_and_tpus(monkeypatch, tmp_path):
    monkeypatch.setattr("ladagan_tf.hardware.CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    for flags, expected in (("avx512f avx2", False), ("asimd bf16", True), ("amx_bf16", True)):
        (tmp_path / "cpuinfo").write_text(f"flags : {flags}\n")
        assert multiplies_bfloat16() == expected
    (tmp_path / "cpuinfo").write_text("flags : avx2\n")  # of a TPU's host
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [kind] * (kind == "TPU"))
    assert multiplies_bfloat16()


def test_the_peak_of_memory_is_no_less_than_what_is_taken_now():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    now = pages * resource.getpagesize() / 1e9
    at_most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    assert now - 0.01 <= peak_memory()["cpu_peak_gb"] <= at_most + 0.01
    assert ("gpu_peak_gb" in peak_memory()) == bool(tf.config.list_physical_devices("GPU"))


def test_the_peak_of_gpus_is_that_of_the_fullest(monkeypatch):
    peaks = {"GPU:0": 2.5e9, "GPU:1": 7.25e9}
    devices = [types.SimpleNamespace(name=f"/device:{name}") for name in peaks]
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: devices)
    monkeypatch.setattr(
        tf.config.experimental, "get_memory_info", lambda name: {"peak": peaks[name]}
    )
    assert peak_memory()["gpu_peak_gb"] == 7.25
