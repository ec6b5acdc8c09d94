"""Exports a generator with samples and a model card.

ladagan export --run_dir=runs/NAME --format=saved_model,onnx --out=exported
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import export as export_flags

if __name__ == "__main__":
    command.parse(export_flags)  # before TensorFlow is imported


from ladagan_tf import zoo
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import entry, formats, hub, web
from ladagan_tf.flags import common
from ladagan_tf.locks import locked
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling import opening
from ladagan_tf.systems import refuse_without

FLAGS = flags.FLAGS


def main():
    """Exports what the flags name, and uploads it with --push."""
    as_entry = export_flags.ZOO in FLAGS.format
    check_entry() if as_entry else formats.check_formats(FLAGS.format, FLAGS.weights)
    smaller = FLAGS.weights != formats.FLOAT32
    refuse_without("min_psnr", smaller, "--weights=float16 or int8")
    target = hub.parse(FLAGS.push) if FLAGS.push else None
    as_page = formats.WEB in FLAGS.format
    if FLAGS.ort_web and not as_page:
        raise InputError(f"ort_web={FLAGS.ort_web}: it is for --format=web")
    runtime = web.find_runtime(FLAGS.ort_web) if as_page else None
    with locked(FLAGS.out):
        generator = common.open_generator()
        run = RunDirectory(FLAGS.run_dir) if FLAGS.run_dir else None
        if as_entry:
            entry.write(generator, FLAGS.out, run, FLAGS.data_licence)
        else:
            formats.export(
                generator,
                FLAGS.out,
                FLAGS.format,
                run,
                data_licence(),
                weights=FLAGS.weights,
                min_psnr=FLAGS.min_psnr,
                runtime=runtime,
            )
    print(f"{FLAGS.out}: {', '.join(FLAGS.format)} and a model card")
    if target:
        print(f"uploaded to {hub.upload(FLAGS.out, target)}")


def data_licence():
    """--data_licence, by default what a --model of the zoo says of itself; None if not known."""
    if FLAGS.data_licence or not (FLAGS.model or "").startswith(zoo.PREFIX):
        return FLAGS.data_licence
    _, about = opening.locate(FLAGS.model)
    return about["data"]["licence"]


def check_entry():
    """Raises InputError unless the flags suit --format=zoo."""
    if FLAGS.format != [export_flags.ZOO]:
        raise InputError(f"format={','.join(FLAGS.format)}: zoo is written alone")
    if FLAGS.weights != formats.FLOAT32:
        raise InputError(f"weights={FLAGS.weights}: an entry of the zoo is float16 by itself")
    if not FLAGS.run_dir or not FLAGS.data_licence:
        raise InputError(
            "format=zoo: it needs --run_dir, which knows its training, and --data_licence, the "
            "licence of the training images in words"
        )


if __name__ == "__main__":
    command.run(main)
