"""The metrics as functions of sets of images and of generators, however a caller has them.

Each measures as `evaluate.py` does, and returns numbers; `evaluate` has their protocol, too.
"""

import os
import pathlib
from typing import NamedTuple

import numpy as np

from ladagan_tf import devices, zoo
from ladagan_tf.data.dataset_info import INFO_NAME
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import collection, measure, protocol
from ladagan_tf.evaluation import images as sets
from ladagan_tf.evaluation.features import (
    Extractor,
    check_features_of_zoo,
    open_extractor,
)
from ladagan_tf.evaluation.images import Images
from ladagan_tf.sampling import opening
from ladagan_tf.sampling.sampler import PIXELS, check_count

# What images are taken from.
Source = np.ndarray | Images | opening.Openable
AT_ONCE = 64  # images per call of the networks


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]: of generated images near real ones, and of real near generated ones."""

    precision: float
    recall: float


class DensityCoverage(NamedTuple):
    """Their robust forms: density, which may exceed 1, and coverage in [0, 1]."""

    density: float
    coverage: float


def evaluate(
    real: Source | None,
    generated: Source,
    metrics: tuple[str, ...] | list[str] | str = (),
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
    progress: bool = False,
) -> list[dict]:
    """Measures generated images against real ones, as `evaluate.py` does.

        records = evaluation.evaluate("data/photos-64", "runs/photos", ["fid", "prdc"])

    Args:
        real: the real images: a uint8 array (N, S, S, 3); the name of a prepared set, or a part of
            one as "data/emoji-64[1890:]"; a folder, .zip or .npz of images; an .npz of their `mu`
            and `sigma`; "zoo:NAME", these of the training images of a model of the zoo in the
            features of "classifier:zoo:NAME"; or `images.Images`. Also a generator, see `generated`
            (but not one of the zoo by its name). None where nothing is compared with: is, ppl.
        generated: as `real`; or a generator: a keras.Model, as of `ladagan_tf.load`; the name of
            one: a run, a .keras file, a folder of `ladagan_tf.export`, hf:USER/REPO, zoo:NAME; or a
            function with an attribute `noise_dim`, from latents to float images in [-1, 1], see
            `sampler.of_function`. Its images are those of the seeds 0 to `count` - 1;
            `images.generated` makes others, with other labels.
        metrics: names as of `--metrics`, or one; none: the defaults of the features.
        features: as of `--features`: "inception", "classifier" (that of the prepared set `real`),
            "classifier:FILE.keras", "classifier:zoo:NAME", "dinov2", "none"; or an Extractor.
        count: int, how many images a generator makes; None: 50,000 with Inception, else as many as
            there are real ones, at most 50,000. Sets of images are taken whole.
        batch_size: int, images per call of the networks; None: 64, or fewer large ones.
        progress: bool, show progress bars.

    Returns:
        List of dicts, one per number, see `protocol.evaluate`: among others "metric", "name",
        "value", "spread" and the "protocol"; `report.table` makes a text of them.

    Raises:
        InputError: for what is neither images nor a generator, features or metrics that there are
            not, or sets that do not suit each other.
    """
    for name, value in (("count", count), ("batch_size", batch_size)):
        if value is not None:
            check_count(name, value)
    extractor = _extractor(features, real)
    kind = extractor and extractor.name
    names = (metrics,) if isinstance(metrics, str) else tuple(metrics or ())
    wanted = measure.needs(names, real=True)
    reals = _reals(real, count, bool(wanted.features or wanted.patches))
    if isinstance(real, str) and real.startswith(zoo.PREFIX):
        own = zoo.file_of(real, zoo.CLASSIFIER, "dataset")
        check_features_of_zoo(own, real, extractor)
    has_images = not reals or collection.images_of(reals) is not None
    names = measure.check_metrics(names, kind, has_images)
    if count is None:
        count = measure.count_to_generate(kind, reals and reals.count)
    made = _images(generated, count)
    return protocol.evaluate(
        [made],
        reals,
        extractor,
        names,
        batch_size=batch_size or min(AT_ONCE, max(1, PIXELS // made.resolution**2)),
        jit=devices.use_jit("auto"),
        progress=progress,
    )


def frechet_distance(
    real: Source,
    generated: Source,
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
) -> float:
    """Frechet distance of two sets: FID with Inception, FCD with a classifier, FD with DINOv2.

        evaluation.frechet_distance("data/photos-64", "runs/photos")

    Heusel et al. (2017), Eq. 6. Arguments and errors as of `evaluate`; `frechet.frechet_distance`
    is the function of means and covariances.
    """
    extractor = _extractor(features, real)
    if extractor is None:
        raise InputError(
            "features=none: this distance is of features; sliced_wasserstein_distance is not"
        )
    metric = measure.DEFAULTS[extractor and extractor.name][0]
    return _values(real, generated, metric, extractor, count, batch_size)[metric]


def kernel_distance(
    real: Source,
    generated: Source,
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
) -> float:
    """KID, the unbiased squared maximum mean discrepancy of the full sets, which may be negative.

    Binkowski et al. (2018), Sec. 4; of more than 10,000 real images, 10,000 drawn with a fixed
    seed. Arguments and errors as of `evaluate`.
    """
    return _values(real, generated, "kid", features, count, batch_size)["kid"]


def precision_recall(
    real: Source,
    generated: Source,
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
) -> PrecisionRecall:
    """Improved precision and recall with balls to the 3rd neighbour.

    Kynkaanniemi et al. (2019), Eq. 1 and 2. Arguments and errors as of `evaluate`.
    """
    found = _values(real, generated, "prdc", features, count, batch_size)
    return PrecisionRecall(found["precision"], found["recall"])


def density_coverage(
    real: Source,
    generated: Source,
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
) -> DensityCoverage:
    """Density and coverage with balls to the 5th neighbour.

    Naeem et al. (2020), Sec. 3. Arguments and errors as of `evaluate`.
    """
    found = _values(real, generated, "prdc", features, count, batch_size)
    return DensityCoverage(found["density"], found["coverage"])


def sliced_wasserstein_distance(
    real: Source, generated: Source, count: int | None = None, batch_size: int | None = None
) -> float:
    """Sliced Wasserstein distance of patches, times 1,000; no network. Sizes must be equal.

    Karras et al. (2018), Sec. 5. Arguments and errors as of `evaluate`.
    """
    return _values(real, generated, "swd", "none", count, batch_size)["swd"]


def inception_score(
    generated: Source,
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
) -> float:
    """Inception Score, or that of a classifier's classes: the mean over ten splits.

    Salimans et al. (2016), Sec. 4. Arguments and errors as of `evaluate`.
    """
    return _values(None, generated, "is", features, count, batch_size)["is"]


def perceptual_path_length(
    generator: Source,
    features: str | Extractor = "inception",
    count: int | None = None,
    batch_size: int | None = None,
) -> float:
    """How fast features change along great circles between latents, on average.

    Karras et al. (arXiv 1812.04948), Sec. 4.1, in z, with squared distances of these features where
    they have LPIPS: compare it in the same features only. See `metrics.path_lengths`.

    Args:
        generator: see `evaluate`; images are refused.
        features, batch_size: see `evaluate`.
        count: int, pairs of images; None: 50,000.

    Returns:
        float >= 0.

    Raises:
        InputError: see `evaluate`; or if it is no generator, or computes in half precision.
    """
    return _values(None, generator, "ppl", features, count, batch_size)["ppl"]


def _values(real, generated, metric, features, count, batch_size):
    """The numbers of one metric of `--metrics`, by their names."""
    records = evaluate(real, generated, metric, features, count, batch_size)
    return {record["metric"]: record["value"] for record in records}


def _extractor(features, real):
    """The feature network of a name, which may be that of the prepared set `real`."""
    if isinstance(features, Extractor | None):
        return features
    if not isinstance(features, str):
        raise InputError(f"features={features!r}: give a name, as inception, or an Extractor")
    named = isinstance(real, str | os.PathLike)
    folder = sets.split_part(real)[0] if named else None
    found = folder is not None and pathlib.Path(folder, INFO_NAME).is_file()
    return open_extractor(features, folder=pathlib.Path(folder) if found else None)


def _reals(source, count, with_images):
    """What `protocol.evaluate` takes as real images; `with_images`: see `collection.open_real`."""
    if source is None:
        return None
    named = isinstance(source, str | os.PathLike)
    if named and (str(source).startswith(zoo.PREFIX) or not opening.is_generator(source)):
        return collection.open_real(source, with_images=with_images)
    return _images(source, count)


def _images(source, count):
    """Images of a `Source`; of a generator `count`, or as many as are published."""
    if isinstance(source, Images):
        return source
    if isinstance(source, str | os.PathLike) and not opening.is_generator(source):
        return sets.open_images(source)
    if hasattr(source, "__array__"):
        return sets.of_array(source)
    sampler = opening.sampler_of(source)
    jit = devices.use_jit("auto") and sampler.network is not None  # XLA compiles no other function
    count = measure.PUBLISHABLE_IMAGES if count is None else count
    return sets.generated(sampler, count, jit=jit)
