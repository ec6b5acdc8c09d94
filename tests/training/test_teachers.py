"""Teachers see the real samples as the discriminator does: shifted and mirrored alike."""

import keras
import numpy as np
import pytest
from keras import ops
from tiny_dinov2 import FEATURES, save_preset

from ladagan_tf.errors import InputError
from ladagan_tf.models.features.classifier import Classifier
from ladagan_tf.training.gat import GatObjective
from ladagan_tf.training.teachers import (
    ClassifierMaps,
    ImageTeacher,
    StoredTeacher,
    open_teacher,
)

B, LATENT = 3, 32


class Patches:
    """As features the mean colours of the image and of its 14 px patches; scales to [0, 1]."""

    side, grid, features = 224, 16, 3

    def prepared(self, images):
        return ops.cast(images, "float32") / 255.0

    def __call__(self, x):
        cells = ops.reshape(x, (-1, 16, 14, 16, 14, 3))
        means = ops.mean(cells, axis=(2, 4))
        return ops.mean(means, axis=(1, 2)), ops.reshape(means, (-1, 256, 3))


def draws(count=B, flipped=1.0, rows=0, columns=0):
    values = {"flipped": flipped, "shift_rows": rows, "shift_columns": columns}
    values |= {"cutout_row": 16, "cutout_column": 16, "colored": 0.0, "brightness": 1.0}
    return {n: ops.convert_to_tensor(np.full(count, v)) for n, v in values.items()}


@pytest.fixture
def images(rng):
    return rng.integers(1, 256, (B, 224, 224, 3)).astype("uint8")


def scaled(images):
    return ops.convert_to_numpy(Patches().prepared(images))


def view(teacher, images, given, latent_size=LATENT):
    x = teacher.network.prepared(images)
    return ops.convert_to_numpy(teacher.view(x, given, latent_size))


# ---------------------------------------------------------------------------- images


@pytest.mark.parametrize("latent_size, pixels", [(32, 28), (16, 56), (64, 14)])
def test_the_image_moves_by_as_many_latent_pixels(images, latent_size, pixels):
    """Official: 224 / 32 = 7 image pixels for each of the latent."""
    moved = view(ImageTeacher(Patches()), images, draws(rows=4, columns=-4), latent_size)
    expected = np.zeros_like(moved)
    x = scaled(images)
    expected[:, :-pixels, pixels:] = x[:, pixels:, :-pixels]
    np.testing.assert_array_equal(moved, expected)


def test_the_official_code_hardly_moves_it(images):
    """floor(4 / 7) = 0 rows, and floor(-4 / 7) = -1 columns."""
    teacher = ImageTeacher(Patches(), official_quirks=True)
    moved = view(teacher, images, draws(rows=4, columns=-4))
    x = scaled(images)
    np.testing.assert_array_equal(moved[:, :, 1:], x[:, :, :-1])
    assert not moved[:, :, 0].any()


def test_shifts_are_whole_pixels(images):
    """224 / 64 = 3.5: a shift by 3 latent pixels is 10, not 10.5 with a blur."""
    moved = view(ImageTeacher(Patches()), images, draws(rows=3), 64)
    x = scaled(images)
    np.testing.assert_array_equal(moved[:, :-10], x[:, 10:])


def test_it_is_mirrored_with_its_latent_after_the_shift(images):
    given = {**draws(columns=4), "flipped": np.array([0.0, 0.39, 0.41])}
    moved = view(ImageTeacher(Patches()), images, draws(columns=4))
    mirrored = view(ImageTeacher(Patches()), images, given)
    np.testing.assert_array_equal(mirrored[:2], moved[:2, :, ::-1])
    np.testing.assert_array_equal(mirrored[2], moved[2])


