"""A quick measurement for use during training, under a name that says how quick it is.

Both sides use the same number of images, far fewer than a published number needs; the name carries
extractor and number, and no evaluation of `evaluate.py` has such a name.
"""

from ladagan_tf.data import dataset_info
from ladagan_tf.errors import InputError
from ladagan_tf.evaluation import features as feature_networks
from ladagan_tf.evaluation import images, measure
from ladagan_tf.evaluation.collection import collect, reference


class QuickMetric:
    """Measures generators against the first images of a prepared set.

    Args:
        metric: one of `evaluation.QUICK_METRICS`.
        count: int, images of each side; at most as many as the set has.
        folder: a prepared set.
        extractor: features.Extractor; None for swd.
        cache_dir: see `collection.reference`.

    Attributes:
        name: str, e.g. "fcd_classifier_2k".
        identity: str, the name and of which weights the features are: numbers of the same one can
            be compared.

    Raises:
        InputError: if the metric is not defined with these features, or the set cannot be used.
    """

    def __init__(self, metric, count, folder, extractor, cache_dir=None):
        kind = extractor and extractor.name
        self.metrics = measure.check_metrics([metric], kind)
        self.extractor = extractor
        self.folder = folder
        everything = images.prepared(folder)
        self.count = min(count, everything.count)
        # As many of each class as are real: what counts is how they look.
        self.class_counts = dataset_info.load_info(folder).class_counts
        self.name = measure.metric_name(metric, kind, self.count)
        weights = str(extractor.about.get("sha256", "")) if extractor else ""
        self.identity = f"{self.name} {weights[:16]}".rstrip()
        self.real, _ = reference(
            images.prepared(folder, self.count),
            extractor,
            measure.needs(self.metrics, real=True),
            cache_dir=cache_dir,
            progress="real images",
        )

    def __call__(self, sampler):
        """The metric of a Sampler, a float; always of the same latents."""
        labels = {"labels": "proportional", "class_counts": self.class_counts}
        labelled = sampler.num_classes and self.class_counts
        if labelled and len(self.class_counts) != sampler.num_classes:
            raise InputError(
                f"dataset={self.folder}: it has {len(self.class_counts)} classes, the model "
                f"{sampler.num_classes}"
            )
        generated = collect(
            images.generated(sampler, self.count, **(labels if labelled else {})),
            self.extractor,
            measure.needs(self.metrics, real=False),
        )
        return measure.measure(self.metrics, generated, self.real)[0].value


def open_metric(metric, count, folder, dataset, *, features, inception_path, cache_dir):
    """A `QuickMetric` with the feature network that it needs.

    Args:
        metric, count, folder, cache_dir: see `QuickMetric`.
        dataset: str, what --dataset said, of which `folder` is the prepared set.
        features, inception_path: see `features.open_extractor`.

    Raises:
        InputError: if that cannot be had, or see `QuickMetric`.
    """
    extractor = None
    if metric != "swd":
        try:
            extractor = feature_networks.open_extractor(
                features,
                metrics=[metric],
                dataset=dataset,
                folder=folder,
                inception_path=inception_path,
                cache_dir=cache_dir,
            )
        except InputError as error:
            advice = "metric=swd needs no feature network"
            raise InputError(f"metric={metric}: {error}; {advice}") from None
    return QuickMetric(metric, count, folder, extractor, cache_dir)
