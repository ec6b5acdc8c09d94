"""Weight formats are read exactly as they were written; recorded files: test_oracle.py."""

import json

import numpy as np
from golden_sets import GOLDEN
from handmade import one_tensor, torch_zip

from ladagan_tf.weights.reading import read_weights
from ladagan_tf.weights.torch_file import read_torch


def test_npz_is_read_exactly(tmp_path):
    arrays = {"a.weight": np.arange(6.0).reshape(2, 3), "b": np.array(7)}
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "w.npz", **arrays)
        tensors = read_weights(tmp_path / "w.npz")
        assert tensors.keys() == arrays.keys()
        assert all(np.array_equal(tensors[key], arrays[key]) for key in arrays)


def test_the_suffix_does_not_matter(formats, tmp_path):
    renamed = tmp_path / "weights.npz"
    renamed.write_bytes((formats / "three.safetensors").read_bytes())
    assert len(read_weights(renamed)) == 3


def test_structure_around_tensors_survives_read_torch(formats):
    for name in ("views_nested_zip.pth", "views_nested_legacy.pth"):
        tree = read_torch(formats / name)
        assert tree["epoch"] == 3 and isinstance(tree["note"], str)


def test_bfloat16_storages_become_float32(tmp_path):
    raw = np.array([0x3F80, 0xC020, 0x4049, 0], "<u2").tobytes()
    path = torch_zip(tmp_path / "w.pt", one_tensor([4], [1], storage="BFloat16Storage"), raw)
    tensor = read_weights(path)["w"]
    assert tensor.dtype == np.float32
    np.testing.assert_array_equal(tensor, [1.0, -2.5, 3.140625, 0.0])


def test_a_gat_training_checkpoint_is_read_whole(gat_checkpoint):
    about = json.loads((GOLDEN / "gat_checkpoint" / "about.json").read_text())
    tree = read_torch(gat_checkpoint)
    assert tree["steps"] == about["steps"]
    assert isinstance(tree["args"], dict) and tree["args"]
    assert tree["generator"].keys() == tree["ema"].keys()
    tensors = read_weights(gat_checkpoint)
    name = "generator.x_embedder.proj.weight"
    np.testing.assert_array_equal(tensors[name], tree["generator"]["x_embedder.proj.weight"])
    average = tensors[name.replace("generator", "ema")]
    np.testing.assert_allclose(average, 0.9 * tensors[name], rtol=1e-6)
