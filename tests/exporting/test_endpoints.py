"""A SavedModel runs without our code, checks what it is asked, and truncates."""

import functools
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from small_generators import perturbed

from ladagan_tf import pictures
from ladagan_tf.errors import InputError
from ladagan_tf.exporting import endpoints, formats
from ladagan_tf.sampling import opening, seeds

ONLY_TENSORFLOW = """
import sys
import numpy as np
import tensorflow as tf

model = tf.saved_model.load("saved_model")
known = np.load("known.npz")
for batch in (1, 7, 64):
    images = model.serve(tf.constant(known["z"][:batch]))
    np.testing.assert_allclose(images, known["images"][:batch], atol=1e-5)
seen = model.signatures["attend"](z=tf.constant(known["z"][:7]))
np.testing.assert_allclose(seen["images"], known["images"][:7], atol=1e-5)
for side in (8, 16, 32):
    np.testing.assert_allclose(seen[f"attention_{side}"], known[f"attention_{side}"], atol=1e-5)
assert model.generate(num=2, seed=0).shape == (2, 32, 32, 3)  # as the model card says
assert "ladagan_tf" not in sys.modules
print("same")
"""


def python(code, folder):
    """What a fresh Python process prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


@pytest.fixture(scope="module", autouse=True)
def read_once():
    """No folder is read by TensorFlow again for every test that looks at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf.saved_model, "load", functools.cache(tf.saved_model.load))
        yield


@pytest.fixture(scope="module")
def opened(saved):
    return opening.open_model(saved / "saved_model")


@pytest.fixture(scope="module")
def loaded(saved):
    return tf.saved_model.load(str(saved / "saved_model"))


def test_a_saved_model_runs_where_there_is_only_tensorflow(small, saved):
    z = seeds.latents(range(64), 8)
    _, maps = small.network.attention_maps(z[:7])
    attention = {f"attention_{s}": m for s, m in zip((8, 16, 32), maps, strict=True)}
    np.savez(saved / "known.npz", z=z, images=small.network(z), **attention)
    assert python(ONLY_TENSORFLOW, saved) == "same"


def test_an_export_opens_as_a_trained_generator(small, opened):
    assert (opened.noise_dim, opened.resolution, opened.num_classes) == (8, 32, 0)
    z = seeds.latents(range(3), 8)
    np.testing.assert_allclose(opened.generate(z), small.network(z), rtol=1e-5, atol=1e-5)


def test_a_saved_model_cannot_be_exported_again(opened, tmp_path):
    with pytest.raises(InputError, match=r"export needs a run or a [.]keras file"):
        formats.export(opened, tmp_path / "o", ["keras"])


def test_signatures_are_named_and_serve_is_the_default(loaded):
    names = {
        name: sorted(signature.structured_input_signature[1])
        for name, signature in loaded.signatures.items()
    }
    latents = ["z"]
    assert names == {
        "serving_default": latents,
        "serve": latents,
        "generate": ["num", "seed"],
        "attend": latents,
    }


def test_generated_image_i_is_a_function_of_seed_plus_i(small, loaded):
    images = loaded.generate(5, 7).numpy()
    assert images.dtype == np.uint8 and images.shape == (5, 32, 32, 3)
    # A rounding boundary may fall either way between batch sizes: one step in 255.
    alone = np.stack([loaded.generate(1, 7 + i)[0] for i in range(5)]).astype(int)
    assert np.abs(images - alone).max() <= 1
    z = endpoints.draw_latents(tf.constant(5), tf.constant(7, tf.int64), 8)
    live = pictures.to_uint8(small.generate(z)).astype(int)
    assert np.abs(images - live).max() <= 1
    assert not np.array_equal(images[0], images[1])


def test_drawn_latents_are_standard_normal_and_independent():
    draw = tf.function(endpoints.draw_latents)  # as in the endpoints
    z = draw(tf.constant(256), tf.constant(0, tf.int64), 64).numpy()
    assert abs(z.mean()) < 0.03 and abs(z.std() - 1) < 0.03
    correlation = np.corrcoef(z) - np.eye(256)
    assert np.abs(correlation).max() < 6 / 64**0.5


def test_rounding_is_that_of_pictures():
    images = np.linspace(-1.5, 1.5, 100_001, dtype=np.float32)
    np.testing.assert_array_equal(endpoints.to_uint8(images), pictures.to_uint8(images))


@pytest.mark.parametrize(
    "num, seed, message",
    [
        (0, 0, "num must be from 1 to 256; given"),
        (257, 0, "num must be from 1 to 256; given"),
        (2**31 - 1, 0, "num must be from 1 to 256; given"),
        (1, -1, "seed must be from 0 to"),
    ],
)
def test_a_bad_request_is_explained_by_the_served_model(loaded, num, seed, message):
    request = {"num": tf.constant(num), "seed": tf.constant(seed, tf.int64)}
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        loaded.signatures["generate"](**request)


