"""`hf:` addresses name a repository of the Hugging Face hub, a folder or a file in it."""

import sys

import pytest
from fake_hub import FakeHub

from ladagan_tf.errors import InputError
from ladagan_tf.official import gat_files, lada_folder
from ladagan_tf.weights import download

FILES = (*lada_folder.FILES, *gat_files.FILES)
WEIGHTS = "diffusion_pytorch_model.safetensors"


@pytest.fixture
def downloads(monkeypatch, tmp_path):
    """`add(*names)` puts empty files into the repository; what lies in `downloads.local` came."""
    fake = FakeHub(tmp_path / "repository", tmp_path / "local")

    def add(*names):
        for name in names:
            (fake.repository / name).parent.mkdir(parents=True, exist_ok=True)
            (fake.repository / name).touch()

    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    fake.add = add
    return fake


def came(fake):
    return {str(f.relative_to(fake.local)) for f in fake.local.rglob("*") if f.is_file()}


def test_of_a_folder_only_its_networks_are_downloaded(downloads):
    shard = "diffusion_pytorch_model-00001-of-00002.safetensors"
    wanted = {
        f"generator/{name}" for name in ("config.json", WEIGHTS, f"{WEIGHTS}.index.json", shard)
    }
    besides = {"model_index.json", "pipeline.py", "generator/modeling_gat.py", f"vae/{WEIGHTS}"}
    names = {f"XL/{name}" for name in wanted | besides} | {"B/generator/config.json", "README.md"}
    downloads.add(*names)
    assert download.locate("hf:BiliSakura/GAT-diffusers/XL", FILES) == downloads.local / "XL"
    assert [repository for repository, _ in downloads.asked] == ["BiliSakura/GAT-diffusers"]
    assert came(downloads) == {f"XL/{name}" for name in wanted}


def test_of_ladagans_folder_its_checkpoints_are_downloaded(downloads):
    wanted = {"config.json", "best-training-checkpoints/checkpoint"}
    downloads.add(*(f"ffhq/{name}" for name in wanted), "ffhq/samples.png", "other/config.json")
    assert download.locate("hf:milmor/LadaGAN/ffhq/", FILES) == downloads.local / "ffhq"
    assert came(downloads) == {f"ffhq/{name}" for name in wanted}


def test_a_repository_and_a_file_are_addresses_too(downloads):
    downloads.add("ema.safetensors", f"vae/{WEIGHTS}", "GAT-XL-2.pt", "old/GAT-XL-2.pt")
    assert download.locate("hf:a/b", FILES) == downloads.local
    assert came(downloads) == {"ema.safetensors"}
    assert (
        download.locate("hf:a/b/old/GAT-XL-2.pt", FILES) == downloads.local / "old" / "GAT-XL-2.pt"
    )
    assert came(downloads) == {"ema.safetensors", "old/GAT-XL-2.pt"}


def test_no_hub_is_one_line(monkeypatch, tmp_path):
    fake = FakeHub(tmp_path, tmp_path, ConnectionError("off\nline"))
    monkeypatch.setitem(sys.modules, "huggingface_hub", fake)
    with pytest.raises(InputError, match=r"^official=hf:a/b/c: the download failed [(]off[)]$"):
        download.locate("hf:a/b/c", FILES)
    with pytest.raises(InputError, match="give hf:USER/REPO"):
        download.locate("hf:name", FILES)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match="pip install 'huggingface_hub>="):
        download.locate("hf:a/b/c", FILES)
    assert download.locate(tmp_path, FILES) == tmp_path
