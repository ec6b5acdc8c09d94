"""Samples beside the training pictures that are nearest to them: does a generator copy?

    python -m ladagan_tf.generate --run_dir=runs/emoji64 --seeds=0-999 --out=samples.npz
    python examples/nearest.py --images=samples.npz --dataset=data/emoji-64 --out=nearest.png

A row of the picture is a sample, the three training pictures nearest to it in the features of the
set's classifier (or of --features), and the one nearest in pixels. Printed are the medians of the
distances, beside those of every training picture to the nearest other one: samples that are much
nearer to the set than its pictures are to each other are copies.
"""

import pathlib
import sys

import numpy as np
from absl import flags

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

from ladagan_tf import command
from ladagan_tf.errors import InputError
from ladagan_tf.files import check_writable

FLAGS = flags.FLAGS
NEAR = 3  # pictures shown by features


def define():
    """Defines the flags."""
    flags.DEFINE_string("images", None, "Samples: npz, folder or zip. Required.", required=True)
    flags.DEFINE_string("dataset", None, "The prepared set. Required.", required=True)
    flags.DEFINE_string("features", "classifier", "As of evaluate.py.")
    flags.DEFINE_integer("rows", 12, "How many samples are shown.", lower_bound=1)
    flags.DEFINE_string("out", None, "The .png to write. Required.", required=True)


def main():
    """Measures and draws."""
    # After the flags are parsed, because they take TensorFlow.
    from ladagan_tf.evaluation import features
    from ladagan_tf.evaluation.images import open_images, prepared
    from ladagan_tf.pictures import grid, save_png

    if not FLAGS.out.endswith(".png"):
        raise InputError(f"out={FLAGS.out}: it must end in .png")
    check_writable(FLAGS.out)
    real, samples = prepared(FLAGS.dataset), open_images(FLAGS.images)
    if samples.resolution != real.resolution:
        raise InputError(
            f"images={FLAGS.images}: {samples.resolution} px, the set has {real.resolution} px"
        )
    if real.count < NEAR:
        raise InputError(
            f"dataset={FLAGS.dataset}: {real.count} images; at least {NEAR} are needed, the nearest"
        )
    extractor = features.open_extractor(
        FLAGS.features, dataset=FLAGS.dataset, folder=pathlib.Path(FLAGS.dataset)
    )
    if extractor:
        extractor.check(real.resolution, "those ")
    pictures = [np.concatenate(list(each.batches(256))) for each in (real, samples)]
    spaces = {"pixels": [images.reshape(len(images), -1) / 255.0 for images in pictures]}
    if extractor:
        spaces[extractor.name] = [described(images, extractor) for images in pictures]
    shown, columns = [pictures[1][: FLAGS.rows]], {"pixels": 1}
    for name, (of_real, of_samples) in reversed(spaces.items()):
        distances, nearest = neighbours(of_samples, of_real, NEAR)
        among, _ = neighbours(of_real, of_real, 2)  # the first is the picture itself
        shown += [pictures[0][nearest[: FLAGS.rows, i]] for i in range(columns.get(name, NEAR))]
        print(
            f"{name}: median distance of {len(of_samples)} samples to the nearest training picture "
            f"{np.median(distances[:, 0]):.2f}, of training pictures to the nearest other one "
            f"{np.median(among[:, 1]):.2f}"
        )
    save_png(FLAGS.out, grid(np.stack(shown, 1).reshape(-1, *shown[0].shape[1:]), len(shown)))
    print(f"written: {FLAGS.out}")


def described(images, extractor):
    """Features, float32 (N, D)."""
    parts = range(0, len(images), 64)
    return np.concatenate([extractor.features(images[i : i + 64])["features"] for i in parts])


def neighbours(points, others, count):
    """Distances to the `count` nearest of `others` and their indices, nearest first.

    Args:
        points, others: float arrays (N, D) and (M, D).
        count: int.

    Returns:
        float array (N, count) and int array (N, count).
    """
    distances, indices = [], []
    norms = np.square(others).sum(1)
    for start in range(0, len(points), 256):
        rows = points[start : start + 256]
        squared = np.square(rows).sum(1)[:, None] + norms - 2 * rows @ others.T
        order = np.argsort(squared, axis=1, kind="stable")[:, :count]
        indices.append(order)
        distances.append(np.sqrt(np.maximum(np.take_along_axis(squared, order, 1), 0.0)))
    return np.concatenate(distances), np.concatenate(indices)


if __name__ == "__main__":
    command.parse(sys.modules[__name__])
    command.run(main)
