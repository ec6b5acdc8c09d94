"""Trains a small classifier on a labelled set, so that generators can be measured offline.

    python -m ladagan_tf.train_classifier --dataset=data/emoji-64

Features and classes of `models.features.classifier.Classifier` take the place of Inception's.
"""

import itertools
import os.path
import pathlib
import re

import keras
import numpy as np
import tensorflow as tf

from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.decimals import plain
from ladagan_tf.devices import seed_keras
from ladagan_tf.errors import InputError
from ladagan_tf.files import atomic_path, check_writable, writing
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.progress import progress_bar
from ladagan_tf.weights.keras_file import load_network

KIMG = 80.0
BATCH_SIZE = 64
LEARNING_RATE = 3e-3
WEIGHT_DECAY = 1e-2
TRAINED_SHARE = 0.9  # the rest tells how far its classes can be trusted
MIN_IMAGES = 100
MOST_KIMG = 1e9


def default_path(folder):
    """Where the classifier of a prepared set lies unless a path is given: beside the set."""
    folder = pathlib.Path(folder)
    return folder.with_name(f"{folder.name}.classifier.keras")


def set_aside_another(path, folder):
    """Renames a classifier at `path` that was trained on other images than those of a prepared set.

    What lies at the place of a set's classifier need not be its own: the set may have been prepared
    again, or a file copied there.

    Args:
        path: of the .keras file; it need not exist.
        folder: the prepared set.

    Raises:
        InputError: if the file is no classifier.
    """
    path = pathlib.Path(path)
    if not path.exists():
        return
    found = load_classifier(path).about.get("content_sha256")
    if found == dataset_info.load_info(folder).content_sha256:
        return
    digest = re.sub(r"\W", "", str(found))[:8]
    ends = itertools.chain([""], (f"-{number}" for number in itertools.count(2)))
    names = (path.with_name(f"{path.stem}-{digest}{end}{path.suffix}") for end in ends)
    aside = next(name for name in names if not os.path.lexists(name))
    path.rename(aside)
    print(f"{path}: it was trained on other images, and is now {aside.name}")


def train_classifier(folder, out=None, kimg=KIMG, seed=0):
    """Trains on nine tenths of a prepared set, measures on the rest, and saves.

    It sets Keras's global random seed.

    Args:
        folder: a prepared set with classes.
        out: path of the .keras file; None is `default_path(folder)`.
        kimg: float, thousands of images to train on.
        seed: int.

    Returns:
        Classifier; `about` holds the set's name, content hash, and "held_out_accuracy" in [0, 1].

    Raises:
        InputError: if the set has fewer than 2 classes or 100 images, `kimg` is not positive, or
            nothing can be written there.
    """
    info = dataset_info.load_info(folder)
    out = pathlib.Path(os.path.expanduser(out or default_path(info.folder)))
    if len(info.classes) < 2:
        raise InputError(
            f"dataset={folder}: it has {len(info.classes)} classes, and a classifier needs 2 or "
            "more; prepare it from one subfolder per class"
        )
    dataset_info.require_labels(info, f"dataset={folder}")
    if info.count < MIN_IMAGES:
        raise InputError(f"dataset={folder}: {info.count} images; give {MIN_IMAGES} or more")
    if out.suffix != ".keras":
        raise InputError(f"out={out}: it must end in .keras")
    if not 0 < kimg <= MOST_KIMG or (steps := round(kimg * 1000 / BATCH_SIZE)) < 1:
        least = BATCH_SIZE / 1000
        raise InputError(
            f"kimg={kimg:g}: it must be from {least}, one batch, to {plain(MOST_KIMG)}"
        )
    check_writable(out)
    seed_keras(seed)
    try:
        network = Classifier(info.resolution, info.classes)
    except ValueError as error:
        raise InputError(f"dataset={folder}: {error}") from None
    _fit(network, folder, steps, seed)
    network.about = {
        "trained_on": info.folder.name,
        "content_sha256": info.content_sha256,
        "kimg": steps * BATCH_SIZE / 1000,
        "seed": seed,
        "held_out_accuracy": round(_held_out_accuracy(network, folder, info.count), 4),
    }
    with writing(out), atomic_path(out) as temporary:
        network.save(temporary)
    return network


def _fit(network, folder, steps, seed):
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)
    network.compile(
        keras.optimizers.AdamW(rate, weight_decay=WEIGHT_DECAY),
        loss={"features": None, "logits": loss},
        metrics={"logits": ["accuracy"]},
    )
    beside_latents = dataset_info.load_info(folder).latents is not None
    stream = pipeline.make_dataset(
        folder,
        batch_size=BATCH_SIZE,
        seed=seed,
        subset=TRAINED_SHARE,
        with_images=beside_latents,
    )

    def example(x, labels):
        return x["images"] if beside_latents else x, {"features": labels, "logits": labels}

    stream = stream.map(example)
    with (
        pipeline.damage_as_input_error(folder),
        progress_bar(steps * BATCH_SIZE, "img", "classifier") as bar,
    ):
        told = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs: bar.update(BATCH_SIZE)
        )
        network.fit(stream, steps_per_epoch=steps, shuffle=False, verbose=0, callbacks=[told])


def _held_out_accuracy(network, folder, count):
    held_out = np.ones(count, bool)
    held_out[pipeline.subset_indices(count, TRAINED_SHARE)] = False
    predict = tf.function(lambda images: network(images, training=False)["logits"], autograph=False)
    right = []
    for images, labels in pipeline.iterate_images(folder, 256):
        right.append(np.argmax(predict(images), axis=1) == labels)
    return float(np.concatenate(right)[held_out].mean())


def load_classifier(path, flag="features"):
    """Loads a saved classifier.

    Args:
        path: a .keras file that `train_classifier` wrote.
        flag: str, the name of the flag that says so.

    Returns:
        Classifier.

    Raises:
        InputError: if there is none, or it is another model.
    """
    path = pathlib.Path(os.path.expanduser(path))
    named = f"{flag}=classifier:{path}"
    if not path.is_file():
        raise InputError(
            f"{named}: no such file; make one with "
            f"python -m ladagan_tf.train_classifier --dataset=... --out={path}"
        )
    network = load_network(path, named)
    if not isinstance(network, Classifier):
        raise InputError(
            f"{named}: it holds a {type(network).__name__}, not a classifier of "
            "ladagan_tf.train_classifier"
        )
    return network
