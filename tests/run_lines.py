"""Lines of a run's files as evaluate.py writes them."""

import json


def lines_of(*objects):
    return "".join(json.dumps(o) + "\n" for o in objects)


def measurement(metric="fcd", value=12.345678, details=None, **changes):
    protocol = {
        "generated": {"checkpoint": "step-00000005", "kimg": 10, "ema": True, "count": 1000},
        "sets": 1,
        "reference": {"images": "/somewhere/shapes-32", "count": 10000},
        "features": {"network": "classifier", "sha256": "0123456789", "trained_on": "shapes-32"},
        "engine": "ours",
        "environment": {"date": "2026-11-21"},
    }
    return {
        "name": f"{metric}_classifier_1k_vs_10k",
        "metric": metric,
        "value": value,
        "spread": None,
        "spread_over": "",
        "lower_is_better": True,
        "definition": "tensorflow-gan, x" if changes.get("engine") == "tfgan" else "x",
        "details": details or {},
        "protocol": {**protocol, **changes},
    }
