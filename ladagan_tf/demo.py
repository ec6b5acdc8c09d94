"""Shows a generator as a web page: `python -m ladagan_tf.demo --run_dir=runs/NAME --port=7860`."""

import functools

from absl import app, flags, logging

from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.flags import demo as demo_flags
from ladagan_tf.sampling import opening

FLAGS = flags.FLAGS


def main(argv):
    logging.set_verbosity(logging.WARNING)
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        from ladagan_tf.serving import page  # its package is optional

        source = opening.open_source(FLAGS.run_dir, FLAGS.model, vae=FLAGS.vae)
        page.serve(source, FLAGS.host, FLAGS.port, say=functools.partial(print, flush=True))


if __name__ == "__main__":
    demo_flags.define()
    flags.adopt_module_key_flags(demo_flags)
    app.run(main)
