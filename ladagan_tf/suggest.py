"""Suggests how to train on a set: a flagfile with the reason of every line.

    ladagan suggest --dataset=data/photos-64 --hours=3 --out=photos.cfg
    ladagan train --flagfile=photos.cfg

It looks at the number of images, their size and classes, and at this machine, on which it trains
some steps of one size or several to measure their speed: a minute or two on a CPU. Of images it
suggests a LadaGAN, of latents a GAT.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import suggest as suggest_flags

if __name__ == "__main__":
    command.parse(suggest_flags)  # before TensorFlow is imported

import contextlib
import dataclasses
import sys

import tensorflow as tf

from ladagan_tf import devices
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.files import new_file, vacant
from ladagan_tf.flags import common, model
from ladagan_tf.flags import start as start_flags
from ladagan_tf.flags import train as train_flags
from ladagan_tf.hardware import device_memory, hardware, multiplies_bfloat16, usable_cores
from ladagan_tf.systems import penalty_every, suggestion, suggestion_gat, suggestion_lada
from ladagan_tf.training.speed import images_per_second

FLAGS = flags.FLAGS
SECONDS = 6.0  # of steps that are timed
SYSTEMS = {"lada": suggestion_lada, "gat": suggestion_gat}


class Trial:
    """Networks of a size that are built here to see what they cost.

    Args:
        words: list of str, flags of `train`.

    Attributes:
        multiply_adds: int, of a training step per image.
        memory: dict of ints, estimated bytes per device, without a GPU of the process, by the parts
            that a batch is computed in.
    """

    def __init__(self, words):
        for name in FLAGS:
            FLAGS[name].unparse()
        common.read_flags(["train", *words])
        start_flags.resolve(["train"])
        self.words = words
        self.folder = common.open_dataset()
        system = train_flags.SYSTEMS[FLAGS.system]
        system.check_set(dataset_info.load_info(self.folder))
        self.strategy = devices.make_strategy(FLAGS.strategy)
        model.check_split(self.strategy)
        self.gan = model.build(self.strategy, self.folder)
        step, self.memory = model.step_of(self.strategy), {}
        for parts in divisions(step["batch_size"]):
            self.multiply_adds, on_gpu, on_cpu = system.step_cost(
                **self.gan.networks, **{**step, "micro_batches": parts}
            )
            self.memory[parts] = on_gpu if hardware()["gpus"] else on_cpu

    def images_per_s(self, parts):
        """Of training, measured; 0 where memory does not suffice.

        Args:
            parts: int, one of `memory`.
        """
        print(f"trying {' '.join(self.words)}", file=sys.stderr)
        try:
            if parts != FLAGS.micro_batches:
                FLAGS.micro_batches, self.gan = parts, None
                self.gan = model.build(self.strategy, self.folder)
            return images_per_second(self.gan, self.folder, FLAGS.batch_size, SECONDS, FLAGS.flip)
        except tf.errors.ResourceExhaustedError:
            return 0.0


def divisions(batch_size):
    """Into how many parts a device's batch may be divided: what is given, or powers of two."""
    if FLAGS["micro_batches"].present:
        return [FLAGS.micro_batches]
    powers = [2**power for power in range(batch_size.bit_length())]
    return [parts for parts in powers if batch_size % (parts * penalty_every()) == 0]


def main():
    """Prints, or writes, what is suggested for the set of the flags."""
    given, hours, out = suggest_flags.given(), FLAGS.hours, FLAGS.out
    if out is not None:
        vacant(out)  # told before the trials
    with contextlib.redirect_stdout(sys.stderr):  # what is printed is a flagfile
        folder = common.open_dataset()
        info = dataset_info.load_info(folder)
        info = dataclasses.replace(info, count=pipeline.num_images(folder, FLAGS.subset))
        found, lines = suggestion.suggest(
            SYSTEMS[given.get("system", "gat" if info.latents else "lada")],
            info,
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
    return suggestion.Machine(words, len(about["gpus"]), multiplies_bfloat16(), device_memory())


if __name__ == "__main__":
    command.run(main)
