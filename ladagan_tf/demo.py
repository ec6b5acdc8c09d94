"""Shows a generator as a web page: `python -m ladagan_tf.demo --run_dir=runs/NAME --port=7860`."""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import demo as demo_flags

if __name__ == "__main__":
    command.parse(demo_flags)  # before TensorFlow is imported

import functools

from ladagan_tf.flags import common

FLAGS = flags.FLAGS


def main():
    """Serves the page of the generator that the flags name."""
    from ladagan_tf.serving import page_server  # its package is optional

    source = common.open_generator()
    page_server.serve(source, FLAGS.host, FLAGS.port, say=functools.partial(print, flush=True))


if __name__ == "__main__":
    command.run(main)
