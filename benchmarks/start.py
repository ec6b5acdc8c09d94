"""How long a command takes to answer: help, a typo, and `generate` from its start to a picture.

    python benchmarks/start.py --repeats=5

Every command is a process of its own; times are medians, from its start to its end. The picture is
of an untrained generator of the quickstart's sizes, in a .keras file that is made first. Prints
JSON. `--root=FOLDER` measures another checkout, with the model that this one made.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
SIZES = {"noise_dim": 64, "widths": (128, 64, 32), "mlp_widths": (128, 128, 64)}
MAKE = """
import sys
from ladagan_tf.models.lada.generator import Generator
Generator(**{sizes}).save(sys.argv[1])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes of each command; 5")
    parser.add_argument("--root", default=str(ROOT), help="checkout to measure; this one")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "model.keras"
        make = [sys.executable, "-c", MAKE.format(sizes=SIZES), str(model)]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL, cwd=ROOT)
        picture = [f"--model={model}", f"--out={folder}/picture.png"]
        seconds = {
            "train --help": timed(arguments, "train", ["--help"]),
            "train --batch_sise=1": timed(arguments, "train", ["--batch_sise=1"], status=2),
            "generate --help": timed(arguments, "generate", ["--help"]),
            "generate --sedes=1": timed(arguments, "generate", ["--sedes=1"], status=2),
            "generate to a picture of 1": timed(arguments, "generate", ["--seeds=0", *picture]),
            "generate to a picture of 64": timed(arguments, "generate", picture),
        }
    from ladagan_tf.hardware import hardware

    about = {**hardware(), "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d")}
    print(json.dumps({"root": arguments.root, "seconds": seconds, **about}, indent=2))


def timed(arguments, verb, words, status=0):
    """Median seconds of `--repeats` processes of a command, which must end with `status`.

    Another status is named: older checkouts ended `--help` with 1.
    """
    script = pathlib.Path(arguments.root) / f"{verb}.py"
    called = [str(script)] if script.is_file() else ["-m", f"ladagan_tf.{verb}"]
    found = []
    for _ in range(arguments.repeats):
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, *called, *words], cwd=arguments.root, capture_output=True
        )
        found.append(time.perf_counter() - began)
        if done.returncode != status:
            print(f"{verb} {words[0]}: status {done.returncode}", file=sys.stderr)
    return round(statistics.median(found), 2)


if __name__ == "__main__":
    main()
