"""From collected images to named numbers, each with what it means beside it."""

import dataclasses
import time

import numpy as np

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import metrics, tfgan
from ladagan_tf.evaluation.collection import ALL, Needs, sampled_rows
from ladagan_tf.evaluation.features import CLASSIFIER, DINOV2, INCEPTION
from ladagan_tf.evaluation.frechet import frechet_distance
from ladagan_tf.evaluation.sliced import sliced_wasserstein

SUBSETS, SUBSET_SIZE, SPLITS = 100, 1000, 10
REALS = 10_000  # at most, where every image is compared with every other: as ADM's evaluation
NEAR, DENSE = 3, 5  # which neighbour gives the radius of precision and recall, of density
# Images that a metric needs, where two are not enough.
FEWEST_GENERATED, FEWEST_REAL = {"is": SPLITS, "prdc": NEAR + 1}, {"prdc": DENSE + 1}
METRICS = (
    "fid", "sfid", "fcd", "fd", "kid", "is", "prdc", "authenticity", "modes", "swd", "ppl",
)  # fmt: skip
WITHOUT_REALS = ("is", "ppl")  # which compare with nothing
PUBLISHABLE_IMAGES = 50_000
# What each kind of feature network can be asked for, and what it is asked for by default.
DEFAULTS = {
    INCEPTION: ("fid", "sfid", "kid", "is", "prdc"),
    CLASSIFIER: ("fcd", "is", "prdc", "modes", "swd"),
    DINOV2: ("fd", "kid", "prdc"),
    None: ("swd",),
}
ALLOWED = {
    INCEPTION: ("fid", "sfid", "kid", "is", "prdc", "authenticity", "swd", "ppl"),
    CLASSIFIER: ("fcd", "kid", "is", "prdc", "authenticity", "modes", "swd", "ppl"),
    DINOV2: ("fd", "kid", "prdc", "authenticity", "swd", "ppl"),
    None: ("swd",),
}


@dataclasses.dataclass(frozen=True)
class Measurement:
    """One number.

    Attributes:
        metric: its name.
        value: float.
        lower_is_better: bool.
        definition: str, constants and source.
        spread: float or None, a standard deviation.
        spread_over: what the spread is over, e.g. "10 splits".
        details: dict of further plain values.
        reals: int, how many real images it is of, where that is not all; None: all.
        alone: bool, whether it compares with no real images, and its name tells none.
    """

    metric: str
    value: float
    lower_is_better: bool
    definition: str
    spread: float | None = None
    spread_over: str = ""
    details: dict = dataclasses.field(default_factory=dict)
    reals: int | None = None
    alone: bool = False


def check_metrics(names, extractor, real_has_images=True):
    """Checks that these metrics exist for a feature network and a reference, and are defined there.

    Args:
        names: sequence of str; empty for the defaults.
        extractor: name of the feature network, or None.
        real_has_images: bool, False where only the reference's moments are known.

    Returns:
        Tuple of str.

    Raises:
        InputError: naming the metric and what is accepted.
    """
    names = tuple(names) or (DEFAULTS[extractor] if real_has_images else DEFAULTS[extractor][:1])
    check_names(names)
    for name in names:
        if name not in ALLOWED[extractor]:
            raise InputError(
                f"metrics={name} is not defined with features={extractor or 'none'}: that has "
                f"{', '.join(ALLOWED[extractor])} (fid is Inception's, fcd the classifier's, "
                "fd DINOv2's)"
            )
        if not real_has_images and name not in ("fid", "sfid", "fcd", "fd", *WITHOUT_REALS):
            raise InputError(
                f"metrics={name} needs the reference's images; mu and sigma alone give fid, is and "
                "ppl, with mu_s and sigma_s sfid"
            )
    return names


def check_names(names):
    """Raises InputError for a name that is no metric's."""
    for name in names:
        if name not in METRICS:
            raise InputError(f"metrics={name}: give {', '.join(METRICS)}")


def check_counts(names, generated, real):
    """Checks that there are enough images for every metric.

    Args:
        names: what `check_metrics` returned.
        generated, real: ints; None where it is not known.

    Raises:
        InputError: naming the metric and how many it needs.
    """
    sets = (("generated", generated, FEWEST_GENERATED), ("real", real, FEWEST_REAL))
    for name in names:
        for what, count, fewest in sets:
            needed = fewest.get(name, 2)
            if count is not None and count < needed:
                raise InputError(
                    f"metrics={name}: it needs at least {needed} {what} images; there are {count}"
                )


