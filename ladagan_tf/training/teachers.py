"""Frozen networks whose features GAT's discriminator is aligned with (REPA, arXiv 2410.06940).

A teacher is called with (batch, draws, S): the batch of real samples, the draws they are augmented
with, and the side of their latents. It returns features of the same view, without colour and
cutout: (B, F) of the whole image and (B, grid grid, F) of its patches, row by row.
"""

from keras import ops

from ladagan_tf.errors import InputError
from ladagan_tf.evaluation.classifier import load_classifier
from ladagan_tf.models.features.bicubic import resize, resize_tokens
from ladagan_tf.models.features.classifier import LAST_SIDE
from ladagan_tf.models.features.dinov2 import DinoV2
from ladagan_tf.models.pixels import scale_images
from ladagan_tf.training.augment import translation
from ladagan_tf.training.latent_views import FLIP_RATE
from ladagan_tf.weights import dinov2_weights
from ladagan_tf.weights.keras_file import network_sha256

NONE, DINOV2, CLASSIFIER, STORED = "none", "dinov2", "classifier", "stored"


class ImageTeacher:
    """Features of the real images, moved and mirrored as their latents are.

    Args:
        network: `DinoV2` or `ClassifierMaps`.
        grid: int, side of the discriminator's grid of patches; the network's is resized to it.
            None keeps the network's.
        official_quirks: bool, rescale the shift by latent / image, as the official code does, so
            that the image hardly moves, instead of by image / latent.
        about: dict of plain values: the network and the hash of its weights.

    Attributes:
        features: int, F.
        grid: int.
        needs_images: True, the batch needs "raw", uint8 (B, R, R, 3).
        about: dict of plain values.
    """

    needs_images = True

    def __init__(self, network, grid=None, official_quirks=False, about=None):
        self.network = network
        self.features = network.features
        self.grid = grid or network.grid
        self.official_quirks = official_quirks
        self.about = {**(about or {}), "grid": self.grid, "official_quirks": official_quirks}

    def __call__(self, batch, draws, latent_size):
        x = self.network.prepared(batch["raw"])
        return self._features(self.view(x, draws, latent_size))

    def encode(self, images):
        """Features of uint8 images (B, R, R, 3) as they are: (B, F) and (B, grid grid, F)."""
        return self._features(self.network.prepared(images))

    def view(self, x, draws, latent_size):
        """Prepared images (B, s, s, 3), shifted and mirrored as latents of side `latent_size`.

        Shifts are rounded to whole pixels; what comes in from outside is zero.
        """
        if "shift_rows" in draws:
            shifts = {name: draws[name] for name in ("shift_rows", "shift_columns")}
            x = translation(x, {n: self._in_pixels(s, latent_size) for n, s in shifts.items()})
        return _mirrored(x, draws)

    def _in_pixels(self, shift, latent_size):
        side = self.network.side
        if self.official_quirks:
            return ops.floor_divide(ops.cast(shift, "int32") * latent_size, side)
        return ops.round(ops.cast(shift, "float32") * (side / latent_size))

    def _features(self, x):
        cls, patches = self.network(x)
        return _targets(cls, patches, self.grid)


class ClassifierMaps:
    """Our classifier as `DinoV2` is called: its features, and its last map as patches.

    Args:
        network: models.features.classifier.Classifier.
    """

    def __init__(self, network):
        network.trainable = False
        self.network = network
        self.side = network.resolution
        self.features = network.dimension
        self.grid = LAST_SIDE

    def prepared(self, images):
        """Images (B, R, R, 3) in [-1, 1], so that 0 is grey, at the classifier's resolution."""
        return resize(scale_images(images), self.side, antialias=True)

    def __call__(self, x):
        maps = self.network.last_map((x + 1.0) * 127.5)  # (B, g, g, F)
        return ops.max(maps, axis=(1, 2)), ops.reshape(maps, (-1, self.grid**2, self.features))


