"""Makes images over HTTP: `python -m ladagan_tf.serve --model=export/saved_model --port=8000`."""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import serve as serve_flags

if __name__ == "__main__":
    command.parse(serve_flags)  # before TensorFlow is imported

import functools

from ladagan_tf.sampling import opening

FLAGS = flags.FLAGS


def main():
    """Answers requests with the generator that the flags name."""
    from ladagan_tf.serving import service  # its packages are optional

    source = opening.open_model(FLAGS.model, vae=FLAGS.vae)
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
    command.run(main)
