"""What a generator makes as a `tf.data.Dataset`, for whatever learns from images."""

import numbers
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.sampling import seeds as drawn
from ladagan_tf.sampling import walks
from ladagan_tf.sampling.opening import Openable, sampler_of
from ladagan_tf.sampling.sampler import check_count


def image_dataset_from_generator(
    generator: Openable,
    seeds: range | Sequence[int] | None = None,
    *,
    batch_size: int = 64,
    labels: str = "balanced",
    class_counts: Sequence[int] | None = None,
    num_shards: int = 1,
    index: int = 0,
    drop_remainder: bool = False,
) -> tf.data.Dataset:
    """Generated images, batch by batch, as `ladagan_tf.image_dataset_from_generator`.

        images = ladagan_tf.image_dataset_from_generator("zoo:emoji64", range(1000))
        classifier.fit(ladagan_tf.image_dataset_from_generator(conditional), steps_per_epoch=100)

    Seed i is the same image as in every command, whatever the batch size. The generator computes on
    its device while the consumer computes; each pass computes anew: `cache` keeps images. It is no
    part of the graph, so that the dataset cannot be saved or sent to another process.

    Args:
        generator: see `opening.sampler_of`: a keras.Model, the name of one, or a function.
        seeds: ints in [0, 2^63), whose images come in this order; None: 0, 1, 2, ... without end.
        batch_size: int >= 1, images of a batch.
        labels: "balanced", "random" or "proportional", the classes of a conditional generator, see
            `seeds.labels`; an unconditional one has none.
        class_counts: see `seeds.labels`.
        num_shards, index: ints; only every `num_shards`-th seed from number `index` on, as
            `tf.data.Dataset.shard` has it, so that workers share the work.
        drop_remainder: bool, leave out a last, smaller batch: every batch has the same shape.

    Returns:
        tf.data.Dataset of uint8 images (b, S, S, 3); with a conditional generator of pairs with
        int32 classes (b,).

    Raises:
        InputError: for a generator that cannot be opened, or arguments out of range.
    """
    sampler = sampler_of(generator)
    _check(labels, class_counts, sampler.num_classes)
    check_count("batch_size", batch_size)
    check_count("num_shards", num_shards)
    if not isinstance(index, numbers.Integral) or not 0 <= index < num_shards:
        raise InputError(f"index={index}: give 0 to {num_shards - 1}, below num_shards")
    every = _dataset_of(seeds).shard(num_shards, index)

    def make(chosen):
        z = sampler.latents(chosen.tolist())
        if not sampler.num_classes:
            return next(walks.image_batches(sampler, z, None, len(z)))
        classes = drawn.labels(chosen.tolist(), sampler.num_classes, labels, class_counts)
        return next(walks.image_batches(sampler, z, classes, len(z))), classes

    kinds = (tf.uint8, tf.int32) if sampler.num_classes else tf.uint8

    def example(chosen):
        made = tf.numpy_function(make, [chosen], kinds)
        side, count = sampler.resolution, chosen.shape[0]
        if not sampler.num_classes:
            return tf.ensure_shape(made, (count, side, side, 3))
        return tf.ensure_shape(made[0], (count, side, side, 3)), tf.ensure_shape(made[1], (count,))

    batches = every.batch(batch_size, drop_remainder=drop_remainder)
    return batches.map(example).prefetch(tf.data.AUTOTUNE)


def _dataset_of(seeds):
    """Seeds as a tf.data.Dataset of int64."""
    if seeds is None:
        return tf.data.Dataset.counter()
    a_range = isinstance(seeds, range)  # may be long, and its ends bound it
    numbers = np.asarray([*seeds[:1], *seeds[-1:]] if a_range else seeds)
    if numbers.ndim != 1 or (len(numbers) and numbers.dtype.kind not in "iu"):
        raise InputError(f"seeds={seeds!r}: give integers, as range(1000) or [3, 5]")
    for number in numbers.tolist():
        if not 0 <= number <= drawn.MAX_SEED:
            raise InputError(f"seeds: {number} is out of range; give 0 to 2^63 - 1")
    if a_range:
        # By its length, as its stop may be 2^63; that of all seeds has no end that anybody sees.
        start, step = seeds.start, seeds.step
        count = min(max(0, -((start - seeds.stop) // step)), drawn.MAX_SEED)
        return tf.data.Dataset.range(count).map(lambda number: start + number * step)
    return tf.data.Dataset.from_tensor_slices(numbers.astype(np.int64))


def _check(labels, class_counts, num_classes):
    """Raises InputError unless labels are drawn in a way that there is, for that many classes."""
    if labels not in drawn.LABELS:
        raise InputError(f"labels={labels}: give one of {', '.join(drawn.LABELS)}")
    if labels != "proportional" or not num_classes:
        return
    try:
        counts = np.asarray(class_counts, np.float64)
    except (TypeError, ValueError):
        counts = np.empty(0)
    positive = np.isfinite(counts).all() and (counts >= 0).all() and counts.any()
    if counts.shape != (num_classes,) or not positive:
        raise InputError(
            f"class_counts={class_counts}: labels=proportional needs a number of images for each "
            f"of the {num_classes} classes, 0 or more, not all of them 0"
        )
