"""The compact autoencoder learns a small set, is repeatable, and records how good it is."""

import numpy as np
import pytest
from in_process import command
from PIL import Image

from ladagan_tf import train_vae
from ladagan_tf.data import dataset_info, pipeline
from ladagan_tf.data.preparation import prepare
from ladagan_tf.errors import InputError
from ladagan_tf.flags import train_vae as train_vae_flags
from ladagan_tf.models.vae.autoencoder import AutoencoderKL
from ladagan_tf.training import vae as training
from ladagan_tf.weights import vae_weights

TINY = {"kimg": 0.8, "widths": (8, 8)}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """Prepared set of 120 images of 16 px: a square, dark on bright or bright on dark."""
    folder = tmp_path_factory.mktemp("plain")
    rng = np.random.default_rng(0)
    images = np.where(rng.integers(0, 2, (120, 1, 1, 1)), 210, 30) * np.ones((1, 16, 16, 3))
    for image, (top, left) in zip(images, rng.integers(1, 8, (120, 2)), strict=True):
        square = image[top : top + 8, left : left + 8]
        square[:] = 240 - square
    images = images.astype(np.uint8)
    np.savez(folder / "images.npz", images=images)
    return prepare(str(folder / "images.npz"), folder / "set", resolution=16).folder


@pytest.fixture(scope="module")
def trained(plain, tmp_path_factory):
    out = tmp_path_factory.mktemp("vae") / "v.keras"
    training.train_vae(plain, out, **TINY)
    return out


@pytest.fixture(scope="module")
def network(trained):
    return vae_weights.load(trained)[0]


def test_it_learns_and_records_what_it_was_trained_on(plain, network):
    about = network.about
    assert about["content_sha256"] == dataset_info.load_info(plain).content_sha256
    assert about["held_out_images"] == 12
    assert about["held_out_psnr_db"] > 15.0  # the best constant image would have 9.1
    assert about["held_out_psnr_db"] > about["held_out_psnr_db_worst_tenth"]


def test_the_recorded_quality_is_that_of_the_saved_network(plain, network):
    held_out = np.ones(120, bool)
    held_out[pipeline.subset_indices(120, training.TRAINED_SHARE)] = False
    ((images, _),) = pipeline.iterate_images(plain, 120)
    decoded = np.clip(network(training.scale_images(images[held_out])), -1, 1) * 127.5 + 127.5
    found = training.psnr(images[held_out], decoded).mean()
    assert found == pytest.approx(network.about["held_out_psnr_db"], abs=0.02)  # rounded to uint8


def test_scaled_latents_have_unit_variance(plain, network):
    ((images, _),) = pipeline.iterate_images(plain, 120)
    mean, std = (np.asarray(x) for x in network.encode(training.scale_images(images)))
    noise = np.random.default_rng(0).standard_normal(mean.shape)
    assert np.std((mean + std * noise) * network.scaling_factor) == pytest.approx(1.0, abs=0.05)


def test_the_sheet_shows_reconstructions_below_originals(trained):
    # 12 held-out images: one row of originals, one of reconstructions, margins of 2 pixels.
    assert Image.open(trained.with_suffix(".png")).size == (12 * 18 - 2, 2 * 18 - 2)


def test_psnr_is_that_of_closed_form():
    x = np.zeros((2, 4, 4, 3), np.uint8)
    y = np.stack([x[0] + 1, x[1] + 255])
    np.testing.assert_allclose(training.psnr(x, y), [20 * np.log10(255), 0.0], atol=1e-9)


def test_edges_count_only_where_neighbours_differ():
    x = np.zeros((1, 4, 4, 1), "float32")
    assert training.edge_difference(x + 0.5, x) == 0.0
    step = np.repeat(np.float32([0, 0, 1, 1]).reshape(1, 4, 1, 1), 4, axis=2)
    assert float(training.edge_difference(step, x)) == pytest.approx(1 / 3)


