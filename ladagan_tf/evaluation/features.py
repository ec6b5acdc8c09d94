"""Feature networks: uint8 images to the features and class logits that metrics are made of."""

import dataclasses
import os
import pathlib
from collections.abc import Sequence

from ladagan_tf import zoo
from ladagan_tf.data.source import printable
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import (
    default_path,
    load_classifier,
    set_aside_another,
    train_classifier,
)
from ladagan_tf.files import check_writable
from ladagan_tf.models.features.dinov2 import DinoV2
from ladagan_tf.weights import dinov2_weights, inception_weights
from ladagan_tf.weights.keras_file import network_sha256

INCEPTION, CLASSIFIER, DINOV2 = "inception", "classifier", "dinov2"
NONE, AUTO = "none", "auto"
# Metrics that are defined with one of them only.
OWN = {"fid": INCEPTION, "sfid": INCEPTION, "fcd": CLASSIFIER, "modes": CLASSIFIER, "fd": DINOV2}


@dataclasses.dataclass(frozen=True)
class Extractor:
    """A feature network and what a protocol says of it.

    Attributes:
        name: "inception", "classifier" or "dinov2".
        features: function from uint8 images (B, S, S, 3), a tensor, to a dict of float32
            "features" (B, D) and, where the network has classes, "logits" (B, C); "spatial" (B, E)
            where sFID is defined.
        dimension: int, D.
        resolution: int, the only S it takes; None for any.
        about: dict of plain values: network, hash of its weights, resize.
        classes: tuple of the names of its C classes; empty where they stand for nothing.
    """

    name: str
    features: object
    dimension: int
    resolution: int | None
    about: dict
    classes: tuple = ()

    def check(self, resolution: int, whose: str = "") -> None:
        """Raises InputError unless it takes images of a side in pixels; `whose` they are."""
        if self.resolution not in (None, resolution):
            raise InputError(
                f"features={self.name}: the network takes images of {self.resolution} px, not "
                f"{whose}of {resolution} px"
            )


def inception(
    path: str | os.PathLike | None = None, cache_dir: str | os.PathLike | None = None
) -> Extractor:
    """The Inception network that FID, KID and IS are defined by; see `inception_weights`.

    Args:
        path: file of weights; None looks in the cache, then downloads the public file.
        cache_dir: folder of downloaded weights; None is the user's cache folder.

    Returns:
        Extractor: 2,048 features of pool_3, 2,023 spatial ones, 1,008 logits without bias (as the
        Inception Score takes them).

    Raises:
        InputError: if there are no weights, or they are others than their hash says.
    """
    network, sha256 = inception_weights.load(inception_weights.find(path, cache_dir))

    def features(images):
        outputs = network(images)
        return {
            "features": outputs["2048"],
            "spatial": outputs["spatial"],
            "logits": outputs["logits_unbiased"],
        }

    about = {
        "network": "Inception-2015-12-05, pool_3",
        "sha256": sha256,
        "resize": "TF1 bilinear to 299 x 299, not antialiased",
    }
    return Extractor(INCEPTION, features, 2048, None, about)


def classifier(path: str | os.PathLike) -> Extractor:
    """The classifier of `evaluation.classifier` in a file, or of a model of the zoo.

    Args:
        path: a .keras file; or zoo:NAME.

    Returns:
        Extractor.

    Raises:
        InputError: if there is none.
    """
    in_zoo = str(path).startswith(zoo.PREFIX)
    flag = f"features={CLASSIFIER}"
    network = load_classifier(zoo.file_of(path, zoo.CLASSIFIER, flag) if in_zoo else path)
    about = {
        "network": "ladagan_tf classifier",
        "file": printable(str(path)),
        "sha256": network_sha256(network),
        "resize": "none",
        **network.about,
    }

    def features(images):
        return network(images, training=False)

    return Extractor(
        CLASSIFIER, features, network.dimension, network.resolution, about, network.classes
    )


def dinov2(preset: str = dinov2_weights.LARGE) -> Extractor:
    """DINOv2 as FD_DINOv2 is measured with (Stein et al. 2023): ViT-L/14 unless told otherwise.

    Args:
        preset: see `dinov2_weights.load`.

    Returns:
        Extractor: the normalised class token, 1,024 features of ViT-L; no logits.

    Raises:
        InputError: if KerasHub or its weights cannot be had.
    """
    backbone, sha256 = dinov2_weights.load(preset, "features=dinov2")
    network = DinoV2(backbone, antialias_images=True)

    def features(images):
        return {"features": network(network.prepared(images))[0]}

    about = {
        "network": "DINOv2, normalised class token",
        "preset": preset,
        "sha256": sha256,
        "resize": f"bicubic to {network.side} x {network.side}, antialiased",
    }
    return Extractor(DINOV2, features, network.features, None, about)


