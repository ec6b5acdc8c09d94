"""Prepares a set of images for training: `python -m ladagan_tf.prepare --source=... --out=...`.

Writes TFRecords of square RGB images and a `dataset.json` that says what they were made of. With
`--latents --vae=...` the records hold the latents of the images, which is what GAT trains on.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import prepare as prepare_flags

if __name__ == "__main__":
    command.parse(prepare_flags)  # before TensorFlow is imported

import pathlib
import re

from ladagan_tf import zoo
from ladagan_tf.data import dataset_info, latents, official_latents, sources
from ladagan_tf.data.conversion import parse_background
from ladagan_tf.data.preparation import MOST_LISTED, absolute, prepare
from ladagan_tf.data.source import TFDS_PREFIX
from ladagan_tf.data.unfinished import Part
from ladagan_tf.errors import InputError
from ladagan_tf.locks import locked

FLAGS = flags.FLAGS
# What only sources of images that are not converted yet are asked about.
_CONVERSION = (
    "crop", "resize_filter", "background", "min_side", "skip_bad", "split", "data_dir", "seed",
    "num_images", "corrupt", "corrupt_seed",
)  # fmt: skip
_LATENTS = ("latent_dtype", "store_images", "encode_batch", "strategy")


def main():
    """Prepares what the flags name and sums it up."""
    if FLAGS.out == sources.SHAPES or FLAGS.out.startswith((TFDS_PREFIX, zoo.PREFIX)):
        raise InputError(f"--out={FLAGS.out}: as --dataset that is another set; give ./{FLAGS.out}")
    part = parse_shard()
    out = pathlib.Path(absolute(FLAGS.out))
    place = part.folder(out) if part else out
    with locked(place):
        making = {name: FLAGS[name].value for name in ("workers", "shards", "overwrite", "merge")}
        prepare_and_tell({**making, "part": part})


def parse_shard():
    """The `unfinished.Part` of --shard; None without it.

    Raises:
        InputError: if it is none, or for flags that do not go together.
    """
    if (FLAGS.shard or FLAGS.merge) and FLAGS.shards:
        raise InputError(f"--shards={FLAGS.shards}: with --shard and --merge sizes decide")
    if FLAGS.shard is None:
        return None
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", FLAGS.shard)
    if not match or int(match[1]) >= int(match[2]):
        raise InputError(f"--shard={FLAGS.shard}: give a part and how many there are, 0/8 to 7/8")
    if FLAGS.merge:
        raise InputError(f"--shard={FLAGS.shard}: --merge comes after all parts; give one of them")
    return Part(int(match[1]), int(match[2]))


def prepare_and_tell(making):
    """As `main`, where nobody else writes there.

    Args:
        making: dict, arguments of `preparation.Making` but for the encoding.
    """
    for name, value in (("vae", FLAGS.vae), ("store_teacher", FLAGS.store_teacher)):
        if value and not FLAGS.latents:
            raise InputError(f"--{name}={value}: only for latents; add --latents")
    if not FLAGS.latents:
        _refuse(_LATENTS, "only for latents, with --latents")
    named = sources.told_of_folder(FLAGS.source, "source")
    if FLAGS.latents and not named and latents.is_prepared_set(FLAGS.source):
        info = _prepare_set(making)
    elif FLAGS.resolution is None:
        raise InputError("--resolution is required: the side of the prepared images in pixels")
    elif FLAGS.latents and not named and official_latents.is_official(FLAGS.source):
        _refuse(("shard", "merge"), "stored latents are not encoded")
        _refuse(_CONVERSION, "the images that belong to stored latents are taken as they are")
        encoding = _encoding(FLAGS.resolution)
        info = official_latents.prepare_official(
            FLAGS.source, FLAGS.out, encoding, FLAGS.resolution, FLAGS.num_classes, **making
        )
    else:
        encoding = _encoding(FLAGS.resolution) if FLAGS.latents else None
        info = _prepare_images(encoding, making)
    if info is None:
        print(f"{FLAGS.out}: part {FLAGS.shard} is prepared; when all are, the same with --merge")
        return
    classes = f"{len(info.classes)} classes" if info.classes else "no classes"
    skipped = len(info.skipped) + info.skipped_more
    print(
        f"{info.folder}: {info.count} {_content(info)}, {classes}, "
        f"{len(info.shards)} shards, {info.total_bytes / 2**20:.1f} MiB, "
        f"{skipped} skipped, {sum(some.count for some in info.left_out)} other files "
        f"left out, sha256 {info.content_sha256[:12]}"
    )
    if info.preparation.corrupt:
        print(f"damaged on purpose: {info.preparation.corrupt}")
    for image in info.skipped[:MOST_LISTED]:
        print(f"skipped {image.name}: {image.reason}")
    if skipped > MOST_LISTED:
        listed = f"the first {len(info.skipped)} are" if info.skipped_more else "all are"
        print(f"skipped: {skipped - MOST_LISTED} more; {listed} in {dataset_info.INFO_NAME}")


def _prepare_set(making):
    resolution = dataset_info.load_info(absolute(FLAGS.source)).resolution
    if FLAGS.resolution not in (None, resolution):
        raise InputError(
            f"--resolution={FLAGS.resolution}: the images of {FLAGS.source} have {resolution} "
            "pixels and are taken as they are; leave the flag out"
        )
    _refuse((*_CONVERSION, "num_classes"), "the images of a prepared set are taken as they are")
    encoding = _encoding(resolution)
    return latents.prepare_set(FLAGS.source, FLAGS.out, encoding, **making)


def _refuse(names, why):
    """Raises InputError if one of some flags was given."""
    for name in names:
        if FLAGS[name].present:
            raise InputError(f"--{name}={FLAGS[name].value}: {why}; leave the flag out")


def _prepare_images(encoding, making):
    if FLAGS.source != sources.SHAPES:
        _refuse(("seed", "num_images"), f"only for --source={sources.SHAPES}")
    else:
        _refuse(("crop", "resize_filter", "background", "skip_bad"), "shapes are drawn as they are")
    if not FLAGS.corrupt:
        _refuse(("corrupt_seed",), "only with --corrupt")
    if not FLAGS.source.startswith(TFDS_PREFIX):
        _refuse(("data_dir",), f"only for --source={TFDS_PREFIX}NAME")
    return prepare(
        FLAGS.source,
        FLAGS.out,
        resolution=FLAGS.resolution,
        crop=FLAGS.crop,
        background=parse_background(FLAGS.background),
        resize_filter=FLAGS.resize_filter,
        min_side=FLAGS.min_side,
        skip_bad=FLAGS.skip_bad,
        data_dir=FLAGS.data_dir,
        seed=FLAGS.seed,
        num_images=FLAGS.num_images,
        split=FLAGS.split,
        num_classes=FLAGS.num_classes,
        encoding=encoding,
        corrupt=FLAGS.corrupt,
        corrupt_seed=FLAGS.corrupt_seed,
        **making,
    )


def _encoding(resolution):
    """How the autoencoder of the flags makes latents of images of `resolution` pixels."""
    if not FLAGS.vae:
        raise InputError("--vae is required with --latents: a published name, or a file")
    # Here, because images alone need no network.
    from ladagan_tf import devices
    from ladagan_tf.models.pixels import scale_images
    from ladagan_tf.training.teachers import open_teacher
    from ladagan_tf.weights import vae_weights

    path, strategy = vae_weights.find(FLAGS.vae), devices.make_strategy(FLAGS.strategy)
    with strategy.scope():
        vae, vae_sha256 = vae_weights.load(path, "float32")
        teacher = open_teacher(FLAGS.store_teacher) if FLAGS.store_teacher else None
    if resolution % vae.factor:
        raise InputError(
            f"--resolution={resolution}: it must be a multiple of {vae.factor}, by which "
            f"--vae={FLAGS.vae} divides sides"
        )
    description = dataset_info.Latents(
        size=resolution // vae.factor,
        channels=vae.latent_channels,
        dtype=FLAGS.latent_dtype,
        vae=FLAGS.vae if FLAGS.vae in vae_weights.PUBLISHED else absolute(path),
        vae_sha256=vae_sha256,
        encoder_sha256=vae_weights.encoder_sha256(vae),
        scaling_factor=vae.scaling_factor,
        images=FLAGS.store_images,
        teacher=teacher.about if teacher else None,
    )
    return latents.Encoding(
        devices.replicated(lambda images: vae.encode(scale_images(images)), strategy),
        description,
        FLAGS.encode_batch,
        devices.replicated(teacher.encode, strategy) if teacher else None,
    )


def _content(info):
    """What the records hold, for the summary."""
    images = f"images of {info.resolution} x {info.resolution}"
    if not info.latents:
        return images
    stored = info.latents
    return (
        f"{stored.dtype} latents of {stored.size} x {stored.size} x {stored.channels} by "
        f"{stored.vae} (sha256 {stored.vae_sha256[:12]}) with standard deviation {stored.std:.3f} "
        f"after scaling, {'with' if stored.images else 'without'} {images}"
    )


if __name__ == "__main__":
    command.run(main)
