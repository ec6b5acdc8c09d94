"""What `gpu_run.py` trains on: an .npz of `examples/set_as_npz.py`, or noise to measure by."""

import numpy as np
from absl import flags

from ladagan_tf.errors import InputError
from ladagan_tf.untrusted import read_npz

FLAGS = flags.FLAGS


def classes_of(trainer):
    """How many classes the generator is told, an int."""
    return getattr(trainer.averaged, "num_classes", 0)


def read_set(trainer):
    """What --images holds, of the right size; latents are scaled as it says.

    Returns:
        uint8 images (N, S, S, 3) or dict of float32 "moments" (N, S, S, 2C), and int32 labels (N,).
    """
    if not FLAGS.images:
        raise InputError("--images is required: an .npz of examples/set_as_npz.py")
    made, name, kind, wanted = trainer.averaged, "images", np.uint8, ["images"]
    shape = (made.resolution, made.resolution, 3)
    if trainer.of_latents:
        name, kind, wanted = "moments", np.floating, ["moments", "scaling_factor"]
        shape = (made.latent_size, made.latent_size, 2 * made.channels)
    file = read_npz(FLAGS.images, what=f"--images={FLAGS.images}")
    for missing in (each for each in wanted if each not in file):
        raise InputError(f"--images={FLAGS.images}: no {missing} in it, but {', '.join(file)}")
    array, labels = file[name], file.get("labels")
    if trainer.of_latents:
        trainer.scale(float(file["scaling_factor"]))
    if not np.issubdtype(array.dtype, kind) or array.shape[1:] != shape:
        accepted = "float" if trainer.of_latents else "uint8"
        raise InputError(
            f"--images={FLAGS.images}: {array.dtype} of shape {array.shape}; {accepted} "
            f"(N, {', '.join(map(str, shape))}) are accepted"
        )
    if FLAGS.flip and trainer.of_latents:
        raise InputError("--flip: latents cannot be mirrored")
    learned = {name: array.astype(np.float32)} if trainer.of_latents else array
    count = classes_of(trainer)
    if count < 2:
        return learned, np.zeros(len(array), np.int32)
    fits = labels is not None and labels.shape == array.shape[:1] and labels.dtype.kind in "iu"
    if not fits or not np.all((labels >= 0) & (labels < count)):
        raise InputError(
            f"--images={FLAGS.images}: of {count} classes it must hold int `labels` (N,) from 0 "
            f"to {count - 1}"
        )
    return learned, labels.astype(np.int32)


def random_images(trainer):
    """Four batches: uint8 images, or {"moments": float32} of latents, and labels."""
    rng, count, made = np.random.default_rng(0), 4 * FLAGS.batch_size, trainer.averaged
    labels = np.zeros(count, np.int32)
    if trainer.of_latents:
        side = made.latent_size
        moments = rng.random((count, side, side, 2 * made.channels), np.float32)
        return {"moments": moments}, labels
    return rng.integers(0, 256, (count, made.resolution, made.resolution, 3), np.uint8), labels
