"""The command serves and ends, and the benchmark of its load starts, asks and ends it."""

import concurrent.futures
import contextlib
import os
import queue
import signal
import types

import pytest
from in_process import command

from benchmarks import serving as load
from ladagan_tf import serve
from ladagan_tf.flags import serve as serve_flags

pytest.importorskip("fastapi", reason="fastapi is optional: the service is not tested")
pytest.importorskip("uvicorn", reason="uvicorn is optional: the service is not tested")
pytest.importorskip("fastapi_offline", reason="it is optional: the service is not tested")

from service_clients import get, serving


@pytest.mark.usefixtures("eagerly")
def test_the_command_says_where_it_serves_and_ends_with_a_signal(small, tmp_path, monkeypatch):
    small.network.save(tmp_path / "small.keras")
    said, before = queue.Queue(), signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(serve, "print", lambda line, flush: said.put(line), raising=False)

    def visit():
        try:
            line = said.get(timeout=60)
            assert line.startswith(load.SERVING)
            address = line.removeprefix(load.SERVING)
            assert [get(address, f"/v1/generate?num={n}")[0] for n in (4, 5)] == [200, 422]
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    try:
        with (
            command(serve, serve_flags.define) as call,
            concurrent.futures.ThreadPoolExecutor(1) as pool,
        ):
            visited = pool.submit(visit)
            call(f"--model={tmp_path / 'small.keras'}", "--port=0", "--max_batch=4")
            visited.result()
    finally:
        signal.signal(signal.SIGTERM, before)


def test_load_is_of_a_server_of_its_own_which_it_ends(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(
        f"#!/bin/sh\necho $* > {tmp_path}/asked\ntrap 'exit 0' TERM\n"
        "echo serving on http://here:1\nwhile :; do sleep 0.1; done\n"
    )
    program.chmod(0o755)
    monkeypatch.setattr(load.sys, "executable", str(program))
    with load.server("m", "--max_batch=8") as (process, address):
        assert address == "here:1" and process.poll() is None
    assert process.returncode == 0
    asked = (tmp_path / "asked").read_text()
    assert asked == "-m ladagan_tf.serve --model=m --port=0 --max_batch=8\n"
    program.write_text("#!/bin/sh\necho no such model >&2; exit 2\n")
    with pytest.raises(SystemExit, match="did not start: no such model"), load.server("m"):
        pass


def test_load_without_a_failed_request(small, monkeypatch):
    with serving(small) as address:
        started = types.SimpleNamespace(pid=os.getpid()), address
        monkeypatch.setattr(load, "server", lambda *_: contextlib.nullcontext(started))
        result = load.measure("the running one", [1, 8], requests=48, num=1)
    assert [row["requests"] for row in result["load"]] == [24, 24]
    assert result["failed"] == 0
    assert list(result["memory_mib"]) == list(range(0, 49, 6))
    assert all(row["p50_ms"] <= row["p95_ms"] for row in result["load"])
