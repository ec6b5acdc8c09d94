"""Makes pictures with a trained generator.

    python -m ladagan_tf.generate --run_dir=runs/NAME --grid=8x8 --out=grid.png
    python -m ladagan_tf.generate --run_dir=runs/NAME --seeds=0-49999 --out=samples.npz
    python -m ladagan_tf.generate --run_dir=runs/NAME --seeds=0-7 --interpolate --out=walk.gif
    python -m ladagan_tf.generate --model=NAME.keras --seeds=0-5 --attention --out=attention.png
    python -m ladagan_tf.generate --run_dir=runs/GAT --classes=207,360 --psi=0.7 --out=classes.png
    python -m ladagan_tf.generate --run_dir=runs/GAT --sweep_psi=0,0.5,1 --out=psi.png
    python -m ladagan_tf.generate --run_dir=runs/NAME --directions=8 --out=directions.png

Image i of a model is always the same, whatever it is written to.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import generate as generate_flags

if __name__ == "__main__":
    command.parse(generate_flags)  # before TensorFlow is imported

import math
import pathlib

import numpy as np

from ladagan_tf import pictures
from ladagan_tf.data.source import printable
from ladagan_tf.errors import InputError
from ladagan_tf.files import check_writable, refuse_bare, writing
from ladagan_tf.flags import common
from ladagan_tf.locks import locked
from ladagan_tf.runs import SAMPLED_BY
from ladagan_tf.sampling import directions, image_files, latent_files, walks
from ladagan_tf.sampling.sampler import check_stage, of_network
from ladagan_tf.systems import listed

FLAGS = flags.FLAGS
DEFAULT_SEEDS = {"walk": 8, "attention": 6, "sweep": 8, "directions": 1}
DEVIATIONS = (-2.0, -1.0, 0.0, 1.0, 2.0)  # along a direction
BATCH_SIZE = 32
DEFAULT_COUNT = 64
MOST_FRAMES = 100_000  # of a walk: more than an hour; above, a typing error is likelier than a wish
MOST_PIXELS = 2**30  # of a picture: 3 GB in memory, twice
ENDINGS = {
    "walk": (".gif", ".mp4", ".png"),
    "attention": (".png",),
    "sweep": (".png",),
    "directions": (".png",),
    "images": (".png", ".npz", ".zip", ""),
}


def main():
    """Writes the kind of picture that the flags ask for."""
    kind, out = kind_of_output()
    with locked(out, inside=not out.suffix):
        if out.suffix:
            check_writable(out)
        write(kind, out)


def write(kind, out):
    """Writes a `kind` of picture to the path `out`."""
    source = open_source()
    if space() == "w":
        if kind == "attention":
            raise InputError(
                f"latents={','.join(FLAGS.latents)}: they are styles, w; --attention needs z"
            )
        source = source.styled()
    classes = walks.parse_classes(FLAGS.classes, source.num_classes, source.class_names)
    if FLAGS.latents:
        given, labels = read_latents(source)
        classes = labels if labels and FLAGS.classes is None else classes
        if space() == "w" and not reads_classes(kind, source):
            if FLAGS.classes:
                raise InputError(
                    f"classes={','.join(FLAGS.classes)}: latents={','.join(FLAGS.latents)} are "
                    "styles, w, which have their classes in them; leave it out"
                )
            classes = classes[:1]  # any
        numbers = fitting(list(range(len(given))), f"latents={','.join(FLAGS.latents)}")
    else:
        numbers = chosen_seeds(kind)
    writers = {
        "walk": write_walk,
        "attention": write_attention,
        "sweep": write_sweep,
        "directions": write_directions,
        "images": write_images,
    }
    summary = writers[kind](source, numbers, classes, out)
    print(f"{FLAGS.out}: {summary}{strength_in_words(source)}")


def reads_classes(kind, source):
    """Whether a `kind` of picture depends on the classes of styles, of a Sampler `source`."""
    return kind in ("sweep", "directions") or source.about.get("psi", 1.0) != 1.0


def kind_of_output():
    """What the flags ask for, and the path to write."""
    out = pathlib.Path(FLAGS.out)
    asked = {
        "walk": FLAGS.interpolate,
        "attention": FLAGS.attention,
        "sweep": FLAGS.sweep_psi,
        "directions": FLAGS.directions,
    }
    kinds = [kind for kind, value in asked.items() if value not in (False, None)]
    if len(kinds) > 1:
        raise InputError("give one of --interpolate, --attention, --sweep_psi and --directions")
    kind = kinds[0] if kinds else "images"
    refuse_bare(out, sum(ENDINGS.values(), ()))
    if out.suffix not in ENDINGS[kind]:
        accepted = ", ".join(ending or "a folder" for ending in ENDINGS[kind])
        raise InputError(f"out={out}: give {accepted}")
    for name in ("frames", "interpolation"):
        if kind != "walk" and FLAGS[name].value is not None:
            raise InputError(f"{name}={FLAGS[name].value}: it needs --interpolate")
    if FLAGS.grid and (kind != "images" or out.suffix != ".png" or FLAGS.classes):
        raise InputError(f"grid={FLAGS.grid}: it is for a .png of images, without --classes")
    if FLAGS.latents == []:
        raise InputError("latents=: give files that ladagan_tf.project wrote, or leave it out")
    if FLAGS.latents and FLAGS.seeds:
        raise InputError(f"seeds={FLAGS.seeds}: --latents has its own; give one of them")
    if FLAGS.latents and FLAGS.truncation_z is not None:
        raise InputError(f"truncation_z={FLAGS.truncation_z:g}: latents of files are as they are")
    if FLAGS.latents and out.suffix in ("", ".npz", ".zip"):
        raise InputError(f"out={out}: images of --latents are for a .png, .gif or .mp4")
    if FLAGS.scale != 1 and out.suffix in ("", ".npz", ".zip"):
        raise InputError(f"scale={FLAGS.scale}: it is for a .png, .gif or .mp4; {out} has images")
    if out.suffix and out.is_dir():
        raise InputError(f"out={out}: it is a folder")
    image_files.check_animation(out, FLAGS.fps if FLAGS["fps"].present else None)
    return kind, out


def open_source():
    """The generator of --run_dir or --model."""
    source = common.open_generator()
    if FLAGS.stage is None:
        return source
    check_stage(FLAGS.stage, source.network)
    staged = of_network(source.network, source.about, FLAGS.psi, FLAGS.guidance, FLAGS.stage)
    return staged if FLAGS.truncation_z is None else staged.within(FLAGS.truncation_z)


def strength_in_words(source):
    """How the images were sampled, where a model can be asked for that."""
    swept = {"psi"} if FLAGS.sweep_psi else set()
    shown = [name for name in SAMPLED_BY if name in source.about and name not in swept]
    values = {name: source.about[name] for name in shown}
    return "".join(
        f", {n} {v}" if isinstance(v, str) else f", {n} {v:g}" for n, v in values.items()
    )


def chosen_seeds(kind):
    """The seeds of the flags, or as many from 0 on as a `kind` of picture has: list of ints."""
    rows, columns = walks.parse_grid(FLAGS.grid) if FLAGS.grid else (1, DEFAULT_COUNT)
    if FLAGS.seeds is None:
        by_class = 8 if FLAGS.classes and FLAGS.out.endswith(".png") else rows * columns
        return list(range(DEFAULT_SEEDS.get(kind, by_class)))
    return fitting(walks.parse_seeds(FLAGS.seeds), f"seeds={FLAGS.seeds}")


def fitting(numbers, named):
    """Numbers of images, which `named` (str) asks for; InputError unless --grid holds them."""
    if FLAGS.grid and len(numbers) > math.prod(walks.parse_grid(FLAGS.grid)):
        raise InputError(f"{named}: {len(numbers)} images do not fit into --grid={FLAGS.grid}")
    return numbers


def read_latents(source):
    """What `latent_files.read` returns of --latents, for a Sampler."""
    return latent_files.read(FLAGS.latents, source.noise_dim, source.num_classes, space())


def space():
    """Of what the latents are: "z", or "w" where --latents has styles."""
    return latent_files.space_of(FLAGS.latents) if FLAGS.latents else "z"


def latents_of(source, numbers):
    """Latents (N, Z) of seed `numbers`, or of those places in --latents."""
    if FLAGS.latents:
        return read_latents(source)[0][numbers]
    return source.latents(numbers)


def compute(source, numbers, classes):
    """Iterator over images in uint8 batches: of a `source`, for seed `numbers` and `classes`."""
    labels = walks.labels_in_turn(numbers, classes) if classes else None
    z = latents_of(source, numbers)
    return walks.image_batches(source, z, labels, batch_size(source))


def batch_size(source):
    """Images computed at once by a Sampler: int."""
    return FLAGS.batch_size or source.affordable(BATCH_SIZE)


def write_images(source, numbers, classes, out):
    """Writes images in the form that the path's ending says.

    Args:
        source: Sampler.
        numbers: list of ints, seeds.
        classes: list of ints; empty for an unconditional model.
        out: pathlib.Path.

    Returns:
        str, a summary.
    """
    about = image_files.identity(source) | ({"classes": classes} if classes else {})

    def produce(some):
        return compute(source, some, classes)

    if out.suffix == ".png":
        return write_grid(source, numbers, classes, out)
    if out.suffix:
        labels = walks.labels_in_turn(numbers, classes) if classes else None
        image_files.write_archive(out, numbers, produce, source.resolution, about, labels)
        return f"{len(numbers)} images"
    new = image_files.write_folder(out, numbers, produce, about)
    return f"{len(numbers)} images, {new} of them new"


def check_pixels(source, count):
    """Raises InputError if `count` images of a Sampler are too many for one picture."""
    pixels = count * (source.resolution * FLAGS.scale) ** 2
    if pixels > MOST_PIXELS:
        raise InputError(
            f"out={FLAGS.out}: a picture of {count:,} images has {pixels:,} pixels; at most "
            f"{MOST_PIXELS:,}; give fewer images, or a folder, .npz or .zip"
        )


def write_grid(source, numbers, classes, out):
    """Images of seeds as one .png; see `write_images`."""
    check_pixels(source, len(numbers) * (len(classes) if FLAGS.classes else 1))
    columns = pictures.square_columns(len(numbers))
    if FLAGS.grid:
        columns = walks.parse_grid(FLAGS.grid)[1]
    if FLAGS.classes:
        columns = len(numbers)
        parts = [batch for c in classes for batch in compute(source, numbers, [c])]
    else:
        parts = list(compute(source, numbers, classes))
    images = np.concatenate(parts)
    save(out, pictures.enlarged_grid(images, columns, FLAGS.scale))
    names = source.class_names
    # A file's names, which a terminal might obey.
    shown = "; ".join(printable(names[number]) for number in classes) if names else classes
    rows = f", a row for each class of {shown}" if FLAGS.classes else ""
    return f"{len(images)} images{rows}"


def write_walk(source, numbers, classes, out):
    """A walk through the seeds; see `write_images`."""
    if len(numbers) < 2:
        named = f"latents={','.join(FLAGS.latents)}" if FLAGS.latents else f"seeds={FLAGS.seeds}"
        raise InputError(f"{named}: --interpolate needs at least two")
    if len(set(classes)) > 1:
        raise InputError("interpolate: this model is conditional; give one class, as --classes=0")
    frames = FLAGS.frames or (8 if out.suffix == ".png" else 24)
    if frames * len(numbers) > MOST_FRAMES:
        raise InputError(
            f"--frames={frames}: {frames * len(numbers):,} frames through {len(numbers)} images; "
            f"at most {MOST_FRAMES:,} at a time"
        )
    if out.suffix == ".png":
        check_pixels(source, frames * len(numbers))
    how = FLAGS.interpolation or ("spherical" if space() == "z" else "linear")
    z = walks.walk(latents_of(source, numbers), frames, how)
    labels = np.full(len(z), classes[0], np.int32) if classes else None
    batches = walks.image_batches(source, z, labels, batch_size(source))
    if out.suffix == ".png":
        save(out, pictures.enlarged_grid(np.concatenate(list(batches)), frames, FLAGS.scale))
    else:
        frames = (pictures.enlarged(batch, FLAGS.scale) for batch in batches)
        image_files.write_animation(out, frames, len(z), FLAGS.fps)
    return f"{len(z)} frames through {len(numbers)} {'latents' if FLAGS.latents else 'seeds'}"


def write_sweep(source, numbers, classes, out):
    """A row of images per psi; see `write_images`."""
    if FLAGS["psi"].present:
        raise InputError(f"psi={FLAGS.psi:g}: --sweep_psi has its own")
    words = "numbers from 0 to 1, as 0,0.5,1"
    strengths = listed("sweep_psi", float, words, lambda psi: 0 <= psi <= 1, some=True)
    check_pixels(source, len(numbers) * len(strengths))
    rows = [batch for psi in strengths for batch in compute(source.at(psi), numbers, classes)]
    save(out, pictures.enlarged_grid(np.concatenate(rows), len(numbers), FLAGS.scale))
    return f"{len(numbers)} images, a row for each psi of {[*strengths]}"


def write_attention(source, numbers, classes, out):
    """Images beside where the heads look; see `write_images`."""
    if not getattr(source.network, "has_attention_maps", False):
        raise InputError(
            "attention: a LadaGAN of --run_dir or a .keras file shows it, but not with "
            "--attention=linformer, no SavedModel and no GAT"
        )
    check_pixels(source, len(numbers))
    inputs = [latents_of(source, numbers)]
    inputs += [walks.labels_in_turn(numbers, classes)] if classes else []
    images, maps, size = [], [], batch_size(source)
    for start in range(0, len(numbers), size):
        batch = (given[start : start + size] for given in inputs)
        made, looked = source.network.attention_maps(*batch, psi=FLAGS.psi)
        images.append(pictures.to_uint8(made))
        maps.append([np.asarray(weights, np.float32) for weights in looked])
    maps = [np.concatenate(of_a_size) for of_a_size in zip(*maps, strict=True)]
    images = pictures.enlarged(np.concatenate(images), FLAGS.scale)
    save(out, pictures.attention_sheet(images, maps))
    return f"{len(numbers)} images and their attention"


def write_directions(source, numbers, classes, out):
    """One image moved along each principal direction; see `write_images`."""
    if len(numbers) != 1:
        raise InputError(f"directions={FLAGS.directions}: give one image, as --seeds=0")
    if FLAGS.classes and len(set(classes)) > 1:
        raise InputError(f"directions={FLAGS.directions}: give one class, as --classes=0")
    label = int(walks.labels_in_turn(numbers, classes)[0]) if classes else None
    latents = latents_of(source, numbers)
    if source.has_styles:  # a GAT: along principal components of its styles
        gat = source.network.generator
        if space() == "z":
            latents = np.asarray(gat.style(latents, np.full(1, label, np.int32)))
            source = source.styled()
        found, deviations = directions.style_directions(gat, label, FLAGS.directions)
        found = found * deviations[:, None]
    else:
        found, _ = directions.principal_directions(source.network, FLAGS.directions)
    z = directions.along(latents[0], found, np.asarray(DEVIATIONS))
    labels = np.full(len(z), label, np.int32) if classes else None
    images = np.concatenate([*walks.image_batches(source, z, labels, batch_size(source))])
    save(out, pictures.enlarged_grid(images, len(DEVIATIONS), FLAGS.scale))
    columns = ", ".join(f"{deviations:g}" for deviations in DEVIATIONS)
    return f"a row for each of {len(found)} directions, at {columns} standard deviations"


def save(out, picture):
    """Writes a uint8 picture (H, W, 3) to the path `out`, or says why not."""
    with writing(out):
        pictures.save_png(out, picture)


if __name__ == "__main__":
    command.run(main)