def test_without_draws_it_sees_the_images(images):
    teacher = ImageTeacher(Patches())
    expected = images.reshape(B, 16, 14, 16, 14, 3).mean((2, 4)).reshape(B, 256, 3) / 255.0
    for cls, patches in (teacher({"raw": images}, {}, LATENT), teacher.encode(images)):
        np.testing.assert_allclose(patches, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(cls, expected.mean(1), rtol=1e-5, atol=1e-6)


def test_patches_come_on_the_discriminators_grid(images):
    teacher = ImageTeacher(Patches(), grid=8)
    cls, patches = teacher({"raw": images}, draws(), LATENT)
    assert (cls.shape, patches.shape) == ((B, 3), (B, 64, 3))
    assert (teacher.grid, teacher.features, teacher.needs_images) == (8, 3, True)


@pytest.mark.parametrize("quirks", [False, True])
def test_xla_compiles_it(tf, images, quirks):
    teacher = ImageTeacher(Patches(), 8, quirks)
    given = draws(flipped=0.0, rows=-3, columns=2)
    compiled = tf.function(
        lambda raw, d: teacher({"raw": raw}, d, LATENT), jit_compile=True, autograph=False
    )
    eager = teacher({"raw": images}, given, LATENT)
    for ours, expected in zip(compiled(images, given), eager, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-5)


# ---------------------------------------------------------------------------- our classifier


@pytest.fixture
def classifier(rng):
    network = Classifier(16, ("a", "b"))
    for weight in network.weights:
        if "kernel" in weight.path:
            weight.assign(0.3 * rng.standard_normal(weight.shape))
    return network


def test_the_classifiers_patches_lie_where_the_image_is_not_grey(classifier):
    images = np.full((1, 16, 16, 3), 127.5, "float32")
    images[:, :4, 8:12] = 255.0  # what the first row's second and third cells see
    cls, patches = ImageTeacher(ClassifierMaps(classifier)).encode(images)
    lit = np.asarray(patches).reshape(4, 4, -1).any(2)
    np.testing.assert_array_equal(lit, [[0, 1, 1, 0], [0] * 4, [0] * 4, [0] * 4])
    np.testing.assert_array_equal(cls, classifier(images)["features"])
    np.testing.assert_array_equal(cls, np.max(patches, axis=1))


def test_its_patches_move_with_the_latent(classifier, rng):
    """A latent of 4 px: one pixel of it is one cell of the classifier's last map."""
    images = rng.integers(0, 256, (B, 16, 16, 3)).astype("uint8")
    teacher = ImageTeacher(ClassifierMaps(classifier))
    still = np.asarray(teacher.encode(images)[1]).reshape(B, 4, 4, -1)
    moved = teacher({"raw": images}, draws(rows=1), 4)[1]
    moved = np.asarray(moved).reshape(B, 4, 4, -1)
    np.testing.assert_allclose(moved[:, :3], still[:, 1:], rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(moved[:, 3], 0.0)


# ---------------------------------------------------------------------------- stored features


@pytest.fixture
def stored(rng):
    """A batch of features on a grid of 8 x 8."""
    return {
        "teacher_cls": rng.standard_normal((B, 5)).astype("float32"),
        "teacher_patches": rng.standard_normal((B, 64, 5)).astype("float32"),
    }


def test_stored_patches_move_with_the_latent(stored):
    grid = stored["teacher_patches"].reshape(B, 8, 8, 5)
    cls, patches = StoredTeacher(5, 8)(stored, draws(rows=4, columns=-4), LATENT)
    expected = np.zeros_like(grid)
    expected[:, :-1, 1:] = grid[:, 1:, :-1]  # 4 of 32 is 1 of 8
    np.testing.assert_allclose(patches, expected.reshape(B, 64, 5), rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(cls, stored["teacher_cls"])


def test_half_a_patch_is_the_mean_of_two(stored):
    grid = stored["teacher_patches"].reshape(B, 8, 8, 5)
    patches = np.asarray(StoredTeacher(5, 8)(stored, draws(rows=2), LATENT)[1])
    expected = (grid + np.pad(grid[:, 1:], ((0, 0), (0, 1), (0, 0), (0, 0)))) / 2
    np.testing.assert_allclose(patches, expected.reshape(B, 64, 5), rtol=1e-5, atol=1e-6)


def test_stored_patches_are_mirrored_and_resized(stored):
    teacher = StoredTeacher(5, 8, grid=4)
    grid = stored["teacher_patches"].reshape(B, 8, 8, 5)
    mirrored = {**stored, "teacher_patches": grid[:, :, ::-1].reshape(B, 64, 5)}
    patches = teacher(stored, draws(flipped=0.0), LATENT)[1]
    assert patches.shape == (B, 16, 5) and not teacher.needs_images
    np.testing.assert_allclose(patches, teacher(mirrored, {}, LATENT)[1], rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------------- alignment


@pytest.fixture
def alignment(stored):
    """`alignment(student)`: the loss term, where D's features are `student(the teacher's)`."""
    objective = GatObjective(
        latent_size=8,
        r1_weight=0.0,
        r2_weight=0.0,
        augment=False,
        noise_guidance=False,
        teacher=StoredTeacher(5, 8),
    )

    def loss(student):
        names = ("teacher_cls", "teacher_patches")
        features = [student(ops.convert_to_tensor(stored[name])) for name in names]

        def discriminator(x, labels, return_features=False, featured=None):
            logits = ops.zeros((len(x), 1))
            return (logits, *features) if return_features else logits

        latents = ops.ones((B, 8, 8, 4))
        batch = {**stored, "real": latents, "labels": ops.zeros((B,), "int32")}
        fake = ops.ones((B, 8, 8, 4, 4))
        given = {"fake": {}, "real": {}, "r1": 0.0, "r2": 0.0}
        _, parts = objective.discriminator_loss(discriminator, batch, fake, given)
        return float(parts["alignment"])

    return loss


@pytest.mark.parametrize("scale, expected", [(1.0, 0.0), (7.0, 0.0), (-1.0, 4.0), (-0.01, 4.0)])
def test_it_is_0_for_the_teachers_features_and_4_for_the_opposite(alignment, scale, expected):
    """The image and the mean over its patches give at most 2 each; only directions count."""
    np.testing.assert_allclose(alignment(lambda x: scale * x), expected, rtol=1e-5, atol=1e-5)


def test_no_gradient_reaches_a_teacher(tf, stored, images):
    weight = tf.Variable(2.0)

    class Weighted(Patches):
        def __call__(self, x):
            return super().__call__(weight * x)

    given = {name: weight * value for name, value in stored.items()}
    with tf.GradientTape() as tape:
        targets = (*ImageTeacher(Weighted()).encode(images), *StoredTeacher(5, 8)(given, {}, 8))
        total = sum(tf.reduce_sum(t) for t in targets)
    assert tape.gradient(total, weight) is None


# ---------------------------------------------------------------------------- by name


def test_none_is_none():
    assert open_teacher("none", 16) is None


@pytest.mark.parametrize(
    "spec, message",
    [
        ("clip", "teacher=clip: give none, dinov2, dinov2:PRESET, classifier:FILE.keras or stored"),
        ("classifier", "teacher=classifier: give none"),
        ("classifier:no.keras", "teacher=classifier:no.keras: no such file"),
        ("stored", "teacher=stored: this prepared set holds no features"),
    ],
)
def test_another_name_is_one_line(spec, message):
    with pytest.raises(InputError, match=message):
        open_teacher(spec, 16)


def test_a_classifier_is_opened_with_its_hash(classifier, tmp_path):
    path = tmp_path / "set.keras"
    classifier.save(path)
    teacher = open_teacher(f"classifier:{path}", 8, official_quirks=True)
    assert teacher.features == classifier.dimension and teacher.grid == 8
    assert len(teacher.about["sha256"]) == 64 and teacher.about["official_quirks"]
    assert not teacher.network.network.trainable_variables


def test_stored_features_are_opened_by_what_the_set_says_of_them():
    teacher = open_teacher("stored", 16, stored={"features": 5, "grid": 8, "sha256": "f00"})
    assert (teacher.features, teacher.stored_grid, teacher.grid) == (5, 8, 16)
    assert teacher.about["stored"]["sha256"] == "f00"


def test_dinov2_is_opened_by_a_preset_in_half_precision_and_compiled(tf, tmp_path, images):
    preset = save_preset(tmp_path / "tiny")
    teacher = open_teacher(f"dinov2:{preset}", 8, dtype="mixed_bfloat16")
    compiled = tf.function(
        lambda raw, d: teacher({"raw": raw}, d, LATENT), jit_compile=True, autograph=False
    )
    cls, patches = compiled(images[:, :64, :64], draws(rows=2))
    assert (cls.shape, patches.shape) == ((B, FEATURES), (B, 64, FEATURES))
    assert keras.backend.standardize_dtype(patches.dtype) == "float32"
    assert (teacher.about["teacher"], teacher.about["dtype"]) == ("dinov2", "mixed_bfloat16")


def test_dinov2_s_tokens_stay_float32_where_its_branches_compute_in_half(tmp_path, images):
    """Else what tells patches of images apart, small beside the rest, is lost in rounding."""
    preset = save_preset(tmp_path / "tiny", blocks=6, offsets=20.0)
    exact, mixed = (
        open_teacher(f"dinov2:{preset}", 8, dtype=dtype) for dtype in ("float32", "mixed_bfloat16")
    )
    for block in mixed.network.backbone.encoder.layers:
        assert (block.compute_dtype, block.attention.compute_dtype) == ("float32", "bfloat16")
    whole, rounded = (np.asarray(network.encode(images)[1]) for network in (exact, mixed))
    for block in mixed.network.backbone.encoder.layers:
        block.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    in_half = np.asarray(ops.cast(mixed.encode(images)[1], "float32"))
    whole, rounded, in_half = (x - x.mean(axis=0) for x in (whole, rounded, in_half))
    # How much less depends on how a machine sums bfloat16: 0.31 of it with instructions, else 0.59.
    assert 0 < np.linalg.norm(rounded - whole) < 0.75 * np.linalg.norm(in_half - whole)
