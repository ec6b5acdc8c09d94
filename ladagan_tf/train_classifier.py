"""The command `python -m ladagan_tf.evaluation.classifier`: flags -> one call."""

from absl import app, flags

from ladagan_tf.data import pipeline
from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.evaluation.classifier import default_path, train_classifier
from ladagan_tf.flags import train_classifier as train_classifier_flags

FLAGS = flags.FLAGS


def main(argv):
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        folder = pipeline.open_dataset(
            FLAGS.dataset, resolution=FLAGS.resolution, data_dir=FLAGS.data_dir
        )
        out = FLAGS.out or default_path(folder)
        network = train_classifier(folder, out, FLAGS.kimg, FLAGS.seed)
    print(
        f"{out}: {len(network.classes)} classes, "
        f"{100 * network.about['held_out_accuracy']:.1f} % of the held-out tenth right"
    )


if __name__ == "__main__":
    train_classifier_flags.define()
    flags.adopt_module_key_flags(train_classifier_flags)
    app.run(main)
