"""Intra-FID: how close the images of each class are to the real ones of it.

Miyato & Koyama, arXiv 1802.05637, Sec. 4.1. A generator that ignores its classes can have a good
FID, but no good intra-FID.
"""

import numpy as np

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.frechet import frechet_distance
from ladagan_tf.evaluation.images import Images
from ladagan_tf.evaluation.measure import Measurement

FEWEST = 50  # images of a class in either set; of fewer the covariance says too little


def check(generated, real, extractor):
    """Raises InputError unless some class has enough images in both sets, and there are features.

    Args:
        generated: images.Images.
        real: images.Images, or something else where only moments are known.
        extractor: features.Extractor, or None.
    """
    if extractor is None:
        raise InputError("by_class: it needs a feature network; --features=none has none")
    if not generated.classes:
        raise InputError("by_class: what is measured has no classes")
    if not isinstance(real, Images) or not real.classes:
        raise InputError("by_class: the real images must be a prepared set with classes")
    if len(generated.classes) != len(real.classes):
        raise InputError(
            f"by_class: the real images have {len(real.classes)} classes, what is measured "
            f"{len(generated.classes)}"
        )
    ours, theirs = generated.classes, real.classes
    if ours != theirs and sorted(ours) == sorted(theirs):
        number = next(
            i for i, pair in enumerate(zip(ours, theirs, strict=True)) if len({*pair}) > 1
        )
        raise InputError(
            f"by_class: class {number} of the real images is {theirs[number]}, that of what is "
            f"measured {ours[number]}; give the set that it was trained on"
        )
    counts = [counted(generated, "by_class"), counted(real, "by_class")]
    if np.minimum(*counts).max() < FEWEST:
        raise InputError(f"by_class: no class has {FEWEST} real and {FEWEST} generated images")


def counted(images, wanted):
    """How many of a set's images are of each class: int array.

    Args:
        images: images.Images with classes.
        wanted: by whom, text.

    Raises:
        InputError: if some have none.
    """
    labels = np.asarray(images.labels())
    if (labels < 0).any():
        raise InputError(
            f"{wanted}: {int((labels < 0).sum()):,} of {len(labels):,} images have no class"
        )
    return np.bincount(labels, minlength=len(images.classes))


def intra_frechet(metric, generated, real, classes):
    """Frechet distances within classes, and their mean.

    Args:
        metric: str, its name, e.g. "intra_fid".
        generated, real: (features (N, D), labels (N,)) of each.
        classes: names of the classes.

    Returns:
        measure.Measurement, whose details have a dict "by_class": for the name of each class that
        was measured "value", "real" and "generated", the latter two numbers of images.
    """
    found = {}
    for label, name in enumerate(classes):
        ours, theirs = (features[labels == label] for features, labels in (generated, real))
        if min(len(ours), len(theirs)) >= FEWEST:
            value = frechet_distance(*_moments(theirs), *_moments(ours))
            found[name] = {"value": value, "real": len(theirs), "generated": len(ours)}
    text = (
        f"mean over {len(found)} of {len(classes)} classes of the Frechet distance within a class "
        f"(Miyato 2018, Sec. 4.1); those with fewer than {FEWEST} images are left out"
    )
    mean = float(np.mean([row["value"] for row in found.values()]))
    return Measurement(metric, mean, True, text, details={"by_class": found})


def names_classes(extractor, classes):
    """Whether a feature network's classes are those of the images: bool."""
    return tuple(extractor.classes) == tuple(classes)


def accuracy(logits, labels, classes):
    """How many generated images the classifier takes for what was asked for.

    It is bounded by how far the classifier itself can be trusted, "held_out_accuracy" of its
    protocol. A generator that ignores its classes has the sum of p_c q_c over the classes, of the
    shares asked for and made.

    Args:
        logits: (N, C) of the generated images.
        labels: int (N,), what was asked for.
        classes: names of the C classes.

    Returns:
        measure.Measurement, a share in [0, 1], whose details have a dict "right": the share of each
        class with an image.
    """
    right = np.argmax(logits, axis=1) == labels
    found = {c: float(right[labels == i].mean()) for i, c in enumerate(classes) if i in labels}
    text = "share of images that the classifier takes for the class that was asked for"
    value = float(right.mean())
    return Measurement("class_accuracy", value, False, text, details={"right": found})


def _moments(features):
    features = np.asarray(features, np.float64)
    return features.mean(axis=0), np.cov(features, rowvar=False)


def table(record):
    """Lines of text for a record with details by class: a class with what was measured of it."""
    details = record["details"]
    if "right" in details:
        width = max(map(len, details["right"]), default=0)
        return [f"  {name:<{width}}  {share:>8.3g}" for name, share in details["right"].items()]
    rows = details.get("by_class", {})
    width = max(map(len, rows), default=0)
    return [
        f"  {name:<{width}}  {row['value']:>8.5g}   ({row['generated']} vs {row['real']} images)"
        for name, row in rows.items()
    ]
