"""Small sets that several tests read, prepared and not."""

import pytest
from latent_sets import encoding
from PIL import Image

from ladagan_tf.data.latents import prepare_set
from ladagan_tf.data.preparation import prepare


@pytest.fixture(scope="session")
def fifty(tmp_path_factory):
    """Fifty shapes of 8 x 8 pixels, all different, in four shards."""
    out = tmp_path_factory.mktemp("prepared") / "fifty"
    return prepare("shapes", out, resolution=8, num_images=50, shards=4).folder


@pytest.fixture(scope="session")
def fifty_latents(fifty, tmp_path_factory):
    """Latents of the fifty shapes, with their images, in as many shards."""
    out = tmp_path_factory.mktemp("latents") / "fifty"
    return prepare_set(fifty, out, encoding(), shards=4).folder


@pytest.fixture
def flawed(tmp_path):
    """Three good images, one too small, one broken."""
    source = tmp_path / "source"
    source.mkdir()
    for shade in range(3):
        Image.new("RGB", (16, 16), (shade, 0, 0)).save(source / f"good{shade}.png")
    Image.new("RGB", (2, 16)).save(source / "thin.png")
    (source / "broken.png").write_bytes(b"this is no image")
    return source
