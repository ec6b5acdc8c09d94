"""One evaluation: what is measured against what, and records that say so completely."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import by_class as classes_apart
from ladagan_tf.evaluation import measure, tfgan
from ladagan_tf.evaluation.collection import (
    ALL,
    SAMPLE_SEED,
    Collected,
    collect,
    images_of,
    reference,
)
from ladagan_tf.evaluation.features import Extractor
from ladagan_tf.evaluation.images import Images
from ladagan_tf.evaluation.measure import PUBLISHABLE_IMAGES
from ladagan_tf.runs.environment import environment

# How GAT's authors sample what they publish; their truncation of 0.3 is a psi of 0.7 here.
GAT_PUBLISHED = {
    "count": PUBLISHABLE_IMAGES,
    "labels": "random",
    "psi": 0.7,
    "guidance": 1.0,
    "vae": "sd-vae-ft-ema.safetensors",
}
LONG_S, LARGE = 120, 4e9  # seconds and bytes of work that is announced before it begins
_SAMPLED = f"; {{}} real images, drawn with seed {SAMPLE_SEED} where there are more"


def evaluate(
    generated: list[Images],
    real: Images | Collected | None,
    extractor: Extractor | None,
    names: Sequence[str],
    **how,
) -> list[dict]:
    """Measures one point: sets of generated images, one per seed.

    Args:
        generated: the sets.
        real, extractor, names, **how: see `evaluate_each`.

    Returns:
        List of dicts, see `evaluate_each`.
    """
    (records,) = evaluate_each([generated], real, extractor, names, **how)
    return records


def evaluate_each(
    points: Iterable[list[Images]],
    real: Images | Collected | None,
    extractor: Extractor | None,
    names: Sequence[str],
    *,
    engine: str = "ours",
    by_class: bool = False,
    batch_size: int = 64,
    strategy: tf.distribute.Strategy | None = None,
    jit: bool = False,
    cache_dir: str | os.PathLike | None = None,
    archive: Callable | None = None,
    progress: bool = True,
    on_failure: Callable | None = None,
    sweep: dict | None = None,
) -> Iterator[list[dict]]:
    """Measures sets of generated images against real ones, which are read once.

    Args:
        points: iterable, for each point a list of images.Images, one per seed.
        real: images.Images; or collection.Collected as `given_moments` returns it; None if no
            metric compares with real images.
        extractor: features.Extractor, or None.
        names: what `measure.check_metrics` returned.
        engine: see `measure.measure`.
        by_class: bool, also measure each class, see `by_class.intra_frechet`.
        batch_size, strategy, jit: see `collection.collect`.
        cache_dir: see `collection.reference`.
        archive: function called with each generated uint8 batch of the first seed, or None.
        progress: bool, show progress bars.
        on_failure: function called with the name and the exception of a metric that cannot be
            computed, which loses that metric only; None raises the exception.
        sweep: dict of plain values to note in each protocol, what the points are of; or None.

    Yields:
        List of dicts of a point, one per number: "name", "metric", "value", "spread",
        "spread_over", "lower_is_better", "details" and the whole "protocol".

    Raises:
        InputError: before anything is measured, where sets, network and metrics do not suit each
            other; see `measure.check_counts` and `by_class.check`.
    """
    real = real or Collected(about={"images": "none"})
    how = {"batch_size": batch_size, "strategy": strategy, "jit": jit}
    measured = None
    for generated in points:
        _check_sets(generated, real, extractor, names, engine)
        if by_class:
            classes_apart.check(generated[0], real, extractor)
        if measured is None:
            if progress and extractor:
                _announce(names, generated, real, extractor.dimension, by_class)
            wanted = _needs(names, True, engine, by_class)
            bar = "real images" if progress else None
            measured = _reference(real, extractor, wanted, cache_dir=cache_dir, progress=bar, **how)
            of_classes = None
            if by_class:
                named = classes_apart.names_classes(extractor, real.classes)
                of_classes = real.classes, real.labels(), named
        repeats = []
        for i, images in enumerate(generated):
            bar = f"generated images, set {i + 1} of {len(generated)}" if progress else None
            keep = archive if i == 0 else None
            wanted = _needs(names, False, engine, by_class)
            if by_class and named:
                wanted = dataclasses.replace(wanted, logits=True)
            found = collect(images, extractor, wanted, archive=keep, progress=bar, **how)
            repeats.append(
                _computed(names, found, measured, images, extractor, engine, of_classes, on_failure)
            )
        everywhere = [name for name in repeats[0] if all(name in each for each in repeats)]
        repeats = [[m for name in everywhere for m in computed[name]] for computed in repeats]
        protocol = {
            "generated": generated[0].about,
            "sets": len(generated),
            "reference": measured.about,
            "features": extractor.about if extractor else "none",
            "engine": engine,
            **({"sweep": sweep} if sweep else {}),
            "environment": environment(),
        }
        if "guidance" in generated[0].about and "paper" not in generated[0].about:  # a GAT
            protocol["unlike_gats_authors"] = _unlike_published(generated[0].about)
        yield _records(repeats, protocol, extractor and extractor.name, generated, measured)


def _reference(real, extractor, wanted, **how):
    """What `wanted` says of the real images, `about` what they are in a protocol."""
    if isinstance(real, Images):
        found, _ = reference(real, extractor, wanted, **how)
        return dataclasses.replace(found, about=real.about)
    if not real.images or not (wanted.features or wanted.patches):
        return real
    bank, _ = reference(real.images, extractor, wanted, **how)
    about = {**real.about, "compared": real.images.about}
    return dataclasses.replace(real, features=bank.features, patches=bank.patches, about=about)


def _computed(names, found, real, images, extractor, engine, of_classes, on_failure):
    """Dict from what was asked for to its measurements, of one set."""
    computed = {}
    for name in names:
        with _lost_alone(name, on_failure):
            computed[name] = measure.measure([name], found, real, engine)
    if of_classes:
        real_classes, real_labels, named = of_classes
        pairs = (found.features, images.labels()), (real.features, real_labels)
        metric = f"intra_{measure.DEFAULTS[extractor.name][0]}"
        with _lost_alone(metric, on_failure):
            computed[metric] = [classes_apart.intra_frechet(metric, *pairs, real_classes)]
        if named:
            right = classes_apart.accuracy(found.logits, images.labels(), real_classes)
            computed["class_accuracy"] = [right]
    return computed


def _records(repeats, protocol, kind, generated, real):
    return [
        {
            "name": measure.metric_name(
                m.metric, kind, generated[0].count, None if m.alone else m.reals or real.count
            ),
            "metric": m.metric,
            "value": m.value,
            "spread": m.spread,
            "spread_over": m.spread_over,
            "lower_is_better": m.lower_is_better,
            "definition": m.definition + (_SAMPLED.format(m.reals) if m.reals else ""),
            "details": m.details,
            "protocol": protocol,
        }
        for m in over_repeats(repeats)
    ]


def _check_sets(generated, real, extractor, names, engine):
    """Refuses what could only fail after everything was measured."""
    compared = images_of(real)
    sets = [*generated, compared] if compared else generated
    for images in sets:
        if extractor:
            extractor.check(images.resolution)
    if "swd" in names and len({images.resolution for images in sets}) > 1:
        raise InputError(
            f"metrics=swd: the real images have {compared.resolution} px, what is measured "
            f"{generated[0].resolution}; it compares images of one size"
        )
    known = isinstance(real, Collected) and real.mean is not None
    if not (known or isinstance(real, Images)):
        for name in names:
            if name not in measure.WITHOUT_REALS:
                raise InputError(f"metrics={name}: it needs real images to compare with")
    if known and extractor and len(real.mean) != extractor.dimension:
        raise InputError(
            f"dataset={real.about.get('statistics')}: its mu has {len(real.mean)} features, but "
            f"features={extractor.name} gives {extractor.dimension}"
        )
    if "sfid" in names and isinstance(real, Collected) and real.spatial_mean is None:
        raise InputError(
            f"metrics=sfid: dataset={real.about.get('statistics')} has no mu_s and sigma_s that fit"
        )
    if "ppl" in names:
        _check_paths(generated)
    if engine == "tfgan":
        if not set(names) & set(measure.TFGAN):
            raise InputError(
                f"engine=tfgan: it computes {', '.join(measure.TFGAN)}, and of metrics="
                f"{','.join(names)} none; leave it out"
            )
        if known:
            raise InputError("engine=tfgan needs the reference's images, not mu and sigma")
        tfgan.check()
    for images in generated:
        measure.check_counts(names, images.count, compared and compared.count)


def _check_paths(generated):
    """Refuses paths between latents where there are none, or where their steps would be lost."""
    for images in generated:
        if images.steps is None:
            raise InputError(
                f"metrics=ppl: it follows paths between latents, and {images.about['images']} is "
                "images; give a generator, by --run_dir or --model"
            )
        if (precision := images.about.get("precision", "")) not in ("", "float32", "as exported"):
            raise InputError(
                f"metrics=ppl: with --precision={precision} the images of a step would hardly "
                "differ; give float32"
            )


def _announce(names, generated, real, dimension, by_class):
    compared = images_of(real)
    real = compared and compared.count
    seconds, size = measure.estimate(names, generated[0].count, real, dimension)
    seconds *= len(generated)
    if by_class:
        size = max(size, 4.0 * dimension * (generated[0].count + real))
    if seconds > LONG_S or size > LARGE:
        print(
            f"comparing all images with each other will take about {seconds / 60:.0f} minutes and "
            f"{size / 1e9:.1f} GB, after they were read",
            flush=True,
        )


@contextlib.contextmanager
def _lost_alone(name, on_failure):
    try:
        yield
    except Exception as error:  # whatever it is, the other metrics are worth hours
        if on_failure is None:
            raise
        on_failure(name, error)


def _unlike_published(about):
    """In words, where a GAT is sampled in another way than its authors do."""
    unlike = [
        f"{name} {about.get(name, 'not known')} instead of {value}"
        for name, value in GAT_PUBLISHED.items()
        if about.get(name) != value
    ]
    return ", ".join([*unlike, "uint8 rounded instead of cut off"])


def _needs(names, real, engine, by_class):
    wanted = measure.needs(names, real=real, engine=engine)
    return dataclasses.replace(wanted, features=ALL) if by_class else wanted


def over_repeats(repeats: list[list[measure.Measurement]]) -> list[measure.Measurement]:
    """Joins the measurements of several seeds: their mean, and their spread.

    Args:
        repeats: list of lists as `measure` returns them, one per seed.

    Returns:
        List of Measurement; with one repeat, that of `measure`.
    """
    if len(repeats) == 1:
        return repeats[0]
    joined = []
    for same in zip(*repeats, strict=True):
        values = [m.value for m in same]
        joined.append(
            dataclasses.replace(
                same[0],
                value=float(np.mean(values)),
                spread=float(np.std(values, ddof=1)),
                spread_over=f"{len(values)} seeds",
                details={**_mean_details([m.details for m in same]), "values": values},
            )
        )
    return joined


def _mean_details(given):
    """Of plain values of one form each: the mean of their numbers; what is no number, of the first.

    Entries that one of them lacks, as the distance of a class with few images, are left out.
    """
    first = given[0]
    if isinstance(first, dict):
        shared = [name for name in first if all(each.get(name) is not None for each in given)]
        return {name: _mean_details([each[name] for each in given]) for name in shared}
    if isinstance(first, list):
        return [_mean_details(list(each)) for each in zip(*given, strict=True)]
    if all(each == first for each in given) or isinstance(first, str | None):
        return first
    return float(np.mean(given))
