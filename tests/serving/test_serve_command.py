"""The command serves and ends, in a process of its own, and the benchmark measures its load."""

import contextlib
import os
import types

import pytest

from benchmarks import serving as load

pytest.importorskip("fastapi", reason="fastapi is optional: the service is not tested")
pytest.importorskip("uvicorn", reason="uvicorn is optional: the service is not tested")
pytest.importorskip("fastapi_offline", reason="it is optional: the service is not tested")

from service_clients import get, serving


@pytest.mark.slow
def test_the_command_says_where_it_serves_and_ends_with_a_signal(small, tmp_path):
    small.network.save(tmp_path / "small.keras")
    with load.server(tmp_path / "small.keras", "--max_batch=4") as (process, address):
        assert [get(address, f"/v1/generate?num={n}")[0] for n in (4, 5)] == [200, 422]
    assert process.returncode == 0


def test_load_without_a_failed_request(small, monkeypatch):
    with serving(small) as address:
        started = types.SimpleNamespace(pid=os.getpid()), address
        monkeypatch.setattr(load, "server", lambda *_: contextlib.nullcontext(started))
        result = load.measure("the running one", [1, 8], requests=48, num=1)
    assert [row["requests"] for row in result["load"]] == [24, 24]
    assert result["failed"] == 0
    assert list(result["memory_mib"]) == list(range(0, 49, 6))
    assert all(row["p50_ms"] <= row["p95_ms"] for row in result["load"])
