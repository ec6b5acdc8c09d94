"""Stands in for evaluate.py: two metrics, appended in one write as the real one does."""

import json
import pathlib
import sys

given = dict(a.removeprefix("--").partition("=")[::2] for a in sys.argv[1:])
path = pathlib.Path(given["run_dir"]) / "metrics.jsonl"
calls = len(path.read_text().splitlines()) // 2 if path.exists() else 0
protocol = {
    "generated": {"model": str(path.parent), "kimg": 4.0, "count": 100},
    "reference": {"images": "data/shapes-32"},
    "features": "none",
    "environment": {"date": calls},
}
with open(path, "a") as file:
    for name, value, lower in (("fcd", 50.123456789 + calls, True), ("is", 3.0, False)):
        record = {"metric": name, "value": value, "lower_is_better": lower, "protocol": protocol}
        file.write(json.dumps(record) + "\n")
