"""Suggests how to train on a set: a flagfile with the reason of every line.

    ladagan suggest --dataset=data/photos-64 --hours=3 --out=photos.cfg
    ladagan train --flagfile=photos.cfg

It looks at the number of images, their size and classes, and at this machine, on which it trains
some steps of two or three sizes of LadaGAN to measure their speed: a minute or two on a CPU.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import suggest as suggest_flags

if __name__ == "__main__":
    command.parse(suggest_flags)  # before TensorFlow is imported

import contextlib
import sys

import tensorflow as tf

from ladagan_tf import devices
from ladagan_tf.cost import lada as cost
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.files import new_file, vacant
from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags.common import read_flags
from ladagan_tf.hardware import hardware, multiplies_bfloat16, usable_cores
from ladagan_tf.systems import lada, suggestion
from ladagan_tf.training.adversarial import AdversarialModel
from ladagan_tf.training.speed import images_per_second

FLAGS = flags.FLAGS
SECONDS = 6.0  # of steps that are timed


class Trial:
    """A size of LadaGAN that is built here to see what it costs.

    Args:
        words: list of str, flags of `train`.

    Attributes:
        multiply_adds: int, of a training step per image.
    """

    def __init__(self, words):
        for name in FLAGS:
            FLAGS[name].unparse()
        read_flags(["train", *words])
        start_flags.resolve()
        self.words = words
        self.folder = pipeline.open_dataset(
            FLAGS.dataset, resolution=FLAGS.resolution, data_dir=FLAGS.data_dir
        )
        self.strategy = devices.make_strategy(FLAGS.strategy)
        with self.strategy.scope():
            networks, averaged, objective = lada.build(self.folder)
            self.gan = AdversarialModel(**networks, averaged=averaged, objective=objective)
        self.multiply_adds = cost.training_multiply_adds(**networks)

    def images_per_s(self):
        """Of training, measured; 0 where memory does not suffice."""
        print(f"trying {' '.join(self.words)}", file=sys.stderr)
        rates, adam = (FLAGS.g_lr, FLAGS.d_lr), (FLAGS.beta1, FLAGS.beta2, FLAGS.precision)
        with self.strategy.scope():
            self.gan.compile(
                *(devices.make_optimizer(rate, *adam) for rate in rates),
                micro_batches=FLAGS.micro_batches,
                jit=devices.use_jit(FLAGS.jit),
            )
        try:
            return images_per_second(self.gan, self.folder, FLAGS.batch_size, SECONDS, FLAGS.flip)
        except tf.errors.ResourceExhaustedError:
            return 0.0


def main():
    """Prints, or writes, what is suggested for the set of the flags."""
    given, hours, out = suggest_flags.given(), FLAGS.hours, FLAGS.out
    if out is not None:
        vacant(out)  # told before the trials
    with contextlib.redirect_stdout(sys.stderr):  # what is printed is a flagfile
        folder = pipeline.open_dataset(
            FLAGS.dataset, resolution=FLAGS.resolution, data_dir=FLAGS.data_dir
        )
        found, lines = suggestion.suggest(
            dataset_info.load_info(folder),
            machine(),
            hours,
            Trial,
            [suggestion.Line(name, value, "As given.") for name, value in given.items()],
        )
    title = f"ladagan suggest: {given['dataset']}, {hours:g} hours"
    text = suggestion.as_flagfile(title, found, lines)
    if out is None:
        print(text, end="", flush=True)
        return
    with new_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    print(f"{out}: ladagan train --flagfile={out}")


def machine():
    """What is computed on here: `suggestion.Machine`."""
    about = hardware()
    words = ", ".join(about["gpus"]) or f"no GPU; {usable_cores()} cores of {about['cpu']}"
    return suggestion.Machine(words, len(about["gpus"]), multiplies_bfloat16())


if __name__ == "__main__":
    command.run(main)
