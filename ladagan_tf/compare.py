"""Puts runs side by side in one page, or writes a run's own page again.

    python -m ladagan_tf.compare runs/a runs/b --out=compare.html
    python -m ladagan_tf.compare runs/a

The page is one file that loads nothing: pictures over training, curves, metrics, flags. It works
while the runs go on.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import compare as compare_flags

if __name__ == "__main__":
    command.parse(compare_flags, compare_flags.parse)  # before TensorFlow is imported

import pathlib

from ladagan_tf.errors import InputError
from ladagan_tf.files import writing
from ladagan_tf.locks import locked
from ladagan_tf.reports import gathering, keeping, page

FLAGS = flags.FLAGS


def main():
    """Writes the page that the flags ask for."""
    gathering.read_runs(FLAGS.runs)  # or says which is none, before anything is made
    if len(FLAGS.runs) == 1 and FLAGS.out is None:
        write_again(pathlib.Path(FLAGS.runs[0]))
        return
    out = pathlib.Path(FLAGS.out or "compare.html")
    if out.suffix != ".html" or out.is_dir():
        raise InputError(f"out={out}: give a file ending in .html")
    with locked(out), writing(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        page.write(FLAGS.runs, out)
    print(f"{out}: {len(FLAGS.runs)} run{'s' if len(FLAGS.runs) > 1 else ''}")


def write_again(run):
    """Writes the report of a run again, with what is drawn beside it."""
    with locked(run, "runs", inside=True), writing(run, "runs"):
        for writer in keeping.WRITERS.values():
            writer(run)
    written = [name for name in keeping.WRITERS if (run / name).is_file()]
    print(f"{run}: {', '.join(written)}")


if __name__ == "__main__":
    command.run(main)
