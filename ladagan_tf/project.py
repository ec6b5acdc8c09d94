"""Finds the latent of a picture: what a trained generator makes that is nearest to it.

python -m ladagan_tf.project --run_dir=runs/NAME --image=cat.png --out=cat.gif
python -m ladagan_tf.project --model=zoo:emoji64 --image=photo.jpg --resize --out=photo.png
python -m ladagan_tf.generate --run_dir=runs/NAME --latents=cat.latents.npz --out=again.png
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import project as project_flags

if __name__ == "__main__":
    command.parse(project_flags)  # before TensorFlow is imported

import pathlib

import numpy as np

from ladagan_tf import pictures, zoo
from ladagan_tf.data.conversion import Conversion, UnusableImageError, convert_image
from ladagan_tf.data.source import check_encoded, open_encoded
from ladagan_tf.errors import InputError, one_line_about
from ladagan_tf.evaluation import features
from ladagan_tf.evaluation.classifier import default_path
from ladagan_tf.files import check_writable, refuse_input, writing
from ladagan_tf.flags import common
from ladagan_tf.locks import locked
from ladagan_tf.runs.directory import RunDirectory
from ladagan_tf.sampling import image_files, latent_files, opening, projection, walks
from ladagan_tf.systems import refuse_without
from ladagan_tf.untrusted import check_regular

FLAGS = flags.FLAGS
ENDINGS = (".gif", ".mp4", ".png")
WIDTH = 320  # pixels that the picture and what is found beside it may have together


def main():
    """Looks for the picture, and writes how it was found and the latent."""
    out = pathlib.Path(FLAGS.out)
    if out.suffix not in ENDINGS:
        raise InputError(f"out={out}: give {', '.join(ENDINGS)}")
    if out.is_dir():
        raise InputError(f"out={out}: it is a folder")
    refuse_input(out, FLAGS.image)
    image_files.check_animation(out, FLAGS.fps if FLAGS["fps"].present else None)
    with locked(out):
        write(out)


def write(out):
    """Writes the picture to the path `out`, and the latent beside it."""
    source = common.open_generator()
    label = chosen_class(source)
    target = read_picture(FLAGS.image, source.resolution)
    extractor = open_features(source)
    refuse_without("feature_weight", extractor, "--features")
    latents = out.with_suffix(latent_files.ENDING)
    for path in (out, latents):
        check_writable(path)
    found = projection.project(
        source,
        target,
        extractor and extractor.features,
        label,
        steps=FLAGS.steps,
        starts=FLAGS.starts,
        learning_rate=FLAGS.learning_rate,
        feature_weight=FLAGS.feature_weight,
        seed=FLAGS.seed,
        space=FLAGS.space,
    )
    labels = None if label is None else np.full(len(found.path), label, np.int32)
    given = None if label is None else labels[-1:]
    latent_files.write(latents, found.latent[None], given, FLAGS.space)
    write_film(source.styled() if FLAGS.space == "w" else source, target, found.path, labels, out)
    print(f"{out}, {latents}: {in_words(found.distances, extractor)}")


def write_film(source, target, path, labels, out):
    """Writes the target beside images of latents.

    Args:
        source: Sampler.
        target: uint8 array (S, S, 3).
        path: float32 array (F, Z) or (F, C), as the source takes them; a .png shows the last one.
        labels: int32 array (F,) or None.
        out: pathlib.Path.
    """
    if out.suffix == ".png":
        path = path[-1:]
        labels = labels if labels is None else labels[-1:]

    def frames():
        for batch in walks.image_batches(source, path, labels, source.affordable(32)):
            pairs = (np.stack([target, image]) for image in batch)
            scale = pictures.factor_within(2 * len(target), WIDTH)
            yield np.stack([pictures.enlarged_grid(pair, 2, scale) for pair in pairs])

    if out.suffix == ".png":
        with writing(out):
            pictures.save_png(out, next(frames())[0])
    else:
        image_files.write_animation(out, frames(), len(path), FLAGS.fps)


def chosen_class(source):
    """The class to look in, an int; None for an unconditional model."""
    classes = walks.parse_classes(FLAGS.classes, source.num_classes, source.class_names)
    if len(classes) > 1:
        raise InputError("classes: this model is conditional; give one class, as --classes=0")
    return classes[0] if classes else None


def read_picture(path, side):
    """A picture as one of a prepared set: uint8 array (side, side, 3), transparency over white.

    Raises:
        InputError: if it is none, or has another size and --resize is not given.
    """
    what = f"image={path}"
    try:
        with one_line_about(what, "picture"):
            check_regular(pathlib.Path(path))  # of a pipe one could wait for ever
            check_encoded(pathlib.Path(path).stat().st_size)
            image = open_encoded(pathlib.Path(path).read_bytes())
            size = image.size
            if size == (side, side) or FLAGS.resize:
                return convert_image(image, Conversion(side, min_side=1))
    except InputError as error:
        if isinstance(error.__cause__, UnusableImageError):  # it says what the picture is
            raise InputError(f"{what}: {error.__cause__}") from None
        raise
    raise InputError(
        f"{what}: it has {size[0]} x {size[1]} pixels, the model {side} x {side}; --resize "
        "takes its centred square and resizes it"
    )


def open_features(source):
    """features.Extractor of --features, or None."""
    spec = FLAGS.features
    if spec == features.AUTO:
        file = own_classifier()
        spec = f"{features.CLASSIFIER}:{file}" if file else features.NONE
    extractor = features.open_extractor(spec)
    if extractor:
        extractor.check(source.resolution, "the model's ")
    return extractor


def own_classifier():
    """The classifier of the model of the zoo, or beside the run's set: a path, or None."""
    if FLAGS.model:
        place, about = opening.locate(FLAGS.model)
        return place / zoo.CLASSIFIER if about else None
    dataset = RunDirectory(FLAGS.run_dir).flags().get("dataset")
    beside = default_path(dataset) if dataset else None
    return beside if beside and beside.is_file() else None


def in_words(distances, extractor):
    """What is left between the picture and what was found."""
    found, start = distances["pixels"], distances["start"]
    text = f"{found:.1f} of 255 grey levels off (root mean square; {start:.1f} where it began)"
    if extractor:
        text += f", features of {extractor.name} {distances['features']:.3f} of their length off"
    return text


if __name__ == "__main__":
    command.run(main)