def needs(names, real, engine="ours"):
    """What `collection.collect` has to keep for these metrics, of the real or generated images.

    Args:
        names: of metrics.
        real: bool, of the real images.
        engine: "ours" or "tfgan".

    Returns:
        Needs.
    """
    compared = {"kid", "prdc", "authenticity"} & set(names)
    whole = {"fid", "fcd", "fd"} & set(names) if engine == "tfgan" else compared and not real
    whole = whole or "authenticity" in names  # a copy of an image that is left out would not show
    return Needs(
        features=ALL if whole else REALS if compared else 0,
        logits="is" in names and not real,
        patches="swd" in names,
        spatial="sfid" in names,
        path="ppl" in names and not real,
    )


def count_to_generate(extractor, available):
    """How many images to generate unless a number is given.

    Args:
        extractor: name of the feature network, or None.
        available: int, real images; None if that is not known.

    Returns:
        int: `PUBLISHABLE_IMAGES`; with other features than Inception's no more than real ones.
    """
    if extractor == INCEPTION or not available:
        return PUBLISHABLE_IMAGES
    return min(available, PUBLISHABLE_IMAGES)


def measure(names, generated, real, engine="ours"):
    """Computes metrics.

    Args:
        names: what `check_metrics` returned.
        generated, real: collection.Collected, with what `needs` says.
        engine: "ours", or "tfgan" for FID, KID and IS by tensorflow-gan, an independent
            implementation.

    Returns:
        List of Measurement; prdc gives five, kid two where both sets have 1,000 images.

    Raises:
        InputError: for a number that is not finite, which no file of JSON can hold.
    """
    computed = []
    for name in names:
        compute = _tfgan if engine == "tfgan" and name in TFGAN else _OURS[name]
        computed += compute(name, generated, real)
    for m in computed:
        if not np.isfinite(m.value):
            raise InputError(f"{m.metric} is {m.value}, not a finite number")
    return computed


def _compared(real):
    """The real features that every generated image is compared with, and a `reals`."""
    rows = sampled_rows(len(real.features), REALS)
    return real.features[rows], len(rows) if len(rows) != real.count else None


def estimate(names, generated, real, dimension):
    """What comparing every image with every other will take on this machine.

    Args:
        names: what `check_metrics` returned.
        generated, real: ints, numbers of images; `real` None where there are only moments.
        dimension: int, features of an image.

    Returns:
        (seconds, bytes), floats: (0.0, 0.0) if no metric compares images.
    """
    every, reals = real or 0, min(real or 0, REALS)
    crossed, own = generated * reals, (generated**2 + reals**2) / 2
    pairs = ("kid" in names) * (crossed + own) + ("prdc" in names) * (3 * crossed + own)
    pairs += ("authenticity" in names) * (generated + min(generated, every)) * every
    if not pairs:
        return 0.0, 0.0
    rows = np.random.default_rng(0).standard_normal((512, dimension))
    start = time.perf_counter()
    metrics.nearest_squared(rows, DENSE)
    per_pair = (time.perf_counter() - start) / len(rows) ** 2
    blocks = 3 * 8 * 2048 * (2048 + dimension)
    kept = every if "authenticity" in names else reals
    return pairs * per_pair, 4.0 * dimension * (generated + kept) + blocks


def _frechet(name, generated, real):
    value = frechet_distance(real.mean, real.covariance, generated.mean, generated.covariance)
    return [Measurement(name, value, True, "Frechet distance of Gaussians (Heusel 2017, Eq. 6)")]


def _spatial_frechet(name, generated, real):
    value = frechet_distance(
        real.spatial_mean,
        real.spatial_covariance,
        generated.spatial_mean,
        generated.spatial_covariance,
    )
    text = "Frechet distance of 7 x 17 x 17 spatial features, mixed_6/conv (Nash 2021; as ADM)"
    return [Measurement(name, value, True, text)]


def _kernel(name, generated, real):
    text = "squared MMD, k(x,y) = (x.y/D + 1)^3, unbiased (Binkowski 2018, Sec. 4)"
    features, reals = _compared(real)
    value = metrics.kernel_distance(features, generated.features)
    found = [Measurement(name, value, True, f"{text}, full sets", reals=reals)]
    if min(len(features), generated.count) >= SUBSET_SIZE:
        mean, spread = metrics.kernel_distance_subsets(
            features, generated.features, SUBSETS, SUBSET_SIZE
        )
        over = f"{SUBSETS} subsets of {SUBSET_SIZE}"
        found.append(
            Measurement(f"{name}_subsets", mean, True, f"{text}, {over}", spread, over, reals=reals)
        )
    return found


