"""Prepares a set of images for training: `python -m ladagan_tf.prepare --source=... --out=...`.

Writes TFRecords of square RGB images and a `dataset.json` that says what they were made of.
"""

from absl import app, flags

from ladagan_tf.data.conversion import parse_background
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.flags import prepare as prepare_flags

FLAGS = flags.FLAGS


def main(argv):
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        info = prepare(
            FLAGS.source,
            FLAGS.out,
            resolution=FLAGS.resolution,
            crop=FLAGS.crop,
            background=parse_background(FLAGS.background),
            resize_filter=FLAGS.resize_filter,
            min_side=FLAGS.min_side,
            skip_bad=FLAGS.skip_bad,
            workers=FLAGS.workers,
            shards=FLAGS.shards,
            data_dir=FLAGS.data_dir,
            seed=FLAGS.seed,
            num_images=FLAGS.num_images,
        )
    classes = f"{len(info.classes)} classes" if info.classes else "no classes"
    print(
        f"{info.folder}: {info.count} images of {info.resolution} x {info.resolution}, {classes}, "
        f"{len(info.shards)} shards, {info.total_bytes / 2**20:.1f} MiB, "
        f"{len(info.skipped)} skipped, sha256 {info.content_sha256[:12]}"
    )
    for skipped in info.skipped:
        print(f"skipped {skipped.name}: {skipped.reason}")


if __name__ == "__main__":
    prepare_flags.define()
    flags.adopt_module_key_flags(prepare_flags)
    app.run(main)
