"""Any image dataset of TensorFlow Datasets as a source."""

import os.path

import numpy as np
import tensorflow_datasets as tfds

from ladagan_tf.data.source import TFDS_PREFIX, Item, Source, open_encoded
from ladagan_tf.errors import InputError, reason


def tfds_source(spec, data_dir=None):
    """Opens `tfds:NAME[@SPLIT]`, downloading and preparing it first if needed.

    Images stay encoded here, so that worker processes decode them. TFDS has already shuffled what
    it stores, so its own order is kept.

    Args:
        spec: for example `tfds:cifar10`, `tfds:celeb_a` or `tfds:cifar10@test`; the split is
            `train` unless given.
        data_dir: folder in which TFDS keeps its downloads; None is TFDS's own default.

    Returns:
        `source.Source`; its labels are the feature `label` where that is a class label.

    Raises:
        InputError: if the dataset or split does not exist, has no 8- or 16-bit image feature, or
            cannot be downloaded.
    """
    name, _, split = spec.removeprefix(TFDS_PREFIX).partition("@")
    split = split or "train"
    if name.split("/")[0] == "lsun":
        raise InputError(
            f"source={spec}: TFDS reads LSUN by tensorflow_io, which has no build for this "
            "TensorFlow; prepare the LMDB folder that LSUN publishes: --source=bedroom_train_lmdb"
        )
    builder = _prepared_builder(name, spec, data_dir)
    image_key, label_key = _image_and_label(builder.info.features, spec)
    if builder.info.splits and split not in builder.info.splits:
        raise InputError(
            f"source={spec}: no split {split!r}; it has {', '.join(sorted(builder.info.splits))}"
        )
    decoders = {image_key: tfds.decode.SkipDecoding()}
    dataset = builder.as_dataset(split=split, decoders=decoders, shuffle_files=False)

    def items():
        for index, example in enumerate(dataset.as_numpy_iterator()):
            label = None if label_key is None else int(example[label_key])
            # TFDS marks examples without a label, as in some test splits, by -1.
            label = None if label == -1 else label
            yield Item(f"{split}-{index:08d}", label, example[image_key], builder.info.full_name)

    classes = () if label_key is None else tuple(builder.info.features[label_key].names)
    return Source(int(dataset.cardinality()), classes, items, open_encoded)


def _prepared_builder(name, spec, data_dir):
    try:
        builder = tfds.builder(name, data_dir=data_dir and os.path.expanduser(data_dir))
        builder.download_and_prepare()
    except Exception as error:
        # TFDS raises AssertionError for manual downloads, its own types for unknown names, and
        # whatever the network raises for a failed download; the first line says which.
        raise InputError(f"source={spec}: TFDS cannot provide it ({reason(error)})") from error
    return builder


def _image_and_label(features, spec):
    if not isinstance(features, tfds.features.FeaturesDict):
        raise InputError(
            f"source={spec}: its examples are {type(features).__name__}, not a dict of features "
            "with an image among them"
        )
    images = [
        key
        for key, feature in features.items()
        if isinstance(feature, tfds.features.Image)
        and np.dtype(feature.np_dtype) in (np.uint8, np.uint16)
    ]
    if not images:
        raise InputError(
            f"source={spec}: no 8- or 16-bit image among its features {', '.join(features)}"
        )
    image = "image" if "image" in images else images[0]
    labelled = "label" in features and isinstance(features["label"], tfds.features.ClassLabel)
    return image, "label" if labelled else None
