"""Makes images over HTTP: `python -m ladagan_tf.serve --model=export/saved_model --port=8000`."""

import functools

from absl import app, flags, logging

from ladagan_tf.errors import InputError, one_line_errors
from ladagan_tf.flags import serve as serve_flags
from ladagan_tf.sampling import opening

FLAGS = flags.FLAGS


def main(argv):
    logging.set_verbosity(logging.WARNING)
    with one_line_errors():
        if len(argv) > 1:
            raise InputError(f"unexpected argument {argv[1]!r}; only --flags are accepted")
        from ladagan_tf.serving import service  # its packages are optional

        source = opening.open_model(FLAGS.model)
        service.serve(
            source,
            FLAGS.host,
            FLAGS.port,
            max_batch=FLAGS.max_batch or source.affordable(64),
            max_queue=FLAGS.max_queue,
            timeout_s=FLAGS.timeout_s,
            say=functools.partial(print, flush=True),
        )


if __name__ == "__main__":
    serve_flags.define()
    flags.adopt_module_key_flags(serve_flags)
    app.run(main)
