"""Measures a generator: `ladagan evaluate --run_dir=runs/cifar10 --metrics=fid,kid,is,prdc`.

Prints a table and appends a JSON line per metric, each with its whole protocol.
"""

from absl import flags

from ladagan_tf import command
from ladagan_tf.flags import evaluate as evaluate_flags

if __name__ == "__main__":
    command.parse(evaluate_flags)  # before TensorFlow is imported

import contextlib
import dataclasses
import functools
import pathlib

from ladagan_tf import devices, zoo
from ladagan_tf.cost import flow as flow_cost
from ladagan_tf.cost import sample, speed
from ladagan_tf.data import dataset_info, pipeline, sources
from ladagan_tf.data.source import TFDS_PREFIX
from ladagan_tf.errors import InputError, reason, warn
from ladagan_tf.evaluation import (
    by_class,
    collection,
    features,
    images,
    measure,
    protocol,
    report,
    sweep,
)
from ladagan_tf.files import check_writable, refuse_input, writing
from ladagan_tf.flags import common
from ladagan_tf.locks import locked
from ladagan_tf.models.gat.decoded import DecodedGenerator
from ladagan_tf.reports import keeping
from ladagan_tf.runs import STRENGTHS, directory
from ladagan_tf.sampling import image_files, opening, seeds
from ladagan_tf.sampling.sampler import (
    check_guidance,
    check_psi,
    check_steps,
    flow_of,
    of_network,
)
from ladagan_tf.systems import listed, refuse
from ladagan_tf.weights import vae_weights

FLAGS = flags.FLAGS


# What can be swept: flag -> (argument of `opening.open_source`, kind of its values, their check).
SWEEPS = {
    "sweep_psi": ("psi", float, check_psi),
    "sweep_guidance": ("guidance", float, check_guidance),
    "sweep_truncation_z": ("truncation_z", float, seeds.check_truncation),
    "sweep_sampler_steps": ("sampler_steps", int, check_steps),
    "sweep_average": (
        "average",
        str,
        lambda name: opening.check_average(FLAGS.run_dir, FLAGS.checkpoint, name),
    ),
}

# Flags of measuring, which --cost does not.
MEASURED_WITH = (
    *SWEEPS, "num_samples", "seed", "repeats", "labels", "save_samples", "dataset", "data_dir",
    "num_real", "metrics", "by_class", "engine", "features", "inception_weights", "out",
    "batch_size", "truncation_z",
)  # fmt: skip
# Flags that say what a generator makes, and how.
OF_A_GENERATOR = (
    "checkpoint", "ema", "average", "vae", "psi", "guidance", "truncation_z", "sampler",
    "sampler_steps", "precision", "labels", "seed", "repeats",
)  # fmt: skip


def main():
    """Measures what the flags name, or reports its cost."""
    strategy = devices.make_strategy(FLAGS.strategy, FLAGS.virtual_cpus)
    with strategy.scope():
        if FLAGS.cost:
            report_cost()
        else:
            with locked(output()), locked_samples():
                evaluate(strategy)


def evaluate(strategy):
    """Measures what the flags name and reports it."""
    names_of = [name for name in ("run_dir", "model", "images") if FLAGS[name].value]
    if len(names_of) != 1:
        raise InputError("give one of --run_dir, --model and --images: what is to be measured")
    if FLAGS.preset:
        raise InputError(f"--preset={FLAGS.preset}: it needs --cost")
    if FLAGS.images:
        refuse(OF_A_GENERATOR, "it is for a generator; --images are there already")
    measure.check_names(FLAGS.metrics)  # before anything is downloaded for them
    check_writable(output())
    report.check_lines(output())
    swept, values = swept_values()
    # A value that changes something: whoever can take that can take the others.
    strong = next((value for value in values if value != STRENGTHS.get(swept)), values[0])
    generator = open_generator(**{swept: strong}) if swept else open_generator()
    given = images.open_images(FLAGS.images, FLAGS.num_samples) if FLAGS.images else None
    real = open_reference((generator or given).resolution)
    folder = real.about["images"] if isinstance(real, images.Images) else None
    extractor = features.open_extractor(
        feature_network(),
        metrics=FLAGS.metrics,
        dataset=dataset_name(),
        folder=folder,
        inception_path=FLAGS.inception_weights,
        cache_dir=FLAGS.cache_dir,
    )
    check_features(extractor)
    has_images = not real or collection.images_of(real) is not None
    names = measure.check_metrics(FLAGS.metrics, extractor and extractor.name, has_images)
    jit = devices.use_jit(FLAGS.jit)

    def sets_of(generator):
        return [given] if given else generated_sets(generator, real, extractor, strategy, jit)

    sets, failures, points = sets_of(generator), [], []
    each = (sets_of(open_generator(**{swept: v})) for v in values) if swept else [sets]
    with saved_samples(sets[0]) as archive:
        measured = protocol.evaluate_each(
            each,
            real,
            extractor,
            names,
            engine=FLAGS.engine,
            by_class=FLAGS.by_class,
            batch_size=FLAGS.batch_size or (generator.affordable(64) if generator else 64),
            strategy=strategy,
            jit=jit,
            cache_dir=FLAGS.cache_dir,
            archive=archive,
            on_failure=lambda name, error: failures.append(
                f"metrics={name}: {type(error).__name__}: {reason(error)[:150]}"
            ),
            sweep={"over": swept, "values": values} if swept else None,
        )
        for value, found in zip(values, measured, strict=True):
            # At once: whatever fails from here on, the numbers have been seen.
            if found:
                try:
                    print(report.table(found), flush=True)
                finally:  # and who read them, such as `head`, may be gone
                    written = report.write(found, output(), extractor.classes if extractor else ())
                print(f"\nwritten: {', '.join(map(str, written))}")
                points.append((value, found))
        if swept and points:
            report_sweep(swept, points)
        if points:
            write_report_again()
    if failures:
        raise InputError("; ".join(dict.fromkeys(failures)))


