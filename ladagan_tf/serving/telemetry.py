"""What a service did, in the text format that Prometheus reads."""

import bisect
import collections

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds
HELP = {
    "requests_total": "Requests by path and HTTP status.",
    "errors_total": "Requests answered with status 400 or above.",
    "queue_length": "Requests that wait now.",
    "batches_total": "Runs of the model.",
    "images_total": "Images that were generated.",
    "request_seconds": "Seconds from a request to its images.",
}


class Telemetry:
    """Counts requests by path and status, and how long they took. For use by one thread."""

    def __init__(self):
        self.requests = collections.Counter()
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def record(self, path, status, seconds):
        """Counts an answer; the latency only of what ran the model.

        Args:
            path: str, a route.
            status: int, the HTTP status.
            seconds: float, from the request to the answer.
        """
        self.requests[path, status] += 1
        if status == 200 and path.startswith("/v1/"):
            self.buckets[bisect.bisect_left(BUCKETS, seconds)] += 1
            self.seconds += seconds

    def text(self, **gauges):
        """The exposition; `gauges` are values by names in `HELP`, counters if ending in _total."""
        lines = _described("requests_total", "counter")
        lines += [
            f'ladagan_requests_total{{path="{path}",status="{status}"}} {count}'
            for (path, status), count in sorted(self.requests.items())
        ]
        errors = sum(n for (_, status), n in self.requests.items() if status >= 400)
        for name, value in {"errors_total": errors, **gauges}.items():
            kind = "counter" if name.endswith("_total") else "gauge"
            lines += [*_described(name, kind), f"ladagan_{name} {value}"]
        lines += _described("request_seconds", "histogram")
        count = 0
        for limit, inside in zip([*BUCKETS, "+Inf"], self.buckets, strict=True):
            count += inside
            lines.append(f'ladagan_request_seconds_bucket{{le="{limit}"}} {count}')
        lines.append(f"ladagan_request_seconds_sum {self.seconds:.6f}")
        lines.append(f"ladagan_request_seconds_count {count}")
        return "\n".join(lines) + "\n"


def _described(name, kind):
    return [f"# HELP ladagan_{name} {HELP[name]}", f"# TYPE ladagan_{name} {kind}"]
