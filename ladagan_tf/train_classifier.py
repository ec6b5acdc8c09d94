"""Trains the small classifier that measures a set: `python -m ladagan_tf.train_classifier`.

Writes <prepared folder>.classifier.keras, which `--features=classifier` looks for.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import train_classifier as train_classifier_flags

if __name__ == "__main__":
    command.parse(train_classifier_flags)  # before TensorFlow is imported

from ladagan_tf.evaluation.classifier import default_path, train_classifier
from ladagan_tf.flags import common
from ladagan_tf.locks import locked

FLAGS = flags.FLAGS


def main():
    """Trains, saves and tells how good it is."""
    folder = common.open_dataset()
    out = FLAGS.out or default_path(folder)
    with locked(out):
        network = train_classifier(folder, out, FLAGS.kimg, FLAGS.seed)
    print(
        f"{out}: {len(network.classes)} classes, "
        f"{100 * network.about['held_out_accuracy']:.1f} % of the held-out tenth right"
    )


if __name__ == "__main__":
    command.run(main)