class StoredTeacher:
    """Features that were computed once, without augmentation: no network, no images.

    The grid of patches moves with the latent, by parts of a patch too. Patches from outside are
    zero, and their cosine is 0 whatever D says. The whole image's features stay as they are.

    Args:
        features: int, F.
        stored_grid: int, side of the grid of "teacher_patches" (B, stored_grid^2, F); the batch has
            "teacher_cls" (B, F) too.
        grid, about: see `ImageTeacher`.
    """

    needs_images = False

    def __init__(self, features, stored_grid, grid=None, about=None):
        self.features = features
        self.stored_grid = stored_grid
        self.grid = grid or stored_grid
        self.about = {**(about or {}), "grid": self.grid}

    def __call__(self, batch, draws, latent_size):
        maps = ops.cast(batch["teacher_patches"], "float32")
        maps = ops.reshape(maps, (-1, self.stored_grid, self.stored_grid, self.features))
        if "shift_rows" in draws:
            rows, columns = (
                _shift_matrix(draws[name], self.stored_grid, latent_size)
                for name in ("shift_rows", "shift_columns")
            )
            maps = ops.einsum("bih,bhwf->biwf", rows, maps)
            maps = ops.einsum("bjw,biwf->bijf", columns, maps)
        maps = _mirrored(maps, draws)
        patches = ops.reshape(maps, (-1, self.stored_grid**2, self.features))
        return _targets(batch["teacher_cls"], patches, self.grid)


def _shift_matrix(shift, grid, latent_size):
    """(B, grid, grid): linear interpolation at i + shift grid / S, zero outside."""
    moved = ops.cast(shift, "float32") * (grid / latent_size)
    index = ops.arange(grid, dtype="float32")
    source = ops.expand_dims(index, 0) + ops.expand_dims(moved, 1)  # (B, grid)
    distance = ops.abs(ops.expand_dims(source, 2) - ops.reshape(index, (1, 1, -1)))
    return ops.maximum(1.0 - distance, 0.0)


def _mirrored(x, draws):
    if "flipped" not in draws:
        return x
    mirrored = ops.reshape(ops.cast(draws["flipped"], x.dtype) < FLIP_RATE, (-1, 1, 1, 1))
    return ops.where(mirrored, ops.flip(x, axis=2), x)


def _targets(cls, patches, grid):
    """Both in float32, the patches on the discriminator's grid, without a gradient."""
    patches = resize_tokens(ops.cast(patches, "float32"), grid)
    return ops.stop_gradient(ops.cast(cls, "float32")), ops.stop_gradient(patches)


def open_teacher(spec, grid=None, *, official_quirks=False, stored=None, dtype="float32"):
    """Opens what `--teacher=` names.

    Args:
        spec: "none"; "dinov2", DINOv2 ViT-B/14 by its KerasHub name, or "dinov2:PRESET", see
            `dinov2_weights.load`; "classifier:FILE.keras", of `evaluation.classifier`; or "stored",
            features that the prepared set holds.
        grid: int, side of the discriminator's grid of patches.
        official_quirks: see `ImageTeacher`.
        stored: dict of plain values about the features in the prepared set, with "features" and
            "grid"; None if it has none.
        dtype: dtype policy of DINOv2's branches, see `DinoV2`.

    Returns:
        ImageTeacher, StoredTeacher, or None for "none".

    Raises:
        InputError: for another spec, or if the network cannot be had.
    """
    kind, _, path = spec.partition(":")
    if spec == NONE:
        return None
    if spec == STORED:
        if stored is None:
            raise InputError("teacher=stored: this prepared set holds no features of a teacher")
        about = {"teacher": STORED, "stored": stored}
        return StoredTeacher(stored["features"], stored["grid"], grid, about)
    if kind == DINOV2:
        preset = path or dinov2_weights.BASE
        backbone, sha256 = dinov2_weights.load(preset, "teacher=dinov2")
        about = {"teacher": DINOV2, "preset": preset, "sha256": sha256, "dtype": dtype}
        network = DinoV2(backbone, antialias_positions=True, dtype=dtype)
        return ImageTeacher(network, grid, official_quirks, about)
    if kind == CLASSIFIER and path:
        network = load_classifier(path, "teacher")
        about = {"teacher": CLASSIFIER, "file": path, "sha256": network_sha256(network)}
        return ImageTeacher(ClassifierMaps(network), grid, official_quirks, about)
    raise InputError(
        f"teacher={spec}: give none, dinov2, dinov2:PRESET, classifier:FILE.keras or stored"
    )
