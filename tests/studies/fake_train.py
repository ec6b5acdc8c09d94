"""Stands in for train.py: leaves the files of a run, or ends in the way its flags say.

It is complete at its second start if the first one was told to stop, as a real run would be.
"""

import json
import pathlib
import shutil
import signal
import sys
import time

given = dict(a.removeprefix("--").partition("=")[::2] for a in sys.argv[1:])
run_dir = pathlib.Path(given["run_dir"])
with open(run_dir / "starts", "a") as starts:
    starts.write("start\n")
for path in pathlib.Path(given["template"]).iterdir():
    shutil.copy(path, run_dir)
seed = int(given["seed"])
windows = [
    {"step": i, "kimg": float(i), "g_grad_norm": i + seed, "d_grad_norm": 2.0, "img_per_s": speed}
    for i, speed in ((1, 1.0), (2, 80.0), (3, 160.0), (4, 80.0))
]
windows = [{**w, "g_grad_norm/block_8": 1 / 3, "g_grad_spikes": 3 * w["step"]} for w in windows]
quick = [
    {"step": i, "kimg": float(i), "fcd8": v, "metric_seconds": 9.0}
    for i, v in ((2, 90.0), (4, 60.5))
]
windows[2:2], windows[5:] = quick[:1], quick[1:]
(run_dir / "stats.jsonl").write_text("".join(json.dumps(line) + "\n" for line in windows))
stopped = run_dir / "stopped"
if "wait" in given and not stopped.exists():

    def stop(number, frame):
        stopped.touch()
        sys.exit(4)

    signal.signal(signal.SIGTERM, stop)
    (run_dir / "waiting").touch()
    time.sleep(60)
if "diverge" in given:
    print("error: a loss became NaN at step 5", file=sys.stderr)
    sys.exit(3)
if "fail" in given:
    print("error: --fail is no flag", file=sys.stderr)
    sys.exit(2)
