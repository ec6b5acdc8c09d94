"""What `ladagan_tf.serve` delivers: requests/s and latency by number of clients, and its memory.

Run `python benchmarks/serving.py --model=export/saved_model`; it starts a server of its own, asks
for different images all the time, stops the server and prints JSON. A request that is not answered
with 200 counts as failed. Clients are threads of this process, so on few cores they take some of
what they measure.
"""

import argparse
import concurrent.futures
import contextlib
import datetime
import http.client
import itertools
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
PARTS = 4  # per number of clients: the server's memory is read after each
SERVING = "serving on http://"


@contextlib.contextmanager
def server(model, *arguments):
    """Yields (process, host:port) of a server that answers, and stops it with SIGTERM."""
    command = [sys.executable, "-m", "ladagan_tf.serve", f"--model={model}", "--port=0"]
    # A file, because a pipe nobody reads would fill up and stop the server.
    with tempfile.TemporaryFile("w+") as log:
        process = subprocess.Popen(
            [*command, *arguments], cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )
        try:
            line = process.stdout.readline().strip()
            if not line.startswith(SERVING):
                process.wait()
                log.seek(0)
                raise SystemExit(f"the server did not start: {log.read().strip()[-500:]}")
            yield process, line.removeprefix(SERVING)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(timeout=60)
            process.stdout.close()


def client(address, seeds, num):
    """Sends one request after the other over one connection.

    Returns:
        (latencies in seconds, number of failed requests).
    """
    connection = http.client.HTTPConnection(address, timeout=60)
    latencies, failed = [], 0
    for seed in seeds:
        start = time.perf_counter()
        try:
            connection.request("GET", f"/v1/generate?num={num}&seed={seed * num}")
            response = connection.getresponse()
            answered = response.status == 200 and bool(response.read())
        except (OSError, http.client.HTTPException):
            connection.close()
            answered = False
        latencies.append(time.perf_counter() - start)
        failed += not answered
    connection.close()
    return latencies, failed


def load(address, clients, first, requests, num):
    """Shares requests out among clients that run at a time.

    Returns:
        (latencies in seconds, failed requests, elapsed seconds).
    """
    shares = [range(first + i, first + requests, clients) for i in range(clients)]
    start = time.perf_counter()
    with concurrent.futures.ThreadPoolExecutor(clients) as pool:
        results = list(pool.map(lambda share: client(address, share, num), shares))
    elapsed = time.perf_counter() - start
    latencies = list(itertools.chain.from_iterable(times for times, _ in results))
    return latencies, sum(failed for _, failed in results), elapsed


def resident_mib(process):
    """Resident memory of a process in MiB, as Linux tells it."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    (line,) = [row for row in status.splitlines() if row.startswith("VmRSS:")]
    return round(int(line.split()[1]) / 1024, 1)


def measure(model, clients, requests, num):
    """Measures each number of clients in turn.

    Args:
        model: what `ladagan_tf.serve --model` takes; a path from the root of the repository.
        clients: list of int.
        requests: int, in all.
        num: int, images per request.

    Returns:
        Dict of plain values; `memory_mib` is the server's by number of requests so far.
    """
    part = max(1, requests // (len(clients) * PARTS))
    rows, memory, sent = [], {}, 0
    with server(model, f"--max_batch={max(64, num)}") as (process, address):
        memory[sent] = resident_mib(process)
        for count in clients:
            latencies, failed, seconds = [], 0, 0.0
            for _ in range(PARTS):
                times, lost, elapsed = load(address, count, sent, part, num)
                latencies, failed, seconds = latencies + times, failed + lost, seconds + elapsed
                sent += part
                memory[sent] = resident_mib(process)
            rows.append(
                {
                    "clients": count,
                    "requests": len(latencies),
                    "failed": failed,
                    "requests_per_second": round(len(latencies) / seconds, 1),
                    "p50_ms": round(1000 * statistics.median(latencies), 1),
                    "p95_ms": round(1000 * sorted(latencies)[int(0.95 * len(latencies))], 1),
                }
            )
    return {"load": rows, "failed": sum(r["failed"] for r in rows), "memory_mib": memory}


def arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--model", required=True, help="what ladagan_tf.serve takes, e.g. zoo:shapes"
    )
    parser.add_argument(
        "--requests", type=int, default=10_000, help="in all, shared by --clients; default 10000"
    )
    parser.add_argument(
        "--clients", type=int, nargs="+", default=[1, 8, 32], help="numbers; default 1 8 32"
    )
    parser.add_argument("--num", type=int, default=1, help="images per request; default 1")
    given = parser.parse_args()
    if min(given.requests, given.num, *given.clients) < 1:
        parser.error("--requests, --clients and --num must be 1 or more")
    return given


def main():
    given = arguments()
    from ladagan_tf.hardware import hardware  # late: a mistaken flag is told at once

    model = os.path.abspath(given.model) if os.path.exists(given.model) else given.model
    result = measure(model, given.clients, given.requests, given.num)
    about = {
        "images_per_request": given.num,
        **hardware(),
        "date": datetime.date.today().isoformat(),
    }
    print(json.dumps({**result, **about}, indent=1))


if __name__ == "__main__":
    main()
