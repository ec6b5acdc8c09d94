"""Exports a generator with samples and a model card.

ladagan export --run_dir=runs/NAME --format=saved_model,onnx --out=exported
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import export as export_flags

if __name__ == "__main__":
    command.parse(export_flags)  # before TensorFlow is imported


from ladagan_tf.exporting import formats, hub
from ladagan_tf.locks import locked
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling import opening

FLAGS = flags.FLAGS


def main():
    """Exports what the flags name, and uploads it with --push."""
    formats.check_formats(FLAGS.format)
    target = hub.parse(FLAGS.push) if FLAGS.push else None
    with locked(FLAGS.out):
        generator = opening.open_source(
            FLAGS.run_dir, FLAGS.model, checkpoint=FLAGS.checkpoint, ema=FLAGS.ema, vae=FLAGS.vae
        )
        run = RunDirectory(FLAGS.run_dir) if FLAGS.run_dir else None
        formats.export(generator, FLAGS.out, FLAGS.format, run)
    print(f"{FLAGS.out}: {', '.join(FLAGS.format)} and a model card")
    if target:
        print(f"uploaded to {hub.upload(FLAGS.out, target)}")


if __name__ == "__main__":
    command.run(main)
