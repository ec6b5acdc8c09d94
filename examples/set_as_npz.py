"""Writes the images of a prepared set as one .npz, for machines that have no TensorFlow.

    python examples/set_as_npz.py --dataset=data/emoji-64 --out=emoji64.npz
    python examples/set_as_npz.py --dataset=data/emoji-64-latents --out=latents.npz

The file holds `images`, uint8 (N, S, S, 3), in the set's order, and `labels`, int (N,), if there
are any; of a set of latents, in place of images, `moments`, float32 (N, S, S, 2C), means before
standard deviations, and `scaling_factor`. `benchmarks/gpu_run.py` trains on it, and
`ladagan_tf.prepare --source=` takes that of images.
"""

import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf import command
from ladagan_tf.errors import InputError
from ladagan_tf.files import new_file, vacant

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
    from ladagan_tf.data import dataset_info, pipeline

    if not FLAGS.out.endswith(".npz"):  # NumPy would write there, and not here
        raise InputError(f"out={FLAGS.out}: it must end in .npz")
    vacant(FLAGS.out)
    info = dataset_info.load_info(FLAGS.dataset)
    contents, labels = zip(*pipeline.iterate(FLAGS.dataset, 256), strict=True)
    if info.latents:
        moments = np.concatenate([each["moments"] for each in contents])
        arrays = {"moments": moments, "scaling_factor": info.latents.scaling_factor}
    else:
        arrays = {"images": np.concatenate(contents)}
    if info.classes:
        arrays["labels"] = np.concatenate(labels)
    with new_file(FLAGS.out) as temporary:
        np.savez_compressed(temporary, **arrays)
    of = f"latents of {info.latents.size}" if info.latents else f"images of {info.resolution} px"
    print(f"{FLAGS.out}: {info.count} {of}")


if __name__ == "__main__":
    command.parse(sys.modules[__name__])
    command.run(main)
