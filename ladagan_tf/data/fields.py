"""Which fields of a set's records a reader takes, and what they become."""

from ladagan_tf.data import records
from ladagan_tf.errors import InputError


def choose(info, flip, with_images, with_teacher):
    """The names of the fields that batches of a set are made of; see `pipeline.make_dataset`.

    Raises:
        InputError: if the set does not hold what is asked for.
    """
    if not (info.latents or with_images or with_teacher):
        return ("image", "label")
    require_latents(info)
    if flip:
        raise InputError(
            f"flip={flip}: {info.folder} holds latents, which cannot be mirrored; turn it off"
        )
    if with_images:
        require_images(info)
    if with_teacher and not info.latents.teacher:
        raise InputError(f"{info.folder}: no features of a teacher in it; prepare it with them")
    images = ("image",) if with_images else ()
    teacher = ("teacher_cls", "teacher_patches") if with_teacher else ()
    return ("moments", "label", *images, *teacher)


def require_images(info):
    """Raises InputError if the set's records hold no images."""
    if info.latents and not info.latents.images:
        raise InputError(
            f"{info.folder}: it holds latents without images; prepare it again with --store_images"
        )


def require_latents(info):
    """Raises InputError if the set's records hold no latents."""
    if not info.latents:
        raise InputError(f"{info.folder}: it holds images, not latents; prepare it with --latents")


def content(record, info):
    """What one record, as `records.parse` returns it, gives a batch, but for its label.

    Returns:
        Image uint8 (R, R, 3) of a set of images; of a set of latents a dict of `moments` float32
        (S, S, 2C) and, if the record has them, `images`, `teacher_cls` and `teacher_patches`.
    """
    if not info.latents:
        return records.decode_image(record["image"], info.resolution)
    found = {"moments": records.decode_moments(record["moments"], info.latents)}
    if "image" in record:
        found["images"] = records.decode_image(record["image"], info.resolution)
    if "teacher_cls" in record:
        found["teacher_cls"], found["teacher_patches"] = records.decode_teacher(
            record["teacher_cls"], record["teacher_patches"], info.latents
        )
    return found
