"""Writes the images of a prepared set as one .npz, for machines that have no TensorFlow.

    python examples/set_as_npz.py --dataset=data/emoji-64 --out=emoji64.npz

The file holds `images`, uint8 (N, S, S, 3), in the set's order, and `labels`, int (N,), if there
are any. `benchmarks/gpu_run.py` trains on it, and `ladagan_tf.prepare --source=` takes it.
"""

import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf import command
from ladagan_tf.files import new_file

FLAGS = flags.FLAGS


def define():
    """Defines the flags."""
    flags.DEFINE_string(
        "dataset", None, "A folder made by ladagan_tf.prepare. Required.", required=True
    )
    flags.DEFINE_string(
        "out", None, "The .npz to make; it must not exist yet. Required.", required=True
    )


def main():
    """Reads the set and writes the file."""
    # After the flags are parsed, because it takes TensorFlow.
    from ladagan_tf.evaluation.images import prepared

    source = prepared(FLAGS.dataset)
    arrays = {"images": np.concatenate(list(source.batches(256)))}
    if source.labels:
        arrays["labels"] = source.labels()
    with new_file(FLAGS.out) as temporary:
        np.savez_compressed(temporary, **arrays)
    print(f"{FLAGS.out}: {source.count} images of {source.resolution} px")


if __name__ == "__main__":
    command.parse(sys.modules[__name__])
    command.run(main)
