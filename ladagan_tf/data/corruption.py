"""Damage that is done to a set on purpose, to see what a model makes of it.

What befalls an image follows from (seed, its number) alone, whatever else is asked for, and is
written behind its name in its record. Pillow and NumPy only: worker processes use it.
"""

import collections
import dataclasses
import io

import numpy as np
from PIL import Image

from ladagan_tf.data import CORRUPTIONS
from ladagan_tf.errors import InputError

OF_CLASSES = ("dominating", "labels")


def parse(texts):
    """Reads what is to be done.

    Args:
        texts: list of str, as ["noise:0.3", "jpeg:10"].

    Returns:
        Dict from a kind of `CORRUPTIONS`, in their order, to its share or quality.

    Raises:
        InputError: unless each is a kind, once, and a share above 0 and up to 1, or a quality.
    """
    found = {}
    for text in texts:
        kind, _, number = text.partition(":")
        try:
            value = int(number) if kind == "jpeg" else float(number)
        except ValueError:
            value = 0
        most = 95 if kind == "jpeg" else 1
        if kind not in CORRUPTIONS or kind in found or not 0 < value <= most:
            raise InputError(
                f"corrupt={','.join(texts)}: give each of {', '.join(CORRUPTIONS)} once at most, "
                "with a share above 0 and up to 1, or jpeg's quality from 1 to 95, as "
                "noise:0.3,jpeg:10"
            )
        found[kind] = value
    return {kind: found[kind] for kind in CORRUPTIONS if kind in found}


def in_words(kinds):
    """What `parse` returned as text that it reads, in one way: "noise:0.3,jpeg:10"."""
    return ",".join(f"{kind}:{value}" for kind, value in kinds.items())


def corrupted(images, kinds, seed):
    """A source whose images are damaged.

    Args:
        images: `source.Source`.
        kinds: what `parse` returned; nothing to do for an empty one.
        seed: int >= 0.

    Returns:
        `source.Source`; its items tell what is done to their pixels once they are converted.

    Raises:
        InputError: if what is damaged are classes and there are none, or but one.
    """
    if not kinds:
        return images
    for kind in OF_CLASSES:
        if kind in kinds and len(images.classes) < 2:
            raise InputError(f"corrupt={kind}: the source has {len(images.classes)} classes")
    largest, count = None, images.count
    if "dominating" in kinds:
        counts = collections.Counter(_label(item, kinds) for item in images.items())
        largest = max(counts, key=lambda label: (counts[label], -label))

    def items():
        before = None
        for index, item in enumerate(images.items()):
            drawn = np.random.default_rng([seed, index]).random(len(CORRUPTIONS))
            chosen = dict(zip(CORRUPTIONS, drawn, strict=True))
            befalls = {kind for kind, share in kinds.items() if chosen[kind] < share}
            if "dominating" in befalls and _label(item, kinds) != largest:
                continue
            found, done = item, []
            if "duplicates" in befalls and before:
                found = dataclasses.replace(before, name=item.name)
                done.append(f"is {before.name}")
            else:
                before = item
            damage = {}
            if "noise" in befalls:
                damage["noise"] = (seed, index)
                done.append("noise")
            label = found.label
            if "labels" in befalls:
                # The draw within the share is uniform again.
                label = int(chosen["labels"] / kinds["labels"] * (len(images.classes) - 1))
                label += label >= _label(found, kinds)
                done.append(f"label, was {images.classes[found.label]}")
            if "jpeg" in befalls:  # its quality is above every draw
                damage["jpeg"] = kinds["jpeg"]
                done.append(f"JPEG of quality {kinds['jpeg']}")
            name = f"{item.name} ({'; '.join(done)})" if done else item.name
            yield dataclasses.replace(found, name=name, label=label, damage=damage)

    if "dominating" in kinds:
        count = sum(1 for _ in items())
    return dataclasses.replace(images, count=count, items=items)


def _label(item, kinds):
    """An item's class, which must have one: sources may hold images with and without."""
    if item.label is None:
        of_classes = ", ".join(kind for kind in OF_CLASSES if kind in kinds)
        raise InputError(f"corrupt={of_classes}: {item.name} has no class")
    return item.label


def damaged(pixels, damage):
    """Converted pixels, a uint8 array (S, S, 3), with the damage that `corrupted` has them get."""
    if "noise" in damage:
        pixels = np.random.default_rng([*damage["noise"], 1]).integers(
            0, 256, pixels.shape, np.uint8
        )
    if "jpeg" in damage:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=damage["jpeg"])
        pixels = np.array(Image.open(buffer))
    return pixels
