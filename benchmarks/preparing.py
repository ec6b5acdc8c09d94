"""How `prepare` scales: JPEGs per second by workers, memory by images, and what a kill costs.

    python benchmarks/preparing.py [--images=100000] [--workers=1,2]

makes synthetic JPEGs of 128 px in ten classes, prepares a tenth and then all of them at 64 px with
each number of workers, and once more after a kill -9 half way; prints JSON.
"""

import argparse
import datetime
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

import numpy as np
from PIL import Image

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf.hardware import hardware

ROOT = sys.path[0]
SIDE, RESOLUTION, CLASSES = 128, 64, 10


def make_images(folder, first, last):
    """Writes JPEGs of smooth noise, each its own, into class folders."""
    for number in range(first, last):
        path = folder / f"class-{number % CLASSES}" / f"{number:07d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(number).integers(256, size=(8, 8, 3), dtype=np.uint8)
        Image.fromarray(noise).resize((SIDE, SIDE), Image.Resampling.BICUBIC).save(path, quality=90)


def start(source, out, workers):
    return subprocess.Popen(
        [sys.executable, "-m", "ladagan_tf.prepare", f"--source={source}", f"--out={out}",
         f"--resolution={RESOLUTION}", f"--workers={workers}"],
        cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip


def prepared(source, out, workers, count):
    """Seconds, images per second, and the memory of the largest of all processes until now."""
    begin = time.perf_counter()
    if start(source, out, workers).wait():
        raise SystemExit(f"error: prepare --source={source} --workers={workers} failed")
    seconds = time.perf_counter() - begin
    largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**10
    return {
        "images": count,
        "workers": workers,
        "seconds": round(seconds, 1),
        "images_per_s": round(count / seconds),
        "largest_process_mb": round(largest),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=100_000, help="100,000 by default")
    parser.add_argument("--workers", default="1,2", help="numbers of processes, 1,2 by default")
    given = parser.parse_args()
    numbers, few = [int(number) for number in given.workers.split(",")], given.images // 10
    with tempfile.TemporaryDirectory() as temporary:
        folder = pathlib.Path(temporary)
        make_images(folder / "jpegs", 0, few)
        rows = [prepared(folder / "jpegs", folder / "few", numbers[-1], few)]
        make_images(folder / "jpegs", few, given.images)
        for workers in numbers:
            out = folder / f"all-{workers}"
            rows.append(prepared(folder / "jpegs", out, workers, given.images))
        killed = start(folder / "jpegs", folder / "killed", numbers[-1])
        half = rows[-1]["seconds"] / 2
        time.sleep(half)
        os.killpg(killed.pid, signal.SIGKILL)
        killed.wait()
        again = prepared(folder / "jpegs", folder / "killed", numbers[-1], given.images)
        same = len({(folder / name / "dataset.json").read_text() for name in ("killed", out.name)})
        after = {"killed_after_s": round(half, 1), "then_s": again["seconds"], "same": same == 1}
    about = {**hardware(), "date": datetime.date.today().isoformat()}
    print(json.dumps({"prepared": rows, "after_a_kill": after, **about}, indent=1))


if __name__ == "__main__":
    main()