def test_the_divergence_is_per_latent_value():
    network = AutoencoderKL((8, 16), 1, groups=4)
    for layer in (network.quant_conv, network.post_quant_conv):
        layer.kernel.assign(np.zeros(layer.kernel.shape))
    network.quant_conv.bias.assign([1.0] * 4 + [0.0] * 4)  # mean 1, variance 1: KL 1/2
    images, noise = np.zeros((2, 8, 8, 3), "float32"), np.zeros((2, 4, 4, 4), "float32")
    _, parts = training.losses(network, images, noise, 1.0)
    assert float(parts["kl"]) == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"out": "v.h5"}, r"must end in \.keras"),
        ({"kimg": 0.0}, "kimg=0"),
        ({"kimg": 1e30}, r"^kimg=1e\+30: it must be from 0.008, one batch, to 1000000000$"),
        ({"widths": (8, 10)}, "multiples of 4"),
        ({"widths": (8,) * 6}, "divisible by 32"),
        ({"kl_weight": -1.0}, "kl_weight=-1"),
        ({"out": "/dev/null/v.keras"}, r"^out=/dev/null/v.keras: it cannot be written"),
    ],
)
def test_what_cannot_be_trained_is_one_line(plain, tmp_path, arguments, message):
    with pytest.raises(InputError, match=message) as refused:
        training.train_vae(plain, **{"out": tmp_path / "v.keras", **arguments})
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture
def without_training(monkeypatch):
    pairs = [np.zeros((2, 16, 16, 3), np.uint8)] * 12
    monkeypatch.setattr(training, "_fit", lambda *_: None)
    monkeypatch.setattr(training, "_measure", lambda *_: ({"latent_std": 1.0}, pairs))


def test_a_sheet_that_cannot_be_written_is_told_before_training(plain, tmp_path, monkeypatch):
    monkeypatch.setattr(training, "_fit", lambda *_: pytest.fail("it was trained"))
    (tmp_path / "v.png").mkdir()
    with pytest.raises(InputError, match=r"^out=.*v\.png: it cannot be written \(Is a directory"):
        training.train_vae(plain, tmp_path / "v.keras", **TINY)


@pytest.mark.usefixtures("without_training")
def test_a_sheet_that_fails_costs_no_network(plain, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(training, "_write_sheet", fail)
    with pytest.raises(InputError, match=r"v\.png: it cannot be written \(No space"):
        training.train_vae(plain, tmp_path / "v.keras", **TINY)
    assert vae_weights.load(tmp_path / "v.keras")[0].about["latent_std"] == 1.0


@pytest.mark.usefixtures("without_training")
def test_a_picture_that_is_no_sheet_is_set_aside(plain, tmp_path):
    (tmp_path / "v.png").write_text("my own")
    for _ in range(2):  # the second time it is the first one's sheet
        training.train_vae(plain, tmp_path / "v.keras", **TINY)
    assert (tmp_path / "v.png.old-1").read_text() == "my own"
    assert {path.name for path in tmp_path.iterdir()} == {"v.keras", "v.png", "v.png.old-1"}


def test_it_lies_beside_its_set_by_default():
    assert str(vae_weights.default_path("data/emoji-64")) == "data/emoji-64.vae.keras"


@pytest.mark.slow
def test_the_command_with_the_same_seed_makes_the_same_network(plain, tmp_path, capsys, eagerly):
    out = tmp_path / "v.keras"
    first = training.train_vae(plain, tmp_path / "first.keras", kimg=0.008, widths=(8, 8))
    arguments = [f"--dataset={plain}", f"--out={out}", "--kimg=0.008", "--widths=8,8"]
    with command(train_vae, train_vae_flags.define) as main:
        main(*arguments)
    said = capsys.readouterr().out
    assert said.startswith(f"{out}: 8 x 8 x 4 latents, ") and "held-out" in said
    again, _ = vae_weights.load(out)
    for a, b in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
