"""A stand-in for an autoencoder, in NumPy, and sets of its latents."""

import numpy as np
import tensorflow as tf

from ladagan_tf.data import dataset_info, records
from ladagan_tf.data.dataset_info import Latents
from ladagan_tf.data.latents import Encoding

BATCH, SIZE, CHANNELS = 4, 4, 2
DESCRIPTION = Latents(
    size=SIZE,
    channels=CHANNELS,
    dtype="float32",
    vae="blocks",
    vae_sha256="aa",
    encoder_sha256="bb",
    scaling_factor=0.5,
    images=True,
)


def encode(images):
    """Mean and spread of red and green in blocks of 2 x 2 pixels: (b, 8, 8, 3) -> (b, 4, 4, 2)."""
    assert images.shape == (BATCH, 8, 8, 3) and images.dtype == np.uint8
    blocks = images[..., :CHANNELS].reshape(BATCH, SIZE, 2, SIZE, 2, CHANNELS) / 255.0
    return blocks.mean((2, 4)).astype("float32"), blocks.std((2, 4)).astype("float32")


def moments_of(images):
    """The moments (b, 4, 4, 4) of any number of images."""
    padded = np.concatenate([images, np.zeros((-len(images) % BATCH, 8, 8, 3), np.uint8)])
    parts = [np.concatenate(encode(part), axis=-1) for part in np.split(padded, len(padded) // 4)]
    return np.concatenate(parts)[: len(images)]


def encoding(**changes):
    """An `Encoding` by `encode`; `changes` are of its own fields or of the description."""
    own = {name: changes.pop(name) for name in ("teacher_features",) if name in changes}
    function = changes.pop("encode", encode)
    return Encoding(function, Latents(**vars(DESCRIPTION) | changes), BATCH, **own)


def read_moments(folder):
    """The moments (N, S, S, 2C) and labels (N,) of a set, in record order."""
    info = dataset_info.load_info(folder)
    found = [
        records.parse(serialised, ("moments", "label"))
        for serialised in tf.data.TFRecordDataset(info.shard_paths)
    ]
    moments = [records.decode_moments(record["moments"], info.latents) for record in found]
    return np.stack(moments), np.asarray([record["label"] for record in found])