def swept_values():
    """What is swept, an argument of `open_generator`, and its values; (None, [None]) for nothing.

    Raises:
        InputError: for several sweeps, a value out of range, or what a sweep has no use for.
    """
    asked = [flag for flag in SWEEPS if FLAGS[flag].value is not None]
    if not asked:
        return None, [None]
    if len(asked) > 1:
        raise InputError(f"give one of {' and '.join(f'--{flag}' for flag in asked)}")
    flag, (argument, kind, check) = asked[0], SWEEPS[asked[0]]
    refuse((argument, "images", "save_samples"), f"not with --{flag}")
    values = [*listed(flag, kind, "numbers, as 0.5,0.7,1", some=True, distinct=True)]
    for value in values:
        try:
            check(value)
        except InputError as error:
            raise InputError(f"--{flag}={','.join(FLAGS[flag].value)}: {error}") from None
    return argument, values


def report_sweep(swept, points):
    """Prints the table of a sweep and draws its curves beside the output."""
    print(f"\n{sweep.table(swept, points)}", flush=True)
    path = output().with_name(f"sweep_{swept}.png")
    with writing(path):
        sweep.chart(path, swept, points)
    print(f"\nwritten: {path}")


def write_report_again():
    """Writes the page of --run_dir again, which shows the numbers, if it has one.

    Where it cannot be written, as of somebody else's run, a line warns: the numbers are elsewhere.
    """
    report = pathlib.Path(FLAGS.run_dir or "", keeping.REPORT)
    if FLAGS.run_dir and report.is_file():
        try:
            with writing(report, "run_dir"):
                keeping.write_report(report.parent)
        except (InputError, OSError) as error:
            warn(error)


def report_cost():
    """Prints sizes beside the paper's and, for one generator, how fast it runs here."""
    given = [name for name in ("run_dir", "model", "preset", "images") if FLAGS[name].value]
    if len(given) > 1 or FLAGS.images:
        raise InputError("--cost: give one of --run_dir, --model and --preset, or none of them")
    refuse(MEASURED_WITH, "not with --cost")
    if not FLAGS.run_dir and not FLAGS.model:
        refuse(OF_A_GENERATOR, "it is for a trained generator, by --run_dir or --model")
    if not given:
        print(sample.comparison())
        return
    if FLAGS.preset:
        print(sample.comparison([FLAGS.preset]))
        generator = of_network(sample.preset_generator(FLAGS.preset))
    else:
        generator = open_generator()
        if isinstance(generator.network, DecodedGenerator):
            print(sample.decoded_report(generator.network))
        elif generator.network:
            print(sample.comparison([]))
            print(sample.generator_row("this one", generator.network))
        if flow := flow_of(generator.network):
            print(f"a sample: {flow_cost.in_words(flow)}")
    print(speed.speed_report(generator, jit=devices.use_jit(FLAGS.jit)))


def open_generator(**swept):
    """The generator to measure, or None with --images; `swept`: what differs from the flags."""
    if FLAGS.images:
        return None
    vae = FLAGS.vae and vae_weights.find(FLAGS.vae, FLAGS.cache_dir)
    return common.open_generator(vae=vae, **swept)


def own_reference():
    """The folder of a --model of the zoo whose own reference is measured against; else None."""
    if FLAGS.dataset is not None or not FLAGS.model:
        return None
    place, about = opening.locate(FLAGS.model)
    return place if about else None


def feature_network():
    """--features; by default of a model of the zoo the classifier that comes with it."""
    own = own_reference() if FLAGS.features == features.AUTO else None
    return f"{features.CLASSIFIER}:{own / zoo.CLASSIFIER}" if own else FLAGS.features


