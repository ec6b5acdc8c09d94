"""How long a command takes to answer: help, a typo, `generate` to a picture, `train` of one step.

    python benchmarks/start.py --repeats=5

Every command is a process of its own, measured from its start to its end. The picture is of an
untrained generator of the quickstart's sizes, in a .keras file that is made first; a run of one
step ends with its checkpoint and its page, and `to_first_step` is when it had done the step. Prints
JSON: [median, least, most] seconds, and seconds of processor time, which other programs disturb
less.

`--before=FOLDER`, a checkout of an older commit, runs each command there and here in turn; `gain`
is then how many times as long it took there, of the pairs of such runs.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MEASURED = ("seconds", "cpu_seconds", "to_first_step")
SIZES = {"noise_dim": 64, "widths": (128, 64, 32), "mlp_widths": (128, 128, 64)}
MAKE = """
import sys
try:
    from ladagan_tf.models.lada.generator import Generator
except ImportError:  # where it was until November 2026
    from ladagan_tf.models.ladagan import Generator
Generator(**{sizes}).save(sys.argv[1])
"""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5, help="processes of each command; 5")
    parser.add_argument("--before", type=pathlib.Path, help="an older checkout, measured in turn")
    arguments = parser.parse_args()
    checkouts = [*filter(None, [arguments.before]), ROOT]
    with tempfile.TemporaryDirectory() as folder:
        model = pathlib.Path(folder) / "model.keras"
        make = [sys.executable, "-c", MAKE.format(sizes=SIZES), str(model)]
        subprocess.run(make, check=True, stderr=subprocess.DEVNULL, cwd=checkouts[0])
        shapes = [f"--out={folder}/shapes", "--resolution=32", "--num_images=64"]
        prepare = [sys.executable, "-m", "ladagan_tf.prepare", "--source=shapes", *shapes]
        subprocess.run(prepare, check=True, capture_output=True, cwd=checkouts[0])
        step = [f"--dataset={folder}/shapes", "--run_dir=NEW/run", "--total_kimg=0.001"]
        step += ["--metric=none", "--sample_kimg=9", "--grid=2"]
        quickstart = ["--flagfile=configs/quickstart.cfg", *step]
        cifar10 = ["--flagfile=configs/cifar10.cfg", "--batch_size=4", *step]
        picture = [f"--model={model}", f"--out={folder}/picture.png"]
        found = {
            f"{verb} {name}": compared(checkouts, arguments.repeats, verb, words, status)
            for verb, name, words, status in (
                ("train", "--help", ["--help"], 0),
                ("train", "--batch_sise=1", ["--batch_sise=1"], 2),
                ("generate", "--help", ["--help"], 0),
                ("generate", "--sedes=1", ["--sedes=1"], 2),
                ("generate", "to a picture of 1", ["--seeds=0", *picture], 0),
                ("generate", "to a picture of 64", picture, 0),
                ("train", "one step of the quickstart", quickstart, 0),
                ("train", "one step of cifar10", cifar10, 0),
            )
        }
    from ladagan_tf.hardware import hardware

    about = {**hardware(), "load": os.getloadavg()[0], "date": time.strftime("%Y-%m-%d")}
    commits = dict(zip(("before", "now")[-len(checkouts) :], map(commit, checkouts), strict=True))
    print(json.dumps({"commits": commits, "commands": found, **about}, indent=2))


def compared(checkouts, repeats, verb, words, status):
    """Seconds of a command in each checkout, now one, now the other; and the older one's gain."""
    runs = [[timed(root, verb, words, status) for root in checkouts] for _ in range(repeats)]
    named = ("before", "now")[-len(checkouts) :]
    found = {}
    for position, measured in enumerate(MEASURED[: len(runs[0][0])]):
        times = [[run[position] for run in pair] for pair in runs]
        found[measured] = {
            name: spread(of_one)
            for name, of_one in zip(named, zip(*times, strict=True), strict=True)
        }
        if len(checkouts) == 2:
            found[measured]["gain"] = spread([older / newer for older, newer in times])
    return found


def spread(values):
    """[median, least, most], rounded."""
    return [round(value, 2) for value in (statistics.median(values), min(values), max(values))]


def timed(root, verb, words, status):
    """Seconds and processor seconds of a command's process, and what a run took to its first step.

    The process must end with `status`.

    NEW in a word becomes an empty folder. Another status is named: older checkouts ended `--help`
    with 1.
    """
    script = root / f"{verb}.py"
    called = [str(script)] if script.is_file() else ["-m", f"ladagan_tf.{verb}"]
    with tempfile.TemporaryDirectory() as new:
        given = [sys.executable, *called, *(word.replace("NEW", new) for word in words)]
        used, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
        done = subprocess.run(given, cwd=root, capture_output=True)
        seconds, now = time.time() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        steps = [file.stat().st_mtime - began for file in pathlib.Path(new).glob("run/stats.jsonl")]
    if done.returncode != status:
        print(f"{root}: {verb} {words[0]}: status {done.returncode}", file=sys.stderr)
    return seconds, now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime, *steps


def commit(root):
    """Abbreviated commit of a checkout."""
    asked = ["git", "-C", str(root), "rev-parse", "--short", "HEAD"]
    return subprocess.run(asked, capture_output=True, text=True).stdout.strip()


if __name__ == "__main__":
    main()