class Truncating(keras.Model):
    """Pixels of z psi, brighter by class; one with classes has attention maps, too."""

    noise_dim, resolution, truncates = 8, 8, True
    calls = 0

    def __init__(self, classes):
        super().__init__()
        self.num_classes, self.has_attention_maps = classes, classes > 0
        self.pixels = keras.layers.Dense(8 * 8 * 3)
        self.pixels.build((None, 8))
        self.built = True

    def call(self, z, labels=0, psi=1.0, training=False):
        self.calls += 1
        brighter = keras.ops.reshape(0.1 * keras.ops.cast(labels, "float32"), (-1, 1))
        return keras.ops.reshape(self.pixels(z * psi) + brighter, (-1, 8, 8, 3))

    def attention_maps(self, z, labels):
        images = self(z, labels)
        return images, [keras.ops.reshape(images, (-1, 3, 64))]


@pytest.mark.parametrize("classes", [0, 3])
def test_an_exported_network_is_truncated_and_takes_labels_if_it_has_classes(classes, tmp_path):
    network = perturbed(Truncating(classes))
    endpoints.write_saved_model(network, tmp_path / "saved")
    assert network.calls == (3 if classes else 2)  # traced once for all that it can
    opened = opening.open_model(tmp_path / "saved")
    assert opened.num_classes == classes and opened.at(0.5).about["psi"] == 0.5
    assert "guidance" not in opened.about
    z = endpoints.draw_latents(tf.constant(2), tf.constant(3, tf.int64), 8)
    labels = [tf.constant([2, 0])] if classes else []
    truncated, live = (np.asarray(network(z, *labels, psi=psi)) for psi in (0.5, 1.0))
    assert np.abs(truncated - live).max() > 1e-4
    for psi, right in ((0.5, truncated), (1.0, live)):
        made = opened.at(psi).generate(z, *labels)
        np.testing.assert_allclose(made, right, rtol=1e-5, atol=1e-5)
    if classes:
        loaded = tf.saved_model.load(str(tmp_path / "saved"))
        seen = loaded.signatures["attend"](z=z, labels=labels[0])
        np.testing.assert_allclose(seen["images"], live, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(
            seen["attention_8"], live.reshape(2, 3, 64), rtol=1e-5, atol=1e-5
        )


@pytest.mark.usefixtures("eagerly")
def test_psi_is_served_and_checked(gat, saved_gat):
    loaded = tf.saved_model.load(str(saved_gat))
    z = endpoints.draw_latents(tf.constant(2), tf.constant(3, tf.int64), 8)
    labels = tf.constant([2, 0])
    for psi in (0.0, 0.5, 1.0):
        live = np.asarray(gat.at(psi).generate(z, labels))
        np.testing.assert_allclose(loaded.truncate(z, labels, psi=psi), live, rtol=1e-5, atol=1e-5)
        images = loaded.generate(num=2, seed=3, labels=labels, psi=psi)  # as the card says
        assert np.abs(images.numpy().astype(int) - pictures.to_uint8(live)).max() <= 1
    np.testing.assert_allclose(loaded.serve(z, labels), live, rtol=1e-5, atol=1e-5)
    for wrong in (-0.1, 1.1, np.nan):
        with pytest.raises(tf.errors.InvalidArgumentError, match="psi must be from 0 to 1; given"):
            loaded.truncate(z, labels, psi=wrong)
    for wrong in ([0, 3], [-1, 0]):
        for call in (
            lambda labels: loaded.serve(z, labels),
            lambda labels: loaded.truncate(z, labels, psi=0.5),
            lambda labels: loaded.generate(2, 3, labels, psi=0.5),
        ):
            with pytest.raises(
                tf.errors.InvalidArgumentError, match="labels must be from 0 to 2; given"
            ):
                call(tf.constant(wrong))
    with pytest.raises(tf.errors.InvalidArgumentError, match="as many as images"):
        loaded.generate(2, 3, tf.constant([0]), psi=0.5)


@pytest.mark.usefixtures("eagerly")
def test_an_exported_gat_opens_truncated(gat, saved_gat):
    z, labels = seeds.latents(range(3), 8), np.int32([0, 1, 2])
    opened = opening.open_model(saved_gat, psi=0.5)
    assert (opened.num_classes, opened.about["psi"]) == (3, 0.5)
    assert opened.class_names == gat.class_names == ("flags", "food-drink", "crane, machine")
    np.testing.assert_allclose(
        opened.generate(z, labels), gat.at(0.5).generate(z, labels), rtol=1e-5, atol=1e-5
    )
    with pytest.raises(InputError, match="guidance=2: a SavedModel has only guidance=1"):
        opening.open_model(saved_gat, guidance=2.0)
    with pytest.raises(InputError, match="vae=sd15: it is for a GAT generator"):
        opening.open_model(saved_gat, vae="sd15")