def check_features(extractor):
    """Raises InputError for statistics of the zoo, but another network's features."""
    own, name = own_reference(), FLAGS.dataset or ""
    if name.startswith(zoo.PREFIX):
        path = zoo.file_of(name, zoo.CLASSIFIER, "dataset")
        features.check_features_of_zoo(path, f"--dataset={name}", extractor)
    elif own:
        features.check_features_of_zoo(own / zoo.CLASSIFIER, f"--model={FLAGS.model}", extractor)


def dataset_name():
    """--dataset, or what the run was trained on, or the reference of a model of the zoo."""
    if own := own_reference():
        return str(own / zoo.REFERENCE)
    if FLAGS.dataset is None and FLAGS.run_dir:
        return directory.RunDirectory(FLAGS.run_dir).flags().get("dataset")
    return FLAGS.dataset


def open_reference(resolution):
    """What `collection.open_real` returns; None where no metric compares with real images."""
    name = dataset_name()
    named = name and (name == sources.SHAPES or name.startswith((TFDS_PREFIX, zoo.PREFIX)))
    here = named or (name and pathlib.Path(images.split_part(name)[0]).exists())
    alone = FLAGS.metrics and set(FLAGS.metrics) <= set(measure.WITHOUT_REALS)
    if alone and not here and FLAGS.dataset is None:  # not even the run's set is needed
        return None
    if name is None:
        raise InputError("--dataset is required: the real images to compare with")
    if name == sources.SHAPES or name.startswith(TFDS_PREFIX):
        name = pipeline.open_dataset(name, resolution=resolution, data_dir=FLAGS.data_dir)
    if FLAGS.dataset is None and (pathlib.Path(name) / dataset_info.INFO_NAME).is_file():
        info = dataset_info.load_info(name)
        dataset_info.require_undamaged(info, "give --dataset, the set that is not")
    wanted = measure.needs(FLAGS.metrics, real=True)
    real = collection.open_real(name, FLAGS.num_real, bool(wanted.features or wanted.patches))
    if isinstance(real, collection.Collected) or real.labels is None:
        return real
    # Read once, for however many points and seeds.
    return dataclasses.replace(real, labels=functools.cache(real.labels))


def generated_sets(generator, real, extractor, strategy, jit):
    """Images of each of the --repeats seeds: a list of images.Images.

    Args:
        generator: Sampler.
        real: what `open_reference` returned.
        extractor: features.Extractor or None.
        strategy, jit: see `images.generated`.
    """
    count = FLAGS.num_samples
    if count is None:
        count = measure.count_to_generate(extractor and extractor.name, real and real.count)
    counts = None
    if FLAGS.labels == "proportional" and generator.num_classes:
        known = real.classes if isinstance(real, images.Images) else ()
        if len(known) != generator.num_classes:
            raise InputError(
                f"--labels=proportional: the real images have {len(known)} classes, the model "
                f"{generator.num_classes}"
            )
        counts = by_class.counted(real, "--labels=proportional")
    return [
        images.generated(generator, count, seed, FLAGS.labels, strategy, jit, counts)
        for seed in range(FLAGS.seed, FLAGS.seed + FLAGS.repeats)
    ]


@contextlib.contextmanager
def saved_samples(subject):
    """Yields the function which saves generated batches, or None; its failure comes at the end."""
    if not FLAGS.save_samples:
        yield None
        return
    path = pathlib.Path(FLAGS.save_samples)
    if FLAGS.save_samples == "npz":
        path = output().with_name(f"samples_{measure.images_in_words(subject.count)}.npz")
    check_writable(path, "save_samples", subject.count * subject.resolution**2 * 3)
    failures = []
    with (
        writing(path, "save_samples"),
        image_files.sample_archive(path, subject.count, subject.resolution) as add,
    ):

        def save(batch):
            try:
                if not failures:
                    add(batch)
            except OSError as error:
                failures.append(error)  # the measurement goes on

        yield save
        if failures:
            raise failures[0]


def locked_samples():
    """A lock on the file of --save_samples; beside the output that one's is enough."""
    if FLAGS.save_samples and FLAGS.images:
        raise InputError("--save_samples saves generated images; with --images there are none")
    if FLAGS.save_samples in (None, "", "npz"):
        return contextlib.nullcontext()
    if pathlib.Path(FLAGS.save_samples).suffix != ".npz":
        raise InputError(f"save_samples={FLAGS.save_samples}: give npz, or a path ending in .npz")
    refuse_input(FLAGS.save_samples, FLAGS.dataset or "", "save_samples")
    return locked(FLAGS.save_samples, "save_samples")


def output():
    """The file that records are appended to; what else is written lies beside it."""
    return pathlib.Path(FLAGS.out or pathlib.Path(FLAGS.run_dir or ".") / "metrics.jsonl")


if __name__ == "__main__":
    command.run(main)