def _score(name, generated, real):
    mean, spread = metrics.inception_score(generated.logits, SPLITS)
    text = (
        f"exp E KL(p(y|x) || p(y)), {SPLITS} splits after a fixed shuffle (Salimans 2016, Sec. 4)"
    )
    return [Measurement(name, mean, False, text, spread, f"{SPLITS} splits")]


def _prdc(name, generated, real):
    features, reals = _compared(real)
    near, dense = _radii(real, features, NEAR), _radii(real, features, DENSE)
    precision, recall = metrics.precision_recall(features, generated.features, NEAR, radii=near)
    density, coverage = metrics.density_coverage(features, generated.features, DENSE, radii=dense)
    balls = "balls to the 3rd neighbour, borders included (Kynkaanniemi 2019, Eq. 1-2)"
    robust = "balls to the 5th neighbour, borders included (Naeem 2020, Sec. 3)"
    found = [
        Measurement("precision", precision, False, balls),
        Measurement("recall", recall, False, balls),
        Measurement(
            "f_score", _f_score(precision, recall), False, f"harmonic mean of both; {balls}"
        ),
        Measurement("density", density, False, robust),
        Measurement("coverage", coverage, False, robust),
    ]
    return [dataclasses.replace(m, reals=reals) for m in found]


def _radii(real, features, k):
    """What `metrics.squared_radii` gives of the compared features, of any k up to `DENSE`."""
    if real.nearest is None:  # once, whatever is measured against them
        real.nearest = metrics.nearest_squared(features, min(DENSE, len(features) - 1))
    return real.nearest[:, k - 1]


def _authenticity(name, generated, real):
    value = metrics.authenticity(real.features, generated.features)
    text = "share farther from the nearest real image than its nearest other one (Alaa 2022)"
    return [Measurement(name, value, False, text)]


def _f_score(precision, recall):
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def _modes(name, generated, real):
    found = metrics.mode_coverage(real.class_counts, generated.class_counts)
    details = {
        "classes": found.classes,
        "total_variation": found.total_variation,
        "real_counts": real.class_counts.tolist(),
        "generated_counts": generated.class_counts.tolist(),
    }
    text = "classes with an image, by the classifier, of those with a real one"
    return [Measurement(name, found.hit, False, text, details=details)]


def _sliced(name, generated, real):
    sides = sliced_wasserstein(real.patches, generated.patches)
    text = "x1000; 7x7 patches of a Laplacian pyramid, 512 projections (Karras 2018, Sec. 5)"
    details = {str(k): v for k, v in sides.items()}
    reals = real.patches.count if real.patches.count != real.count else None
    return [Measurement(name, sides["mean"], True, text, details=details, reals=reals)]


def _path(name, generated, real):
    value = metrics.perceptual_path_length(generated.path)
    text = (
        "squared distance of these features, which take LPIPS's place, of images of latents "
        f"{metrics.PATH_STEP:g} apart on the great circle between two, over {metrics.PATH_STEP:g} "
        "squared; mean within the 1st and 99th percentile (Karras 2019, Sec. 4.1)"
    )
    details = {"pairs": len(generated.path), "median": float(np.median(generated.path))}
    return [Measurement(name, value, True, text, details=details, alone=True)]


def _tfgan(name, generated, real):
    reals = None
    if name == "is":
        value, text = tfgan.inception_score(generated.logits), "classifier score, one split"
    elif name == "kid":
        features, reals = _compared(real)
        value, text = tfgan.kernel_distance(features, generated.features), "kernel distance"
    else:
        value, text = tfgan.frechet_distance(real.features, generated.features), "Frechet distance"
    text = f"tensorflow-gan, {text} of activations"
    return [Measurement(name, value, name != "is", text, reals=reals)]


_OURS = {
    "fid": _frechet,
    "sfid": _spatial_frechet,
    "fcd": _frechet,
    "fd": _frechet,
    "kid": _kernel,
    "is": _score,
    "prdc": _prdc,
    "authenticity": _authenticity,
    "modes": _modes,
    "swd": _sliced,
    "ppl": _path,
}
TFGAN = ("fid", "fcd", "fd", "kid", "is")


def images_in_words(count):
    """2000 as "2k", 19962 as "19962": for names of metrics."""
    return f"{count // 1000}k" if count and count % 1000 == 0 else str(count)


def metric_name(metric, extractor, *counts):
    """A name that says what was measured how: ("fid", "inception", 50000) as fid_inception_50k."""
    words = [metric] if metric == "swd" or extractor is None else [metric, extractor]
    return "_".join([*words, "_vs_".join(images_in_words(c) for c in counts if c)])
