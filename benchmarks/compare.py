"""Runs a benchmark of two revisions in turn, and prints the ratios of their numbers.

    python benchmarks/compare.py v1 . --rounds=5 train_step.py --config=configs/cifar10.cfg

A revision is what git knows one by, or "." for this checkout as it is. The others are checked out
into a temporary folder, and each runs its own file of `benchmarks/`, whose JSON is read: every
number that both print under the same name is compared. The revisions take turns, and who begins
does, too, so that a machine that warms up or is disturbed for a while disturbs both. A ratio is
that of a pair of neighbouring runs; printed are its median, least and most. One that contains 1
says nothing. Appends what was found to --out, a line of JSON for each number.
"""

import argparse
import contextlib
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
HERE = "."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="a revision")
    parser.add_argument("new", help='a revision; "." is this checkout as it is')
    parser.add_argument("--rounds", type=int, default=5, help="runs of each; 5")
    parser.add_argument("--out", type=pathlib.Path, help="file of JSON lines to append to")
    parser.add_argument("benchmark", help="file in benchmarks/, its flags behind it")
    parser.add_argument("flags", nargs=argparse.REMAINDER)
    given = parser.parse_args()
    if given.rounds < 1:
        parser.error(f"--rounds={given.rounds}: give at least 1")
    with contextlib.ExitStack() as stack:
        trees = [stack.enter_context(checkout(name, parser)) for name in (given.old, given.new)]
        for tree, name in zip(trees, (given.old, given.new), strict=True):
            if not (tree / "benchmarks" / given.benchmark).is_file():
                parser.error(f"{given.benchmark}: {name} has no such file in benchmarks/")
        commits = [commit(tree) for tree in trees]
        runs = in_turn(trees, given.rounds, [given.benchmark, *given.flags])
    lines = compared(runs)
    if not lines:
        parser.error(f"{given.benchmark}: the revisions print no number of the same name")
    print(table(lines))
    if given.out:
        from ladagan_tf.hardware import hardware

        about = {"old_commit": commits[0], "new_commit": commits[1]}
        about["benchmark"] = given.benchmark
        about |= {"flags": given.flags, **hardware(), "date": time.strftime("%Y-%m-%d")}
        with given.out.open("a") as file:
            file.writelines(json.dumps({**line, **about}) + "\n" for line in lines)


@contextlib.contextmanager
def checkout(name, parser):
    """A folder with the files of a revision: pathlib.Path."""
    if name == HERE:
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        tree = pathlib.Path(folder) / "tree"
        done = git("worktree", "add", "--detach", str(tree), name)
        if done.returncode:
            parser.error(f"{name}: git knows no such revision ({done.stderr.strip()})")
        try:
            yield tree
        finally:
            git("worktree", "remove", "--force", str(tree))


def git(*words, cwd=None):
    return subprocess.run(
        ["git", *words], cwd=cwd or ROOT, capture_output=True, text=True, check=False
    )


def commit(tree):
    """The commit of a checkout, with "+" behind it if files differ from it: str."""
    name = git("rev-parse", "--short", "HEAD", cwd=tree).stdout.strip()
    return name + "+" * bool(git("status", "--porcelain", cwd=tree).stdout)


def in_turn(trees, rounds, command):
    """Pairs, of the old and the new revision, of the numbers that a command printed: dicts."""
    pairs = []
    for index in range(rounds):
        pair = {}
        for side in (0, 1) if index % 2 == 0 else (1, 0):
            pair[side] = numbers(run(trees[side], command))
        pairs.append((pair[0], pair[1]))
        print(f"round {index + 1} of {rounds}", file=sys.stderr)
    return pairs


def run(tree, command):
    """The JSON document that a benchmark of a checkout prints last; its failure ends everything."""
    path = os.pathsep.join(filter(None, [str(tree), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, str(tree / "benchmarks" / command[0]), *command[1:]],
        cwd=tree, env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"error: {' '.join(command)} in {tree} ended with {done.returncode}")
    return document(done.stdout)


def document(text):
    """The last JSON document in what was printed.

    Raises:
        SystemExit: if there is none.
    """
    lines = text.splitlines()
    for begin in reversed(range(len(lines))):
        if lines[begin].startswith(("{", "[")):
            with contextlib.suppress(json.JSONDecodeError):
                return json.loads("\n".join(lines[begin:]))
    sys.exit("error: the benchmark printed no JSON document")


def numbers(value, name=""):
    """The numbers of a JSON document by their place in it, as "variants.0.step": dict of floats."""
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        found = {}
        for key, part in items:
            found |= numbers(part, f"{name}.{key}" if name else str(key))
        return found
    measured = isinstance(value, int | float) and not isinstance(value, bool)
    return {name: float(value)} if measured else {}


def compared(pairs):
    """A dict of each number that changes between runs and that all of them have.

    Args:
        pairs: list of pairs of dicts of floats, of the old and the new revision.

    Returns:
        List of dicts of "name", the medians "old" and "new", and "ratio", [median, least, most] of
        new / old over the pairs.
    """
    names = [n for n in pairs[0][0] if all(n in run and run[n] for pair in pairs for run in pair)]
    lines = []
    for name in names:
        olds, news = ([run[name] for run in side] for side in zip(*pairs, strict=True))
        if len({*olds, *news}) > 1:  # or it is a size or a count, the same everywhere
            ratios = [new / old for old, new in zip(olds, news, strict=True)]
            ratio = [statistics.median(ratios), min(ratios), max(ratios)]
            medians = {"old": statistics.median(olds), "new": statistics.median(news)}
            lines.append({"name": name, **medians, "ratio": ratio})
    return lines


def table(lines):
    """The lines of `compared` as text."""
    width = max(len(line["name"]) for line in lines)
    rows = [f"{'':{width}}  {'old':>10} {'new':>10}   new / old, least to most"]
    for line in lines:
        middle, least, most = line["ratio"]
        numbers = f"{line['old']:10.4g} {line['new']:10.4g}"
        rows.append(f"{line['name']:{width}}  {numbers}   {middle:.3f}, {least:.3f} to {most:.3f}")
    return "\n".join(rows)


if __name__ == "__main__":
    main()