def check_features_of_zoo(path: str | os.PathLike, name: str, extractor: Extractor | None) -> None:
    """Raises InputError unless statistics of the zoo are compared in the features they are of.

    Args:
        path: of the classifier that came with them.
        name: str, what named them.
        extractor: Extractor, or None for metrics without features.
    """
    if extractor and extractor.about.get("sha256") != classifier(path).about["sha256"]:
        raise InputError(
            f"features={extractor.name}: the statistics of {name} are of another network's "
            f"features; leave --features out, or give {CLASSIFIER}:zoo:NAME of the same model"
        )


@dataclasses.dataclass(frozen=True)
class Surroundings:
    """What a feature network may be found by, beside its name.

    Attributes:
        dataset: what `--dataset=` named, or None.
        folder: the prepared set, or None.
        inception_path, cache_dir: see `inception`.
    """

    dataset: str | None = None
    folder: pathlib.Path | None = None
    inception_path: str | None = None
    cache_dir: str | None = None


def _classifier_of_set(path, at):
    if not path:
        if at.folder is None:
            raise InputError("features=classifier: there is no prepared set; give classifier:FILE")
        path = default_path(at.folder)
        set_aside_another(path, at.folder)
        if not path.exists():
            try:
                check_writable(path, "features")
            except InputError as error:
                raise InputError(
                    f"{error}; train it with train_classifier --out=FILE.keras, and give "
                    "--features=classifier:FILE.keras"
                ) from None
            print(f"{path}: training the classifier of this set, once")
            train_classifier(at.folder, path)
    return classifier(path)


# A feature network is one entry: what `--features=KIND` or `KIND:PATH` opens, from the path (or "")
# and the surroundings.
NETWORKS = {
    NONE: lambda path, at: None,
    INCEPTION: lambda path, at: inception(at.inception_path, at.cache_dir),
    CLASSIFIER: _classifier_of_set,
    DINOV2: lambda path, at: dinov2(path or dinov2_weights.LARGE),
}


def chosen(spec: str, dataset: str | None, metrics: Sequence[str] = ()) -> str:
    """What `--features=auto` stands for; any other is returned as it is.

    Args:
        spec, dataset, metrics: see `open_extractor`.

    Returns:
        str.
    """
    if spec != AUTO:
        return spec
    if str(dataset).startswith(zoo.PREFIX):
        return f"{CLASSIFIER}:{dataset}"
    if metrics and set(metrics) == {"swd"}:  # of pixels
        return NONE
    own = next((OWN[name] for name in metrics if name in OWN), None)
    return own or (CLASSIFIER if dataset == "shapes" else INCEPTION)


def open_extractor(
    spec: str,
    *,
    metrics: Sequence[str] = (),
    dataset: str | None = None,
    folder: str | os.PathLike | None = None,
    inception_path: str | os.PathLike | None = None,
    cache_dir: str | os.PathLike | None = None,
) -> Extractor | None:
    """Opens what `--features=` names.

    Args:
        spec: "inception"; "classifier:PATH" or "classifier:zoo:NAME"; "classifier", the one beside
            the prepared set, which is trained if it is missing; "dinov2" or "dinov2:PRESET";
            "none"; or "auto": "classifier:zoo:NAME" for the dataset "zoo:NAME", else what the
            metrics are defined with (swd alone with none), else "classifier" for `shapes`,
            otherwise "inception".
        metrics: names of metrics that are wanted of it.
        dataset: what `--dataset=` named.
        folder: the prepared set, or None.
        inception_path, cache_dir: see `inception`.

    Returns:
        Extractor, or None for "none".

    Raises:
        InputError: for another spec, weights of Inception for another network, or if the network
            cannot be had.
    """
    spec = chosen(spec, dataset, metrics)
    kind, _, path = spec.partition(":")
    if kind not in NETWORKS or (path and kind in (NONE, INCEPTION)):
        raise InputError(
            f"features={spec}: give inception, classifier, classifier:FILE.keras, "
            "classifier:zoo:NAME, dinov2, dinov2:PRESET, none or auto"
        )
    if inception_path and kind != INCEPTION:
        raise InputError(
            f"inception_weights={inception_path}: with features={spec} nothing reads it; give "
            f"features={INCEPTION}, or leave it out"
        )
    return NETWORKS[kind](path, Surroundings(dataset, folder, inception_path, cache_dir))
